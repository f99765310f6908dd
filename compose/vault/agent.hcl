# What the agent of compose/vault.yaml renders: one file for each secret, by the name that the catalog has for it.
# https://developer.hashicorp.com/vault/docs/agent-and-proxy/agent/template

auto_auth {
  method "approle" {
    config = {
      role_id_file_path                   = "/run/secrets/vault_role_id"
      secret_id_file_path                 = "/run/secrets/vault_secret_id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  static_secret_render_interval = "1m"
  exit_on_retry_failure         = false
}

# "secrets": { "GITHUB_PERSONAL_ACCESS_TOKEN": "github_token" }
template {
  destination          = "/rendered/github_token"
  perms                = "0440"
  error_on_missing_key = true
  contents             = "{{ with secret \"secret/data/slipway/github\" }}{{ .Data.data.token }}{{ end }}"
}

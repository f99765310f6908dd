# What happens to an npm package before it is an image: `resolve` prints its lock file, `install` a tar of what is installed.
# Runs in a throw-away container, in a folder with the files that the launcher gave it on stdin; never in a server's.
set -eu

quietly() {
	npm "$@" --omit=dev --no-audit --no-fund --no-update-notifier --loglevel=error >&2
}

# A folder of somebody's own becomes an archive in the way in which it would if it were published.
if [ -d local ]; then
	mkdir packed
	(cd local && quietly pack --ignore-scripts --pack-destination ../packed)
	mv packed/*.tgz package.tgz
fi

if [ "$1" = resolve ]; then
	quietly install --package-lock-only --ignore-scripts --omit-lockfile-registry-resolved
	exec cat package-lock.json
fi

# Refuses whatever has another integrity than the lock file says.
quietly ci --ignore-scripts
# The keys of a registry are not for what comes from it.
if [ -n "${NPM_CONFIG_USERCONFIG:-}" ]; then
	rm -f "$NPM_CONFIG_USERCONFIG"
	unset NPM_CONFIG_USERCONFIG
fi
if [ -n "${RUN_INSTALL_SCRIPTS:-}" ]; then
	# The headers that a module is compiled with are those of this Node. Where the image has them nothing need be fetched.
	node_folder=$(dirname "$(dirname "$(command -v node)")")
	if [ -d "$node_folder/include/node" ]; then export npm_config_nodedir="$node_folder"; fi
	# From version 12 on npm has a list of its own of those that may; the catalog entry has said that all do.
	quietly rebuild --ignore-scripts=false --dangerously-allow-all-scripts --foreground-scripts
fi
node find-entry.mjs
exec tar -c entry.json server package.json package-lock.json node_modules

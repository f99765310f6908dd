# /// script
# requires-python = ">=3.10"
# dependencies = []
# ///
"""An MCP server in Python, to be copied and changed. It needs nothing but Python: name what yours needs above, as in
"mcp==1.2.3". Stdout is the protocol's, so what is for people goes to stderr."""

import json
import sys

GREET = {
    "name": "greet",
    "description": "Greets somebody.",
    "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
}


def answer(method, params):
    if method == "initialize":
        server = {"name": "hello-python", "version": "1.0.0"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "tools/list":
        return {"tools": [GREET]}
    if method == "tools/call" and params["name"] == "greet":
        return {"content": [{"type": "text", "text": f"Hello, {params['arguments']['name']}!"}]}
    if method == "ping":
        return {}
    return None


print("hello.py is ready", file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message or "method" not in message:
        continue
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    result = answer(message["method"], message.get("params", {}))
    reply |= {"error": {"code": -32601, "message": "Method not found"}} if result is None else {"result": result}
    print(json.dumps(reply), flush=True)

"""What MCP puts on the wire: JSON-RPC messages and server-sent events. Pure, no I/O."""

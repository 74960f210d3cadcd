"""Between an agent and an MCP server that it starts and speaks to over pipes: the same pipeline, without a network."""

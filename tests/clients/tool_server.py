"""`tool_server.py PORT TLS_PORT CA_FILE`: the tools `search` and `hang`, by MCP at /mcp and by plain HTTP at /api.
Writes the certificate of its authority, then serves."""

import asyncio
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.interception.authority import Authority


def app() -> Starlette:
    server = MCPServer("knowledge-base")

    @server.tool()
    async def search(query: str) -> str:
        """Says what it was asked for, and what nobody should read."""
        return f"asked for {query}, found sk-tool00000001"

    @server.tool()
    async def hang() -> str:
        await asyncio.Event().wait()
        return ""

    async def http_search(request: Request) -> Response:
        return PlainTextResponse(await search((await request.json())["query"]))

    async def http_hang(_: Request) -> Response:
        return PlainTextResponse(await hang())

    made = server.streamable_http_app()
    made.routes.append(Route("/api/search", http_search, methods=["POST"]))
    made.routes.append(Route("/api/hang", http_hang, methods=["POST"]))
    return made


async def serve(port: int, tls_port: int, authority: Authority) -> None:
    plain = uvicorn.Config(app(), host="127.0.0.1", port=port, log_level="warning")
    secured = uvicorn.Config(app(), host="127.0.0.1", port=tls_port, log_level="warning")
    secured.load()
    secured.ssl = authority.context("localhost")
    await asyncio.gather(*(uvicorn.Server(each).serve() for each in (plain, secured)))


if __name__ == "__main__":
    own = Authority(SystemClock())
    Path(sys.argv[3]).write_bytes(own.certificate)
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), own))

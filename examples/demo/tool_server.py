"""A tool server whose faults can be switched on: MCP at /mcp, plain HTTP at /api, the switches at /faults.

POST /faults/{tool}/{mode}   mode: none | hang (never answers) | error (HTTP 500)
GET  /calls                  what has reached the tools, as JSON
DELETE /calls                forget it
"""

import asyncio
import json
import os
from collections import deque
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MODES = ("none", "hang", "error")
CALLS_KEPT = 1000

server = MCPServer("knowledge-base")
faults: dict[str, str] = {}
calls: deque[dict[str, Any]] = deque(maxlen=CALLS_KEPT)


async def arrive(tool: str, arguments: dict[str, Any]) -> None:
    """Every tool begins here: the call is noted, then the fault that is switched on strikes."""
    calls.append({"tool": tool, "arguments": arguments})
    if faults.get(tool) == "hang":
        await asyncio.Event().wait()


@server.tool()
async def search_knowledge_base(query: str) -> str:
    """Searches the knowledge base."""
    await arrive("search_knowledge_base", {"query": query})
    return f"Three articles about {query!r}: resetting a password, closing an account, reading an invoice."


@server.tool()
async def recommend_article(topic: str) -> str:
    """Recommends one article on a topic."""
    await arrive("recommend_article", {"topic": topic})
    return f"Read 'All about {topic}'."


@server.tool()
async def lookup_customer(ticket: str) -> str:
    """Tells who opened a ticket. Its answer holds what a model should not see."""
    await arrive("lookup_customer", {"ticket": ticket})
    return "Jane Doe <jane.doe@example.com>, card 4111 1111 1111 1111, token sk-demo-0123456789abcdef"


async def create_ticket(request: Request) -> Response:
    arguments = await request.json()
    await arrive("create_ticket", arguments)
    return JSONResponse({"id": "TCK-000042", "opened": arguments}, status_code=201)


async def switch(request: Request) -> Response:
    tool, mode = request.path_params["tool"], request.path_params["mode"]
    if mode not in MODES:
        return JSONResponse({"error": f"no mode {mode!r}; known: {', '.join(MODES)}"}, status_code=404)
    faults[tool] = mode
    return JSONResponse(faults)


async def seen(request: Request) -> Response:
    if request.method == "DELETE":
        calls.clear()
    return JSONResponse(list(calls))


async def healthz(_: Request) -> Response:
    return JSONResponse({"ok": True})


class BreaksWithHttp500:
    """ASGI wrapper: a tool in mode `error` answers as a crashed server does, before MCP sees the call."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or "error" not in faults.values():
            await self._app(scope, receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        tool = _tool_of(scope["path"], body)
        if faults.get(tool) == "error":
            calls.append({"tool": tool, "arguments": None})
            await Response("internal error", status_code=500)(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)


def _tool_of(path: str, body: bytes) -> str:
    if path == "/api/v1/tickets":
        return "create_ticket"
    try:
        message = json.loads(body)
    except ValueError:
        return ""
    is_call = isinstance(message, dict) and message.get("method") == "tools/call"
    return str(message["params"]["name"]) if is_call else ""


def _replay(body: bytes, receive: Receive) -> Receive:
    first = True

    async def replay() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def main() -> None:
    # Inside a cluster the Host header is the Service's name: the check against DNS rebinding is for desktops.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    app = server.streamable_http_app(transport_security=security, host="0.0.0.0")
    app.routes.extend(
        [
            Route("/api/v1/tickets", create_ticket, methods=["POST"]),
            Route("/faults/{tool}/{mode}", switch, methods=["POST"]),
            Route("/calls", seen, methods=["GET", "DELETE"]),
            Route("/healthz", healthz),
        ]
    )
    host, port = os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080"))
    uvicorn.run(BreaksWithHttp500(app), host=host, port=port, log_level="warning")


if __name__ == "__main__":
    main()

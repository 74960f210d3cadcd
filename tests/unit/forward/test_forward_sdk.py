"""The real MCP SDK on both sides, both eras: all the agent has is HTTP_PROXY, HTTPS_PROXY and SSL_CERT_FILE."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
import uvicorn
from mcp import Client
from mcp.server.mcpserver import MCPServer

from tests.unit.datapath.loopback import redaction, until
from tests.unit.forward.proxied import SIDECAR_CA, WORLD_CA, Proxied, trusting
from toolpolicy_sidecar.interception import trust_bundle

Mode = Literal["legacy", "auto"]


def tools() -> MCPServer:
    server = MCPServer("knowledge-base")

    @server.tool()
    async def search(query: str) -> str:
        return f"about {query}: sk-abcdefgh1"

    return server


@contextlib.asynccontextmanager
async def serving(*, secured: bool) -> AsyncIterator[int]:
    config = uvicorn.Config(
        tools().streamable_http_app(),
        host="127.0.0.1",
        port=0,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    config.load()
    if secured:
        config.ssl = WORLD_CA.context("localhost")
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize("secured", [False, True], ids=["http", "https"])
async def test_the_sdk_by_its_environment(
    p: Proxied, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, secured: bool
) -> None:
    bundle = tmp_path / "bundle.pem"
    trust_bundle.write(bundle, SIDECAR_CA.certificate, b"")
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{p.port}")
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    p.forward.interception.authority = SIDECAR_CA
    p.w.pool.tls.default = trusting(WORLD_CA.certificate)
    async with serving(secured=secured) as port:
        scheme = "https" if secured else "http"
        p.w.install(scheme=scheme, host="localhost", port=port, redaction=redaction())
        async with Client(f"{scheme}://localhost:{port}/mcp", mode=mode, read_timeout_seconds=20) as client:
            listed = await client.list_tools()
            assert [tool.name for tool in listed.tools] == ["search"]
            result: Any = await client.call_tool("search", {"query": "x"})
    assert result.content[0].text == "about x: [key]"
    record = await p.w.recorded_call()
    assert (record.server, record.tool, record.outcome) == ("kb", "search", "success")

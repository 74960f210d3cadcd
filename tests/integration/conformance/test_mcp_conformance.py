"""MCP's conformance suite finds the same with the sidecar in the middle, check by check, in both eras.

The server stands behind the reverse listener. The client, which has nothing but HTTP_PROXY, goes through the forward
one; each server that the suite starts for it is named in the policy, so its calls go through the whole pipeline."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.integration.conformance import suite
from tests.integration.conformance.suite import Check
from tests.measured import measured
from tests.unit.datapath.loopback import breaker, redaction, rules
from tests.unit.forward.proxied import Proxied, proxied
from toolpolicy_api import snapshot

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # the first time much is installed
HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"


@pytest.fixture
async def p() -> AsyncIterator[Proxied]:
    async with proxied() as made:
        yield made


def name(p: Proxied, *urls: str) -> None:
    """A policy in which each of these servers has tools of every name, and everything is looked at."""
    everything = rules(breaker=breaker(failures=1000))
    servers = tuple(
        snapshot.Server(name=f"s{number}", protocol="MCP", url=url, unlisted=rules())
        for number, url in enumerate(urls)
    )
    tools = tuple(
        snapshot.Tool(f"all-{server.name}", server.name, snapshot.McpMatch("*"), everything)
        for server in servers
    )
    policy = p.w.policy(redaction=redaction())
    p.w.install_policy(msgspec.structs.replace(policy, servers=servers, tools=tools))


def passed(checks: Counter[Check]) -> int:
    return sum(number for check, number in checks.items() if check.status == "SUCCESS")


def failed(checks: Counter[Check]) -> list[Check]:
    return sorted(check for check in checks if check.status in {"FAILURE", "WARNING"})


@pytest.mark.parametrize(("era", "checks"), [(HANDSHAKE, 84), (MODERN, 152)])
async def test_a_server_behind_the_sidecar(p: Proxied, tmp_path: Path, era: str, checks: int) -> None:
    async with suite.server() as url:
        direct = await suite.of_server(url, era, tmp_path / "direct")
        name(p, url)
        through = await suite.of_server(f"http://localhost:{p.w.port}/s0", era, tmp_path / "through")
    assert (passed(direct), failed(direct)) == (checks, [])
    assert through == direct
    called = len(p.w.recorded.calls)
    assert called >= checks // 10
    measured(f"conformance of a server, {era}: {passed(through)} checks, {called} calls through the pipeline")


@pytest.mark.parametrize(("era", "checks"), [(HANDSHAKE, 247), (MODERN, 411)])
async def test_a_client_through_the_forward_proxy(p: Proxied, tmp_path: Path, era: str, checks: int) -> None:
    direct = await suite.of_client(era, tmp_path / "direct")
    urls: list[str] = []

    def served(url: str) -> None:
        urls.append(url)
        name(p, *urls)

    proxy = f"http://localhost:{p.port}"
    through = await suite.of_client(era, tmp_path / "through", proxy=proxy, served=served)
    assert (passed(direct), failed(direct)) == (checks, [])
    assert through == direct
    called = len(p.w.recorded.calls)
    assert called >= len(urls) // 2
    assert len({urlsplit(url).port for url in urls}) == len(urls)
    measured(f"conformance of a client, {era}: {passed(through)} checks, {called} calls through the pipeline")

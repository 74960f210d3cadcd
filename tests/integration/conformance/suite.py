"""MCP's conformance suite, as the authors of the Python SDK run it on their own server and client."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from localcluster.ports import free_port
from tests.clients import environment

_AGAIN = Path(__file__).with_name("run_again.py")
_SCENARIO_MS = 300_000
"""The suite starts all of them at once; most of the time they wait for their turn."""
_STAMP = re.compile(r"-20\d\d-\d\d-\d\dT[\d-]+Z$")


class Check(NamedTuple):
    scenario: str
    check: str
    status: str


async def of_server(url: str, era: str, results: Path) -> Counter[Check]:
    """The suite plays the client. `era`: the protocol version. `results`: a new folder."""
    return await _suite("server", f"--url={url}", era=era, results=results)


async def of_client(
    era: str, results: Path, *, proxy: str | None = None, served: Callable[[str], None] | None = None
) -> Counter[Check]:
    """The suite plays a server for each scenario, and starts the SDK's client for it. `served` hears the server's url
    before its client is started; `proxy` is what the clients have in their environment."""
    async with _client(results.with_suffix(".sock"), served or (lambda _url: None)) as command:
        return await _suite("client", f"--command={command}", era=era, results=results, proxy=proxy)


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """The url of the SDK's server."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        environment.python("sdk2"),
        "-m",
        "mcp_everything_server",
        f"--port={port}",
        env={
            **os.environ,
            "PYTHONPATH": str(environment.mcp_sources() / "examples" / "servers" / "everything-server"),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            while not await _listening(port):
                assert process.returncode is None, "the server ended"
                await asyncio.sleep(0.05)
        yield f"http://localhost:{port}/mcp"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _listening(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _client(path: Path, served: Callable[[str], None]) -> AsyncIterator[str]:
    """The command that runs it."""
    script = environment.mcp_sources() / ".github" / "actions" / "conformance" / "client.py"
    process = await asyncio.create_subprocess_exec(
        environment.python("sdk2"),
        *(_AGAIN, "serve", path, script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )

    async def hear() -> None:
        assert process.stdin
        assert process.stdout
        while line := await process.stdout.readline():
            served(line.decode().strip())
            process.stdin.write(b"\n")

    try:
        assert process.stdout
        assert await process.stdout.readline() == b"ready\n"
        hearing = asyncio.ensure_future(hear())
        yield f"{sys.executable} -I -S {_AGAIN} ask {path}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its forks, too
        await process.wait()
    await hearing


async def _suite(
    part: str, flag: str, *, era: str, results: Path, proxy: str | None = None
) -> Counter[Check]:
    variables = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    if proxy is not None:
        variables |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    program = environment.node_modules() / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    process = await asyncio.create_subprocess_exec(
        environment.node(),
        *(program, part, flag, "--suite=all", f"--spec-version={era}"),
        *(f"--timeout={_SCENARIO_MS}", f"--output-dir={results}"),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    results.with_suffix(".log").write_bytes(said)
    return _found(results)


def _found(results: Path) -> Counter[Check]:
    return Counter(
        Check(_STAMP.sub("", str(path.parent.relative_to(results))), check["id"], check["status"])
        for path in results.rglob("checks.json")
        for check in json.loads(path.read_text(encoding="utf-8"))
    )

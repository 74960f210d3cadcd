"""`toolpolicy stdio` as agents start it."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.unit.datapath.loopback import HANG_S, Recorded, until, world
from tests.unit.stdio.piped import NAME, call, compiled
from toolpolicy_sidecar.admin import Admin
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.view import FailedCalls

HERE = Path(__file__).parent
TOOLPOLICY = str(Path(sys.executable).parent / "toolpolicy")
DOES_NOTHING = "while read line; do :; done"
ECHOES_IDS = (
    "import sys,json\n"
    "for line in sys.stdin:\n"
    " i=json.loads(line).get('id')\n"
    " print(json.dumps({'jsonrpc':'2.0','id':i,'result':{'content':[{'type':'text','text':'ok'}]}}),flush=True)\n"
)


def policy(**spec: Any) -> str:
    servers = [
        {"name": NAME, "protocol": "MCP", "stdio": {}},
        {"name": "web", "protocol": "MCP", "url": "http://kb/"},
    ]
    return yaml.safe_dump(
        {
            "apiVersion": "toolpolicy.dev/v1alpha1",
            "kind": "ToolPolicy",
            "metadata": {"name": "p"},
            "spec": {
                "selector": {},
                "servers": servers,
                "tools": [{"name": "search", "server": NAME}],
                **spec,
            },
        }
    )


class Sidecar:
    """The admin API of one, as a shim asks it."""

    def __init__(self) -> None:
        self.recorded = Recorded()
        self.current = Current(recorder=self.recorded, clock=SystemClock())
        self.address = ""

    def install(self, **spec: Any) -> None:
        self.current.install(compiled(**spec), "test")


@pytest.fixture
async def sidecar() -> AsyncIterator[Sidecar]:
    made = Sidecar()
    made.install()
    pages = Admin(made.current, SystemClock(), FailedCalls(), made.recorded).pages()
    made.address = f"127.0.0.1:{await pages.start('127.0.0.1', 0)}"
    yield made
    await pages.close()


@asynccontextmanager
async def shim(*command: str, **options: str) -> AsyncIterator[Process]:
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    process = await asyncio.create_subprocess_exec(
        TOOLPOLICY, "stdio", "--server", NAME, *flags, "--", *command, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(HANG_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def say(process: Process, message: dict[str, Any]) -> None:
    assert process.stdin
    process.stdin.write(json.dumps(message).encode() + b"\n")
    await process.stdin.drain()


async def heard(process: Process) -> Any:
    assert process.stdout
    return json.loads(await process.stdout.readline())


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdk_sees_the_server_and_readable_timeouts(
    sidecar: Sidecar, tmp_path: Path, mode: Literal["legacy", "auto"]
) -> None:
    hanging = {"name": "search_hanging", "server": NAME, "timeout": {"total": "1500ms"}}
    sidecar.install(tools=[{"name": "search", "server": NAME}, hanging])
    command = [sys.executable, str(HERE / "notes_server.py")]
    parameters = StdioServerParameters(
        command=TOOLPOLICY, args=["stdio", "--server", NAME, "--admin", sidecar.address, "--", *command]
    )
    notes: list[str | None] = []

    async def news(progress: float, total: float | None, message: str | None) -> None:
        notes.append(message)

    with (tmp_path / "stderr").open("w+", encoding="utf-8") as stderr:
        async with Client(
            stdio_client(parameters, errlog=stderr), mode=mode, read_timeout_seconds=20
        ) as client:
            expected = "2025-11-25" if mode == "legacy" else "2026-07-28"
            assert client.session.protocol_version == expected
            assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "search_hanging"]
            hung = await client.call_tool("search_hanging", {}, progress_callback=news)
            assert hung.is_error
            assert "did not answer in time: its total time of 1500 ms is over" in hung.model_dump_json()
            assert notes == ["half of it"]
            results = await asyncio.gather(
                *(client.call_tool("search", {"query": str(n)}) for n in range(20))
            )
            assert [r.structured_content for r in results] == [{"result": f"about {n}"} for n in range(20)]
            assert "a note" in (await client.read_resource("note://one")).model_dump_json()
            await until(lambda: "given up" in (tmp_path / "stderr").read_text(encoding="utf-8"))


async def test_policies_come_from_the_sidecar_and_so_do_their_changes(sidecar: Sidecar) -> None:
    async with shim(sys.executable, "-c", ECHOES_IDS, admin=sidecar.address) as process:
        await say(process, call(1))
        assert (await heard(process))["result"]["content"][0]["text"] == "ok"
        sidecar.install(defaults={"enabled": False})
        reason = None
        while reason != "ToolDisabled":
            await say(process, call(2))
            reason = (await heard(process))["result"].get("_meta", {}).get("toolpolicy.dev/reason")
        assert process.stdin
        process.stdin.close()
        assert await process.wait() == 0
    said = [(record.tool, record.outcome, record.reason) for record in sidecar.recorded.calls]
    assert said[0] == ("search", "success", None)
    assert said[-1] == ("search", "refused", "ToolDisabled")
    runtime = sidecar.current.runtime
    assert runtime
    assert runtime.circuit("search").report().calls == len(said)


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ("read line; echo oops >&2; exit 3", 3, "broke: its process ended with exit code 3."),
        ("read line; kill -KILL $$", 137, "broke: its process was ended by SIGKILL."),
    ],
)
async def test_a_server_that_dies(sidecar: Sidecar, script: str, code: int, words: str) -> None:
    async with shim("sh", "-c", script, admin=sidecar.address) as process:
        await say(process, call(1))
        assert words in (await heard(process))["result"]["content"][0]["text"]
        assert process.stdout
        assert process.stderr
        assert await process.stdout.read() == b""
        assert await process.wait() == code
        assert (b"oops\n" in await process.stderr.read()) == (code == 3)


async def test_signals_reach_the_server_and_its_exit_code_the_agent(sidecar: Sidecar) -> None:
    script = f"trap 'exit 7' TERM; echo up >&2; {DOES_NOTHING}"
    async with shim("sh", "-c", script, admin=sidecar.address) as process:
        assert process.stderr
        assert await process.stderr.readline() == b"up\n"
        os.kill(process.pid, signal.SIGTERM)
        assert await process.wait() == 7


@pytest.mark.parametrize(
    ("server", "text", "words"),
    [
        ("other", policy(), "no policy has a server 'other'; with `stdio: {}` there are: notes"),
        ("web", policy(), "server 'web' has a url in the policies; give it `stdio: {}` in its place"),
        (NAME, policy(tools=[{"name": "x"}]), "spec.tools[0].server: required; add it"),
    ],
)
async def test_what_nothing_is_enforced_for_is_not_started(
    tmp_path: Path, server: str, text: str, words: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text, encoding="utf-8")
    async with shim("sh", "-c", DOES_NOTHING, policies=str(file), server=server) as process:
        assert process.stderr
        assert words in (await process.stderr.read()).decode()
        assert await process.wait() == 2


async def test_a_command_that_is_not_there(sidecar: Sidecar) -> None:
    async with shim("no-such-command", admin=sidecar.address) as process:
        assert process.stderr
        assert (
            await process.stderr.read() == b"toolpolicy stdio: no-such-command: No such file or directory\n"
        )
        assert await process.wait() == 127


async def test_the_listener_for_http_says_how_such_a_server_is_reached() -> None:
    async with world() as w:
        w.current.install(compiled(), "test")
        answer = await (await w.agent()).request("GET", f"/{NAME}/x")
        assert answer.status == 404
        assert (
            "the agent starts it with `toolpolicy stdio --server notes -- COMMAND`" in answer.json["detail"]
        )

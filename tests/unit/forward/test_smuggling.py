"""Whatever is written to a listener: 4xx, or the requests that the policy saw, and the tool reads the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import h11
import pytest

from tests.corpus.smuggling import CASES, Case
from tests.unit.datapath.loopback import Agent, until
from tests.unit.forward.proxied import Proxied, proxied

SILENCE_S = 5.0
"""Without an answer for so long, there is none."""


class Strict:
    """A tool server of other hands (h11): what it reads is what a strict server reads."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.unreadable: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        method, target, body = "", "", b""
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(65536))
                elif isinstance(event, h11.Request):
                    method, target, body = event.method.decode(), event.target.decode(), b""
                elif isinstance(event, h11.Data):
                    body += event.data
                elif isinstance(event, h11.EndOfMessage):
                    self.seen.append((method, target, body))
                    answer = connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    writer.write((answer or b"") + (connection.send(h11.EndOfMessage()) or b""))
                    connection.start_next_cycle()
                else:
                    return
        except h11.RemoteProtocolError as error:
            self.unreadable.append(str(error))
        except (ConnectionError, h11.LocalProtocolError):
            pass
        finally:
            writer.close()


class Rig(NamedTuple):
    p: Proxied
    strict: Strict
    port: int
    """Of the tool's server."""


@asynccontextmanager
async def rig() -> AsyncIterator[Rig]:
    strict = Strict()
    listening = await asyncio.start_server(strict.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with proxied() as p:
        p.w.install(port=port)
        yield Rig(p, strict, port)
    listening.close()


@pytest.mark.parametrize("by", ["reverse", "forward"])
async def test_the_corpus(by: str) -> None:
    """All of it on one sidecar, so that no case spoils the next."""
    assert len(CASES) > 150
    async with rig() as made:
        wrong = [f"{case.name}: {why}" for case in CASES if (why := await tried(made, case, by))]
    assert not wrong, "\n".join(wrong)
    assert not made.strict.unreadable


async def tried(made: Rig, case: Case, by: str) -> str | None:
    """What is wrong with it."""
    reverse = by == "reverse"
    port = made.p.w.port if reverse else made.p.port
    at = b"/api" if reverse else b"http://127.0.0.1:%d/base" % made.port
    raw = case.raw.replace(b"{at}", at).replace(b"{host}", b"127.0.0.1:%d" % made.port)
    before, calls = len(made.strict.seen), len(made.p.w.recorded.calls)
    statuses = await answers(port, raw, max(1, len(case.reaches)))
    if None in statuses:
        return f"cut without an answer after {statuses}"
    seen = tuple(made.strict.seen[before:])
    recorded = made.p.w.recorded.calls
    await until(lambda: sum(call.attempts for call in recorded[calls:]) == len(seen))
    refused = 400 <= (statuses[0] or 0) < 500
    if refused and not seen and (case.maybe or not case.reaches):
        return None
    if case.reaches and seen == case.reaches and set(statuses) == {200}:
        return None
    return f"answered {statuses}, and the tool saw {[(m, t, b[:60]) for m, t, b in seen]}"


async def answers(port: int, raw: bytes, number: int) -> list[int | None]:
    """Of that many, up to the first that is a refusal; None: there was none."""
    agent = await Agent.connect(port)
    method = "HEAD" if raw.startswith(b"HEAD") else "GET"
    got: list[int | None] = []
    try:
        await agent.raw(raw)
        for _ in range(number):
            async with asyncio.timeout(SILENCE_S):
                got.append((await agent.answer(method)).status)
            if got[-1] != 200:
                break
    except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        got.append(None)
    finally:
        agent.close()
    return got

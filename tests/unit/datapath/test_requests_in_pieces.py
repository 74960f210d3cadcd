"""How the network cuts what an agent sends changes nothing of what is read."""

import asyncio
from collections.abc import Iterable

import pytest

from tests.corpus.smuggling import CASES, Case
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.listeners.http_connection import Connections
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.runtime import Limits

Heard = tuple[object, ...]
REFUSED = ("refused",)


class Listening:
    """Keeps what was asked."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []

    async def handle(self, asked: Asked) -> None:
        asked.body.bound(SystemClock.monotonic() + 60)
        try:
            body = await asked.body.whole()
        except Stopped:
            self.heard.append(REFUSED)
        else:
            odd = asked.problem is not None
            self.heard.append(
                REFUSED if odd else (asked.method, asked.target, asked.headers, asked.repeated, body)
            )
            if odd:
                asked.reply.close_after()
        await asked.reply.whole(200, (), b"")

    def unheard(self, problem: Problem) -> bytes:  # noqa: ARG002 -- all the same here
        self.heard.append(REFUSED)
        return b""


class Wire(asyncio.Transport):
    """To nobody."""

    closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """The same."""

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


async def heard(pieces: Iterable[bytes]) -> list[Heard]:
    listening, wire = Listening(), Wire()
    connection = Connections(listening, Limits(), SystemClock())()
    connection.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            connection.data_received(piece)
            await asyncio.sleep(0)
    for _ in range(300):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0)
    return listening.heard


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_where_it_is_cut_does_not_matter(case: Case) -> None:
    raw = case.raw.replace(b"{at}", b"/api").replace(b"{host}", b"x")
    size = 1 if len(raw) < 1000 else len(raw) // 2
    assert await heard(raw[at : at + size] for at in range(0, len(raw), size)) == await heard([raw])


async def test_requests_sent_ahead_are_answered_in_their_order() -> None:
    raw = b"".join(
        b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%03d" % (n, n) for n in range(100)
    )
    answers = await heard([raw])
    assert [answer[1] for answer in answers] == [f"/{n}" for n in range(len(answers))]
    assert len(answers) == 100


async def test_space_around_a_value_is_none_of_it() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: \t x \t \r\nA:b\t\r\nC:  \r\n\r\n"
    assert [answer[2] for answer in await heard([raw])] == [((b"Host", b"x"), (b"A", b"b"), (b"C", b""))]

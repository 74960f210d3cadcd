"""How the network cuts what an agent sends changes nothing of what is read."""

import asyncio
from collections.abc import Iterable

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.corpus.smuggling import CASES, Case
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.heads import Heads
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_begin import begin
from toolpolicy_sidecar.listeners.http_connections import Connections
from toolpolicy_sidecar.listeners.http_head import Head
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped

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
            odd = asked.head.problem is not None
            self.heard.append(
                REFUSED
                if odd
                else (asked.method, asked.target, asked.head.headers, asked.head.repeated, body)
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

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is kept."""

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """The same."""

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


async def heard(pieces: Iterable[bytes], heads: Heads[Head] | None = None) -> list[Heard]:
    """`heads`: that came before."""
    listening, wire = Listening(), Wire()
    among = Connections(listening, Limits(), SystemClock())
    among.heads = heads or among.heads
    connection = among()
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_heads_that_came_before_do_not_matter(case: Case) -> None:
    raw = case.raw.replace(b"{at}", b"/api").replace(b"{host}", b"x")
    alone, heads = await heard([raw]), Heads[Head]()
    for _ in range(3):
        assert await heard([raw], heads) == alone


USUAL = b"POST /%b HTTP/1.1\r\nHost: x\r\nX-A: b\r\nContent-Length: %d\r\n\r\n%b"


async def test_a_head_that_comes_again_is_known_with_any_target_and_length() -> None:
    heads = Heads[Head]()
    for n in range(2):
        await heard([USUAL % (b"first", n, b"b" * n)], heads)
    raw = USUAL % (b"other?q", 100, b"b" * 100) + USUAL % (b"one", 0, b"") + USUAL % (b"last", 2, b"ab")
    first = begin(raw, 4096)
    assert first is not None
    assert heads.get(first.key) is not None
    for cut in (1, 60, 70, 130, 190, len(raw)):
        answers = await heard([raw[:cut], raw[cut:]], heads)
        assert [(each[1], each[4]) for each in answers] == [
            ("/other?q", b"b" * 100),
            ("/one", b""),
            ("/last", b"ab"),
        ]
        assert all(each[2] == ((b"Host", b"x"), (b"X-A", b"b")) for each in answers)


_TRACE = b"traceparent: 00-%032x-0000000000000001-01"
LINES = (
    b"Host: x",
    b"host:x",
    b"Content-Length: 3",
    b"content-length: 03",
    b"Content-Length: ",
    b"Content-Length:3",
    b"CONTENT-LENGTH: 3",
    b"Content-Length: 3 ",
    b"Content-Length: 99999999999999999999",
    b"X-A: 1\r\n Content-Length: 3",
    b"X-A: 1\nContent-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"Connection: keep-alive",
    b"Expect: 100-continue",
    b"Upgrade: h2c\r\nConnection: Upgrade",
    b"X-A: b",
    b"X-A: \xff",
    _TRACE % 1,
    _TRACE % 2,
    b"Traceparent:" + (_TRACE % 3)[12:],
    (_TRACE % 4)[:-1],
    _TRACE % 5 + b" ",
)
FIRST = (b"POST / HTTP/1.1", b"GET /a HTTP/1.1", b"POST  / HTTP/1.1", b"GET / HTTP/1.0", b"POST /# HTTP/1.1")
ENDS = (b"\r\n\r\n", b"\r\n\r\nabc", b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"\n\n", b"\r\n\r\n\r\n")


def one() -> st.SearchStrategy[bytes]:
    lines = st.lists(st.sampled_from(LINES), max_size=4)
    return st.builds(
        lambda first, host, rest, end: b"\r\n".join((first, *host, *rest)) + end,
        st.sampled_from(FIRST),
        st.sampled_from([(b"Host: x",), ()]),
        lines,
        st.sampled_from(ENDS),
    )


@given(st.lists(st.lists(one(), min_size=1, max_size=3).map(b"".join), min_size=1, max_size=4))
@settings(max_examples=150)
def test_whatever_came_before(several: list[bytes]) -> None:
    async def tried() -> None:
        heads = Heads[Head]()
        for raw in (*several, *several, *several):
            assert await heard([raw], heads) == await heard([raw])

    uvloop.run(tried())


async def test_a_head_is_known_with_any_traceparent_where_it_stands() -> None:
    heads, limits = Heads[Head](), 4096
    traced = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n" + _TRACE + b"\r\nX-A: b\r\n\r\n"
    for n in range(2):
        await heard([traced % (b"a", n)], heads)
    first = begin(traced % (b"b", 7), limits)
    assert first is not None
    assert heads.get(first.key) is not None
    ((_, _, headers, repeated, _),) = await heard([traced % (b"b", 7)], heads)
    assert headers == ((b"Host", b"x"), (b"traceparent", (_TRACE % 7)[13:]), (b"X-A", b"b"))
    assert repeated == frozenset()
    without = b"GET /c HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nX-A: b\r\n\r\n"
    assert [each[2] for each in await heard([without], heads)] == [((b"Host", b"x"), (b"X-A", b"b"))]


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

"""Large bodies are scanned in a thread: the event loop goes on, and what they hide is found all the same."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import Exchange, World, redaction, world
from toolpolicy_api import snapshot
from toolpolicy_sidecar.aside import INLINE_BYTES, LIGHT_BYTES, aside
from toolpolicy_sidecar.redact.redactor import Redactor


async def test_small_work_stays_and_large_work_goes_aside() -> None:
    here = threading.get_ident()
    assert await aside(INLINE_BYTES, threading.get_ident) == here
    assert await aside(INLINE_BYTES + 1, threading.get_ident) != here
    assert await aside(LIGHT_BYTES, threading.get_ident, lambda: True) == here
    assert await aside(LIGHT_BYTES, threading.get_ident, lambda: False) != here
    assert await aside(LIGHT_BYTES + 1, threading.get_ident, lambda: True) != here
    assert await aside(None, threading.get_ident) != here


def test_what_is_light_is_shown_by_one_search() -> None:
    every = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
    assert every.light(b'{"a": "nothing to see"}')
    assert not every.light(b'{"a": "jane@example.com"}')
    assert not every.light(b'{"a": "jane%40example.com"}')
    own = Redactor.compile(redaction())
    assert own.light(b'{"a": "sk-canary12345678"}')


async def test_the_loop_runs_while_work_is_aside() -> None:
    """The work ends only when the loop has run."""
    ran = threading.Event()
    asyncio.get_running_loop().call_later(0.01, ran.set)
    assert await aside(None, lambda: ran.wait(30))


async def test_an_error_comes_back() -> None:
    def fails() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await aside(None, fails)


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


async def test_large_requests_and_answers_are_redacted(w: World) -> None:
    filling = "lorem ipsum " * 1000

    async def large(exchange: Exchange) -> None:
        result = {"content": [{"type": "text", "text": f"{filling} sk-canary12345678"}]}
        await exchange.answer(200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())

    w.install(redaction=redaction())
    w.tool.script = large
    agent = await w.agent()
    answer = await agent.call(query=f"{filling} sk-canary87654321")
    assert b"[key]" in answer.body
    assert b"[key]" in w.tool.seen[0].body
    http = await agent.request("POST", "/api/v1/tickets/5", json.dumps({"a": f"{filling} sk-canary87654321"}).encode(),
                               [("Content-Type", "application/json")])  # fmt: skip
    assert b"[key]" in w.tool.seen[1].body
    assert b"canary" not in w.tool.seen[0].body + w.tool.seen[1].body + http.body + answer.body

"""How long the event loop is held up while a thread redacts: the longest of a run, ms.

    python -m bench.held_up [--runs 9]

The loop is to run each millisecond; what it is late, at most, is a run's figure. A machine does other things too, and a
thread of Python that only counts already keeps others waiting: so that is measured in the same way, for as long as a
large answer takes. What redaction itself holds up would be in every run: least and median are shown.
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

from bench.redaction import MEGABYTE, REDACTOR, TEXT, in_base64, records, with_hits
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.aside import SWITCH_S, aside
from toolpolicy_sidecar.mcp import sse

FULL = {
    "e-mail, a list": b'"a@b.cc"',
    "e-mail, a list with escapes": b'"a@b.cc\\n"',
    "e-mail, percent": b'"' + b"a%40b.cc " * (MEGABYTE // 9) + b'"',
    "telephone numbers": b'"' + b"+49 151 23456789 " * (MEGABYTE // 17) + b'"',
    "almost cards": b'"' + b"4111 1111 1111 1112 " * (MEGABYTE // 20) + b'"',
    "keys": b'"' + b"api_key=q7W2e9RtY4uZ3pLk " * (MEGABYTE // 25) + b'"',
    "pictures in base64": in_base64(MEGABYTE, b"\x89PNG\r\n\x1a\n"),
}
"""Three to four and a half megabytes of each."""
COUNTED_S = (0.1, 0.4, 0.7)
Work = Callable[[], Awaitable[object]]


def answers(size: int) -> dict[str, bytes]:
    return {
        "clean": records(size // 122),
        "a hit in each KB": with_hits(size // 122, 8),
        "e-mail, a text": b'["' + b"a@b.cc " * (size // 7) + b'"]',
    }


async def counted(seconds: float) -> None:
    await asyncio.get_running_loop().run_in_executor(None, _count, seconds)


def _count(seconds: float) -> None:
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for _ in range(1000):
            pass


async def redacted(body: bytes) -> None:
    work = partial(cleanse.http_answer, REDACTOR, body, "application/json")
    await aside(len(body), work, partial(REDACTOR.light, body))


async def events(size: int) -> None:
    """50 of a stream of texts."""
    data = json.dumps({"delta": (TEXT * (size // len(TEXT) + 1))[:size]}).encode()
    event = sse.Event(b"data: " + data + b"\n\n", data, identified=False)
    stream = cleanse.http_events(REDACTOR, 64 * MEGABYTE)
    for _ in range(50):
        feed = partial(cleanse.step, REDACTOR, stream, partial(stream.feed, event))
        await aside(stream.held_bytes + len(event.raw), feed)
        await asyncio.sleep(0)  # as for the next event


async def late_ms(work: Work) -> float:
    late_s, done = 0.0, asyncio.Event()

    async def ticks() -> None:
        nonlocal late_s
        while not done.is_set():
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            late_s = max(late_s, time.perf_counter() - due)

    ticker = asyncio.create_task(ticks())
    await asyncio.sleep(0.01)
    late_s = 0.0
    await work()
    await asyncio.sleep(0.002)
    done.set()
    await ticker
    return late_s * 1e3


def row(name: str, size: int | None, work: Work, runs: int) -> None:
    late = [asyncio.run(late_ms(work)) for _ in range(runs)]
    print(f"{name:34}{size or '':>9}{min(late):8.2f}{statistics.median(late):8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    sys.setswitchinterval(SWITCH_S)  # as the sidecar does
    gc.freeze()  # the same
    print(f"{'held up, ms':34}{'bytes':>9}{'least':>8}{'median':>8}")
    for seconds in COUNTED_S:
        row(f"a thread that counts for {seconds:g} s", None, partial(counted, seconds), runs)
    for size in (1, 2, 4, 16, 64, 256, 1024, 4096):
        for name, body in answers(size * 1024).items():
            row(name, len(body), partial(redacted, body), runs)
    for name, data in FULL.items():
        body = b"[" + b",".join([data] * (4 * MEGABYTE // len(data))) + b"]"
        row(name, len(body), partial(redacted, body), runs)
    for size in (1, 4, 64):
        row("an event of a stream", size * 1024, partial(events, size * 1024), runs)


if __name__ == "__main__":
    main()

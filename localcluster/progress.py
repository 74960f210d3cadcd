"""Says what is going on, one line a step, with the seconds it took."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ALIVE_EVERY_S = 15.0


@contextmanager
def step(what: str) -> Iterator[None]:
    """`… what` when it begins, on a terminal a ticking clock, `what (3.2 s)` when it has ended well."""
    started = time.monotonic()
    live = sys.stderr.isatty()
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(1.0 if live else ALIVE_EVERY_S):
            seconds = time.monotonic() - started
            text = f"  … {what} ({seconds:.0f} s)"
            print(f"\r{text}" if live else text, end="" if live else "\n", file=sys.stderr, flush=True)

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        yield
    finally:
        ended.set()
        ticking.join()
    print(
        f"{chr(13) if live else ''}  {what} ({time.monotonic() - started:.1f} s)   ",
        file=sys.stderr,
        flush=True,
    )


def note(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)

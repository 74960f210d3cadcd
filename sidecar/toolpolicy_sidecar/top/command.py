"""`toolpolicy top`."""

import argparse
import os
import sys
import time
from urllib.parse import urlsplit

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from toolpolicy_sidecar.settings import Address, address, environment
from toolpolicy_sidecar.top import table, words
from toolpolicy_sidecar.top.source import NoAnswer, Seen, look

ADMIN = "127.0.0.1:19000"
EVERY_S = 1.0
_CALLS = 10
_AROUND = 4
"""Lines that belong to no table."""


def run(argv: list[str]) -> int:
    """Exit 0, also when interrupted. 1: no sidecar answers (`--once`). 2: the command line is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy top",
        description="What a sidecar's circuits do, and the calls that failed last; renewed every second, until"
        " interrupted. Counts are over five minutes.",
    )
    environment(parser)("admin", "the sidecar's admin API, as HOST:PORT or URL", ADMIN)
    parser.add_argument("--once", action="store_true", help="print it once")
    given = parser.parse_args(argv)
    try:
        admin = _address(given.admin)
    except ValueError as wrong:
        parser.error(str(wrong))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=words.UNBROKEN)
    if given.once or not console.is_terminal:
        try:
            console.print(_page(look(admin), None))
        except NoAnswer as nobody:
            print(f"toolpolicy top: {nobody}", file=sys.stderr)  # noqa: T201 -- a command line tool prints
            return 1
        return 0
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(_looked(admin, console.height), refresh=True)
                time.sleep(EVERY_S)
    except KeyboardInterrupt:
        return 0


def _looked(admin: Address, height: int) -> RenderableType:
    try:
        return _page(look(admin), height)
    except NoAnswer as nobody:
        return Text(f"{nobody} (tried again every second)", style="red")


def _page(seen: Seen, height: int | None) -> RenderableType:
    """`height` None: as long as it gets."""
    calls = min(_CALLS, len(seen.calls))
    if height is not None:
        calls = min(calls, max(0, height // 3))
    rows = None if height is None else max(2, height - calls - _AROUND)
    parts: list[RenderableType] = [_head(seen), Text()]
    parts.append(table.of_circuits(seen.circuits, time.time_ns() // 1_000_000, rows))
    if calls:
        parts += [Text(), table.of_calls(seen.calls, calls)]
    return Group(*parts)


def _head(seen: Seen) -> Text:
    config = seen.config
    if config.hash is None:
        return Text("no policy is in force: calls are refused", style="red")
    names = ", ".join(f"{policy.namespace}/{policy.name}" for policy in config.policies) or "none"
    text = f"{words.plain(names)} (from {config.source}, {config.hash[:12]}"
    text += f", since {words.clock(config.applied_at_ms)})" if config.applied_at_ms is not None else ")"
    return Text(text, no_wrap=True, overflow="ellipsis")


def _address(text: str) -> Address:
    """Raises ValueError."""
    if "://" not in text:
        return address(text)
    parts = urlsplit(text)
    if parts.scheme != "http" or not parts.hostname or not parts.port:
        raise ValueError(f"{text!r} is no HOST:PORT and no URL such as http://{ADMIN}")
    return Address(parts.hostname, parts.port)

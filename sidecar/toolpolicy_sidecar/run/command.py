"""`toolpolicy run --policies F -- COMMAND…`."""

import argparse
import asyncio
import shutil
import sys
from pathlib import Path
from typing import NamedTuple


class Settings(NamedTuple):
    policies: Path
    log: Path | None
    table: bool
    """Live, where stderr is a terminal."""
    summary: bool
    """At the end; without a terminal in any case."""
    command: tuple[str, ...]


def run(argv: list[str]) -> int:
    """The command's exit code. 2: the command line or the policies are wrong; 126, 127: it cannot be started."""
    settings = parse(argv)
    if shutil.which(settings.command[0]) is None:
        complain(f"{settings.command[0]}: there is no such command")
        return 127
    import uvloop  # noqa: PLC0415 -- `--help` need not load it

    from toolpolicy_sidecar.run.serve import serve  # noqa: PLC0415 -- the same

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings))


def parse(argv: list[str]) -> Settings:
    """Exits with 2 and one clear line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy run",
        usage="toolpolicy run --policies FILE [OPTION…] -- COMMAND…",
        description="Runs COMMAND with a sidecar around it: a proxy on loopback that it is told of by HTTP_PROXY,"
        " HTTPS_PROXY and TOOLPOLICY_URL, and an authority for TLS that it trusts.",
        epilog="The exit code is that of COMMAND, 128 + n when signal n ended it. Signals go on to it.",
    )
    parser.add_argument(
        "--policies",
        type=Path,
        required=True,
        metavar="…",
        help="a file or folder of ToolPolicies; read again when it changes",
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="where each call is written as a line of JSON"
    )
    parser.add_argument(
        "--no-table", action="store_true", help="no live table, for a COMMAND that fills the terminal"
    )
    parser.add_argument(
        "--summary", action="store_true", help="a table at the end, also when stderr is a terminal"
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND…", help="what is run, with its arguments")
    given = parser.parse_args(argv)
    if not given.command:
        parser.error("COMMAND is missing: toolpolicy run --policies FILE -- COMMAND…")
    if not given.policies.exists():
        parser.error(f"--policies: there is no {given.policies}")
    return Settings(given.policies, given.log, not given.no_table, given.summary, tuple(given.command))


def complain(text: str) -> None:
    print(f"toolpolicy run: {text}", file=sys.stderr)  # noqa: T201 -- a command line tool prints

"""`toolpolicy stdio --server NAME -- COMMAND…`."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

from toolpolicy_sidecar.settings import Address, address, environment

ADMIN = "127.0.0.1:19000"


class Settings(NamedTuple):
    """`policies` None: the sidecar at `admin` is asked."""

    server: str
    policies: Path | None
    admin: Address
    metrics: Address | None
    max_body_bytes: int
    log_level: str
    command: tuple[str, ...]


def run(argv: list[str]) -> int:
    """The server's exit code. 2: the command line or the policies are wrong; 127: there is no such command; 1: no
    configuration."""
    settings = parse(argv)
    from toolpolicy_sidecar.stdio.serve import serve  # noqa: PLC0415 -- `--help` need not load it

    with asyncio.Runner() as runner:
        return runner.run(serve(settings))


def parse(argv: list[str]) -> Settings:
    """Exits with 2 and one clear line when something is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy stdio",
        usage="toolpolicy stdio --server NAME [--policies FILE | --admin HOST:PORT] [OPTION…] -- COMMAND…",
        description="Starts an MCP server that speaks over pipes, and stands between it and the agent: an agent runs"
        " this in the place of COMMAND.",
        epilog="Each option may also be given as an environment variable: --log-level as TOOLPOLICY_LOG_LEVEL.",
    )
    option = environment(parser)
    option("server", "its name in the policies, where it has `stdio: {}`")
    option(
        "policies",
        "a file or folder of ToolPolicies, read again when it changes; by default the sidecar is asked",
    )
    option("admin", "the sidecar's admin API, whose policies are taken when there are no --policies", ADMIN)
    option("metrics", "with --policies: where /metrics answers; else the sidecar's metrics have the calls")
    option("max-body-bytes", "longest message that is taken", str(10 * 1024 * 1024))
    option("log-level", "debug, info, warning or error; lines go to stderr", "warning")
    parser.add_argument(
        "command", nargs="*", metavar="COMMAND…", help="what starts the server; its stderr is passed on"
    )
    given = parser.parse_args(argv)
    if not given.server:
        parser.error("--server is missing: the server's name in the policies")
    if not given.command:
        parser.error("COMMAND is missing: toolpolicy stdio --server NAME -- COMMAND…")
    if given.log_level not in {"debug", "info", "warning", "error"}:
        parser.error(f"--log-level is debug, info, warning or error, not {given.log_level!r}")
    try:
        admin, max_body_bytes = address(given.admin), int(given.max_body_bytes)
        metrics = address(given.metrics) if given.metrics else None
    except ValueError as wrong:
        parser.error(str(wrong))
    if metrics and not given.policies:
        parser.error(
            "--metrics is for --policies: else the sidecar is told of the calls, and has them in its metrics"
        )
    return Settings(
        server=given.server,
        policies=Path(given.policies) if given.policies else None,
        admin=admin,
        metrics=metrics,
        max_body_bytes=max_body_bytes,
        log_level=given.log_level,
        command=tuple(given.command),
    )


def complain(text: str) -> None:
    print(f"toolpolicy stdio: {text}", file=sys.stderr)  # noqa: T201 -- a command line tool prints

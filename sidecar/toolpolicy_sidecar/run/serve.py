"""A run from start to end: sidecar, environment, process, table, exit code."""

import asyncio
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TextIO

from rich.console import Console

from toolpolicy_sidecar import view
from toolpolicy_sidecar.child import Child, hold_signals
from toolpolicy_sidecar.config.files import BadPolicies
from toolpolicy_sidecar.log import configure
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.process import Sidecar
from toolpolicy_sidecar.run import environment, summary
from toolpolicy_sidecar.run.command import Settings, complain
from toolpolicy_sidecar.run.footer import Footer
from toolpolicy_sidecar.settings import Address
from toolpolicy_sidecar.settings import Settings as SidecarSettings
from toolpolicy_sidecar.telemetry import settings as telemetry
from toolpolicy_sidecar.top import table, words

EVERY_S = 1.0
LEAST_LINES = 12
"""A smaller terminal is left to the command."""
_ANYWHERE = Address("127.0.0.1", 0)


async def serve(settings: Settings) -> int:
    """The exit code."""
    hold_signals()
    try:
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(settings.log.open("a", encoding="utf-8")) if settings.log else None
            configure("info" if log else "error", log or sys.stderr)
            async with _sidecar(settings.policies) as (sidecar, bundle):
                return await _run(settings, sidecar, bundle)
    except BadPolicies as bad:
        complain(f"the policies are refused\n{bad}")
        return 2
    except OSError as error:
        complain(f"{error.filename or 'the sidecar'}: {error.strerror}")
        return 2


async def _run(settings: Settings, sidecar: Sidecar, bundle: Path) -> int:
    totals = summary.Totals()
    sidecar.recorders.all.append(totals)
    runtime = sidecar.current.runtime
    servers = runtime.servers if runtime else {}
    env = environment.around(
        os.environ,
        reverse=sidecar.bound["reverse"],
        forward=sidecar.bound["forward"],
        admin=sidecar.bound["admin"],
        bundle=bundle,
        servers={
            name: "" if server.place.origin.piped else server.place.origin.host
            for name, server in servers.items()
        },
    )
    try:
        child = Child(settings.command, env=env)
    except OSError as error:
        complain(f"{settings.command[0]}: {error.strerror}")
        return 126
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    drawing = None
    if terminal and settings.table:
        drawing = asyncio.ensure_future(_draw(Footer(sys.stderr.fileno()), sidecar, child))
    try:
        code = await asyncio.shield(child.ended)
    finally:
        child.send(signal.SIGTERM)
    if drawing is not None:
        await drawing
    if settings.summary or not terminal:
        _sum_up(totals, sys.stderr)
    return code


@contextlib.asynccontextmanager
async def _sidecar(policies: Path) -> AsyncIterator[tuple[Sidecar, Path]]:
    """On free ports of loopback; with the file by which it is trusted, in a folder that nobody else can look into.
    Raises BadPolicies, OSError."""
    folder = Path(tempfile.mkdtemp(prefix="toolpolicy-run-"))
    bundle = folder / "ca.pem"
    sidecar = Sidecar(
        SidecarSettings(
            policies=policies,
            operator=None,
            token_file=folder / "token",
            ca_file=folder / "ca.crt",
            bootstrap_dir=None,
            labels_file=None,
            state_dir=None,
            reverse=_ANYWHERE,
            forward=_ANYWHERE,
            transparent_port=None,
            trust_bundle=bundle,
            authority_dir=None,
            intercept_domains=(),
            extra_roots=None,
            client_certificates=None,
            admin=_ANYWHERE,
            metrics=_ANYWHERE,
            cold_start="Deny",
            max_body_bytes=10 * 1024 * 1024,
            drain_s=0.0,
            log_level="error",
            session_header=None,
            user_header=None,
            pod=Pod(),
            trace_id_header=None,
            trace_redacted_content=False,
            telemetry=telemetry.parse({}),
        )
    )
    try:
        await sidecar.start()
        yield sidecar, bundle
    finally:
        await sidecar.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _draw(footer: Footer, sidecar: Sidecar, child: Child) -> None:
    """Until the child has ended. In a thread, since a terminal can be stopped (Ctrl-S): calls go on."""
    woken = asyncio.Event()
    child.on_signal.append(woken)
    try:
        while not child.ended.done():
            size = footer.size()
            if size.lines >= LEAST_LINES:
                lines = _picture(sidecar, size)
                await asyncio.to_thread(footer.draw, lines)
            else:
                await asyncio.to_thread(footer.close)
            woken.clear()
            waiting = asyncio.ensure_future(woken.wait())
            await asyncio.wait((waiting, child.ended), timeout=EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
    except OSError:  # the terminal is gone
        return
    finally:
        await asyncio.to_thread(footer.close)


def _picture(sidecar: Sidecar, size: os.terminal_size) -> list[str]:
    """A line between the command's output and the table, and as many tools as have room in a third of the screen."""
    circuits = view.circuits(sidecar.current.runtime).circuits
    rows = min(len(circuits), max(1, size.lines // 3 - 2))
    drawn = io.StringIO()
    console = Console(file=drawn, width=size.columns, force_terminal=True, highlight=False)
    console.rule("toolpolicy", style="dim", characters="-")
    console.print(table.of_circuits(circuits, time.time_ns() // 1_000_000, rows))
    return drawn.getvalue().splitlines()


def _sum_up(totals: summary.Totals, file: TextIO) -> None:
    console = Console(file=file, highlight=False, width=None if file.isatty() else words.UNBROKEN)
    console.print(summary.sentence(totals), markup=False)
    found = summary.table(totals)
    if found is not None:
        console.print(found)

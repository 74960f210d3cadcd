"""Who runs beside whom, how long examples may take, and what the tests have measured."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped] # xdist has no types

from tests.measured import FIGURES

# Hypothesis takes an example of 0.2 s for a failure; on a crowded machine any of them may take that long.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class ByPart(LoadScopeScheduling):  # type: ignore[misc] # for the same reason
    """The node's tests share one cluster, the integration tests one API server: each part stays with one worker.
    The unit tests go where there is room, file by file."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        part = Path(file).parts[1]
        return file if part == "unit" else part


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPart:
    return ByPart(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its figures over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    if not error:
        FIGURES.extend(node.workeroutput["figures"])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for figure in FIGURES:
            terminalreporter.write_line(figure)

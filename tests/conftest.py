"""Who runs beside whom, and what the tests have measured."""

from pathlib import Path
from typing import Any

import pytest

from tests.measured import FIGURES

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The node's tests share one cluster, the integration tests one API server: each stays with one worker."""
    for item in items:
        part = item.path.relative_to(HERE).parts[0]
        if part != "unit":
            item.add_marker(pytest.mark.xdist_group(part))


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

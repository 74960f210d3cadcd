"""`toolpolicy simulate` as a user meets it."""

import json
import sys
from pathlib import Path

import pytest

from toolpolicy_api.command import main

ROOT = Path(__file__).parents[3]
POLICY = str(ROOT / "examples" / "policies" / "support-agent.yaml")
SCENARIO = """
duration: 10s
tools: [{name: create_ticket, callsPerSecond: 2, latency: {constant: 50ms}}]
phases: [{name: outage, at: 2s, for: 5s, outage: Refused}]
"""


@pytest.fixture
def faults(tmp_path: Path) -> str:
    path = tmp_path / "scenario.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_json_is_for_machines(faults: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", POLICY, "--faults", faults, "--json", "--seed", "5"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["seed"] == 5
    (tool,) = found["tools"]
    assert [row["phase"] for row in tool["rows"]] == ["calm", "outage", "after outage"]
    assert tool["rows"][1]["failed"] == {"ConnectRefused": tool["rows"][1]["admitted"]}
    assert "calls of 10s simulated in " in said.err


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--plot", "x.pdf"], "--plot x.pdf: the name must end with .svg or .png"),
        (["--plot", "gone/x.svg"], "--plot gone/x.svg: there is no folder gone"),
        (["--faults", "gone.yaml"], "gone.yaml: No such file or directory"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(
    more: list[str], line: str, faults: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", POLICY, "--faults", faults, *more]) == 2
    said = capsys.readouterr()
    assert said.err == f"{line}\n"
    assert not said.out


def test_without_matplotlib_everything_but_the_plot_works(
    faults: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["simulate", POLICY, "--faults", faults]) == 0
    assert main(["simulate", POLICY, "--faults", faults, "--plot", str(tmp_path / "x.svg")]) == 2
    assert "pip install 'toolpolicy[simulate]'" in capsys.readouterr().err

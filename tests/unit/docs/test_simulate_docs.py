"""The worked example of docs/simulate.md, run: its commands work as they stand, and say what is printed there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from toolpolicy_api.command import main

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")


def test_the_worked_example_says_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL)
    assert blocks
    for block in blocks:
        printed = "".join(line for line in block.splitlines(keepends=True) if not line.startswith("$ "))
        for command in re.findall(r"^\$ (.+)$", block, re.MULTILINE):
            if command.startswith("toolpolicy "):
                assert main(shlex.split(command)[1:]) == 0
            else:
                subprocess.run(["bash", "-c", command], check=True)
        assert capsys.readouterr().out == printed
    assert "calls answered" in (tmp_path / "retry.svg").read_text(encoding="utf-8")


def test_the_scenario_on_the_page_is_the_example() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    example = ROOT / "examples" / "scenarios" / "bad-half-hour.yaml"
    assert yaml.safe_load(shown) == yaml.safe_load(example.read_text(encoding="utf-8"))

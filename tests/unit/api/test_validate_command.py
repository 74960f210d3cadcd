from pathlib import Path

import pytest
import yaml

from tests.corpus.policies import BAD, GOOD
from toolpolicy_api.command import main


def write(folder: Path, *documents: object) -> str:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return str(path)


def test_a_good_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", write(tmp_path, GOOD)]) == 0
    assert capsys.readouterr().out.endswith("policy.yaml: agent: valid\n")


def test_findings_name_file_policy_and_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = next(bad for bad in BAD if bad.name == "tool of no server")
    assert main(["validate", write(tmp_path, GOOD, bad.policy())]) == 1
    assert capsys.readouterr().err.endswith(
        "policy.yaml: agent: spec.tools[0].server: no server 'nowhere' in spec.servers; known: kb, tickets\n"
    )


@pytest.mark.parametrize("content", ["a: [", "\t", "- - :\n :"])
def test_what_is_no_yaml(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(content, encoding="utf-8")
    assert main(["validate", str(path)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_missing_file(tmp_path: Path) -> None:
    assert main(["validate", str(tmp_path / "none.yaml")]) == 2


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["--help"], 0), (["--version"], 0), (["dance"], 2)])
def test_the_dispatcher(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == code
    assert capsys.readouterr()


def test_crd_prints_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crd"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["metadata"]["name"] == "toolpolicies.toolpolicy.dev"

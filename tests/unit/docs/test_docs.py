"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest
import yaml

from toolpolicy_api.check import check
from toolpolicy_api.policy import KIND
from toolpolicy_sidecar.classify import of_reason
from toolpolicy_sidecar.reasons import MEANINGS
from toolpolicy_sidecar.resilience.breaker import Outcome

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_policy_in_a_document_is_valid(path: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for document in yaml.safe_load_all(block):
            if document.get("kind") == KIND:
                assert check(document) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_every_make_target_and_file_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"make ([a-z-]+)", text)) <= targets | {"sure"}
    for file in re.findall(r"(?:examples|charts|crds|tests)/[\w./-]+", text):
        assert (ROOT / file.rstrip(".")).exists(), file


def test_the_table_of_answers_is_the_code() -> None:
    text = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .+ \| (failure|no) \|$", text, re.MULTILINE)
    wanted = [
        (
            reason.value,
            str(meaning.status),
            "failure" if of_reason(reason).breaker is Outcome.FAILURE else "no",
        )
        for reason, meaning in MEANINGS.items()
        if meaning.kind != "passed"
    ]
    assert rows == wanted

import copy
from pathlib import Path

import pytest
import yaml

from tests.corpus.policies import BAD, GOOD, Bad
from toolpolicy_api import crd, policy
from toolpolicy_api.check import check, parse
from toolpolicy_api.compile import compile_policy

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_bad_policy_is_refused_at_its_field(bad: Bad) -> None:
    findings = check(bad.policy())
    assert bad.field in [finding.field for finding in findings], findings
    assert all(finding.message for finding in findings)


def test_the_unspoilt_policy_is_good() -> None:
    assert check(copy.deepcopy(GOOD)) == []


@pytest.mark.parametrize("document", [None, [], "text", 3, {}, {"kind": "ToolPolicy"}, {"spec": None}])
def test_what_is_no_policy_is_refused(document: object) -> None:
    assert check(document)


def test_the_committed_crd_is_the_generated_one() -> None:
    committed = (ROOT / "crds" / "toolpolicies.yaml").read_text(encoding="utf-8")
    assert committed == crd.text(), "run: toolpolicy crd > crds/toolpolicies.yaml"


def test_every_example_policy_is_valid() -> None:
    files = sorted((ROOT / "examples").rglob("*.yaml"))
    documents = [d for f in files for d in yaml.safe_load_all(f.read_text(encoding="utf-8"))]
    policies = [d for d in documents if d and d.get("kind") == policy.KIND]
    assert policies
    for document in policies:
        assert check(document) == []
        compile_policy(parse(document))

"""Pages of tools, made of policies."""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.metrics import page as metrics_page
from tests.commands import POLICIES, commands, of_docs, of_policy
from tests.corpus.policies import GOOD
from toolpolicy_api.check import check, parse
from toolpolicy_operator.runbook.command import run
from toolpolicy_operator.runbook.page import pages
from toolpolicy_sidecar.reasons import Reason

SECTIONS = [
    "What it needs",
    "When it breaks",
    "Checks",
    "Symptom, likely cause, action",
    "Take it out of use",
    "Force the circuit",
    "Roll back",
]


def page(tool: dict[str, Any], **spec: Any) -> str:
    """Of a policy with this one tool."""
    document = copy.deepcopy(GOOD)
    document["spec"]["tools"] = [
        {"name": "search", "server": "kb", **tool},
        {"name": "other", "server": "kb"},
    ]
    document["spec"] |= spec
    return next(pages(parse(document)))


def documents() -> list[dict[str, Any]]:
    found = [
        each for path in POLICIES for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each
    ]
    return [*found, GOOD]


@pytest.mark.parametrize("document", documents(), ids=lambda each: str(each["metadata"]["name"]))
def test_every_tool_has_a_whole_page(document: dict[str, Any]) -> None:
    metadata, tools = document["metadata"], document["spec"]["tools"]
    made = list(pages(parse(document)))
    assert len(made) == len(tools)
    for text, tool in zip(made, tools, strict=True):
        assert text.startswith(f"# {tool['name']} ({metadata['namespace']}/{metadata['name']})\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
        metrics = set(re.findall(r"toolpolicy_[a-z_]+", text))
        assert {name.removesuffix("_bucket") for name in metrics} <= set(
            re.findall(r"^\| `(toolpolicy_\w+)` \|", metrics_page(), re.MULTILINE)
        )
        symptoms = text.partition("## Symptom")[2].partition("## Take")[0]
        reasons = set(re.findall(r"`([A-Z]\w+)`", symptoms))
        assert reasons
        assert reasons <= {reason.value for reason in Reason}


def patched(document: dict[str, Any], text: str, number: int) -> dict[str, Any]:
    """By the command of this number; a test that fails raises AssertionError, as kubectl would."""
    found = [each.text for each in commands(text, "") if each.text.startswith("kubectl patch")]
    made = copy.deepcopy(document)
    for step in json.loads(found[number].partition("-p '")[2].removesuffix("'")):
        *parents, last = step["path"].removeprefix("/").split("/")
        node: Any = made
        for part in parents:
            node = node[int(part)] if part.isdigit() else node[part]
        match step["op"]:
            case "test":
                assert node[last] == step["value"]
            case "add":
                node[last] = step["value"]
            case "remove":
                del node[last]
    return made


@pytest.mark.parametrize(
    "tool",
    [
        {},
        {"enabled": True},
        {"circuitBreaker": {"consecutiveFailures": 2}},
        {"circuitBreaker": {"mode": "Observe"}},
    ],
)
def test_patches_do_what_they_say_and_back(tool: dict[str, Any]) -> None:
    document = copy.deepcopy(GOOD)
    document["spec"]["tools"] = [
        {"name": "other", "server": "kb"},
        {"name": "search", "server": "kb", **tool},
    ]
    _, text = pages(parse(document))
    off = patched(document, text, 0)
    assert off["spec"]["tools"][1]["enabled"] is False
    assert patched(off, text, 1) == document
    for number, mode in ((2, "ForcedOpen"), (3, "ForcedClosed")):
        forced = patched(document, text, number)
        assert check(forced) == []
        assert forced["spec"]["tools"][1]["circuitBreaker"] == {
            **tool.get("circuitBreaker", {}),
            "mode": mode,
        }
        assert patched(forced, text, 4) == document
    document["spec"]["tools"].reverse()
    with pytest.raises(AssertionError):
        patched(document, text, 0)


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        ({}, "The tool is critical: without it the agent cannot do its task."),
        ({"criticality": "Optional"}, "It is told to go on without this tool."),
        ({"fallback": {"message": "use `grep`"}}, "The model reads, as an error: `` use `grep` ``."),
        ({"fallback": {"static": "{}"}}, "it does not notice"),
        ({"fallback": {"cached": {"maxAge": "1h"}}}, "up to 1h old"),
        ({"fallback": {"tool": {"name": "other"}}}, "`other` is called in its place"),
        ({"enabled": False}, "**The policy has it out of use.**"),
        ({"concurrency": {"max": 3, "queue": 2}}, "| calls at once | 3 in each pod, 2 more wait |"),
        ({"slo": {"latency": {"p95": "5s"}}}, "| objective | 95 % within 5s, over 30d |"),
        ({"slo": {"availability": 99.5, "window": "7d"}}, "| objective | 99.5 % succeed, over 7d |"),
    ],
)
def test_what_breaks_with_it(tool: dict[str, Any], says: str) -> None:
    assert says in page(tool)


def test_a_mode_that_enforces_nothing_is_said_first_and_no_switch_is_offered() -> None:
    text = page({}, mode="Shadow")
    assert "\n\n**The policy is in mode Shadow: every call passes untouched, and" in text
    assert "toolpolicy switch" not in text


def test_what_an_author_writes_stays_a_word_in_a_shell() -> None:
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a b", "$(reboot)"]}]}
    line = next(
        each.text for each in commands(page({}, selector=selector), "") if each.text.startswith("POD=")
    )
    words = line.removeprefix("POD=$(").partition(" | ")[0].replace("kubectl", "printf '%s\\n'")
    said = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=True).stdout
    assert "toolpolicy.dev/injected=true,app in (a b, $(reboot))" in said.splitlines()


def test_every_command_of_a_runbook_is_run_by_a_test() -> None:
    found = [*of_docs(), *(each for path in POLICIES for each in of_policy(path))]
    assert {each.kind for each in found} == {"cluster", "node", "promql", "alertmanager", "toolpolicy"}
    assert [each for each in found if each.kind is None] == []


def test_a_command_that_no_test_runs_is_noticed() -> None:
    text = "Say `kubectl get pods`:\n\n    rm -rf /\n\n```sh\ncurl http://x\n```\n"
    assert [(each.text, each.kind) for each in commands(text, "")] == [
        ("curl http://x", None),
        ("rm -rf /", None),
        ("kubectl get pods", "cluster"),
    ]


EXAMPLE = str(next(path for path in POLICIES if path.stem == "support-agent"))


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["--policies", EXAMPLE]) == 0
    assert capsys.readouterr().out.count("\n## Roll back\n") == 4
    assert run(["support/support-agent", "--policies", EXAMPLE]) == 0
    assert run(["support/nobody", "--policies", EXAMPLE]) == 1
    assert "holds no ToolPolicy support/nobody" in capsys.readouterr().err
    assert run(["--policies", str(tmp_path / "none.yaml")]) == 1
    bad = tmp_path / "bad.yaml"
    bad.write_text("kind: ToolPolicy\n", encoding="utf-8")
    assert run(["--policies", str(bad)]) == 1
    assert "metadata" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["support"], ["/x"], ["support/"]])
def test_a_wrong_command_line(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        run(argv)
    assert wrong.value.code == 2

"""What a policy lets pass although it is found, and tools with a redaction of their own."""

import base64

import pytest

from toolpolicy_api import snapshot
from toolpolicy_api.check import parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor

ALLOWING = Redactor.compile(
    snapshot.Redaction(
        detectors=("Email", "CreditCard"),
        allow=(
            snapshot.Allowed(text="4111-1111-1111-1111"),
            snapshot.Allowed(regex=r"[^@]+@example\.com"),
        ),
    )
)
OWN, OTHER = "jane@example.com", "jane@example.com.evil.org"


def test_only_what_is_allowed_as_a_whole_passes() -> None:
    assert ALLOWING.text(f"{OWN} {OTHER}").value == f"{OWN} [redacted:Email]"


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "4111111111111111",
        OWN.replace("@", "%40"),
        base64.b64encode(f"mail {OWN} now".encode()).decode(),
    ],
)
def test_however_it_is_written(text: str) -> None:
    assert ALLOWING.text(text) == (text, {})


def test_what_overlaps_with_it_is_redacted_all_the_same() -> None:
    pattern = snapshot.Pattern("person", "jane@", "[person]")
    redaction = snapshot.Redaction(
        detectors=("Email",), patterns=(pattern,), allow=(snapshot.Allowed(text=OWN),)
    )
    assert Redactor.compile(redaction).text(OWN).value == "[person]example.com"


def test_a_pattern_that_does_not_compile_is_named() -> None:
    with pytest.raises(InvalidPattern, match=r"allow\[0\]"):
        Redactor.compile(snapshot.Redaction(allow=(snapshot.Allowed(regex="("),)))


def test_a_tool_has_its_own_fields_and_the_policys_others() -> None:
    document = {
        "apiVersion": "toolpolicy.dev/v1alpha1",
        "kind": "ToolPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "selector": {},
            "servers": [{"name": "kb", "protocol": "MCP", "url": "http://kb/mcp"}],
            "tools": [
                {"name": "own", "server": "kb", "redaction": {"action": "Hash", "detectors": ["SSN"]}},
                {"name": "exempt", "server": "kb"},
                {"name": "none", "server": "kb", "redaction": {"detectors": [], "patterns": []}},
                {"name": "same", "server": "kb"},
            ],
            "redaction": {
                "detectors": ["Email"],
                "patterns": [{"name": "ticket", "regex": "TCK"}],
                "allow": [{"text": "a@b.org"}],
                "apply": "Request",
                "exempt": ["exempt"],
            },
        },
    }
    policy = compile_policy(parse(document))
    assert [tool.redaction for tool in policy.tools] == [
        snapshot.Redaction(
            detectors=("SSN",),
            patterns=(snapshot.Pattern("ticket", "TCK"),),
            allow=(snapshot.Allowed(text="a@b.org"),),
            apply="Request",
            action="Hash",
        ),
        snapshot.Redaction(),
        snapshot.Redaction(allow=(), apply="Both"),
        None,
    ]

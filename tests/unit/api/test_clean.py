"""Free texts lose what looks like a secret, and nothing else."""

import json

import pytest

from toolpolicy_api.clean import CLEANED, clean

SECRETS = [
    "sk-canaryQ7W2e9RtY4uZ3pLk8vB1",
    "ghp_" + "a1B2" * 9,
    "AKIA" + "IOSFODNN7EXAMPLE",
    "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "c2stY2FuYXJ5UTdXMmU5UnRZNHVaM3BMazh2QjE=",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_goes(secret: str) -> None:
    for text in (secret, f"why: {secret}", f"({secret})", f'"{secret}" is no duration', f"a={secret};"):
        found = clean(text)
        assert secret not in found
        assert CLEANED in found
        assert clean(found) == found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("https://joe:hunter2@db.example/x", "https://[redacted]@db.example/x"),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [redacted]"),
        ("password=hunter2&x=1", "password=[redacted]&x=1"),
    ],
)
def test_what_stands_beside_it_stays(text: str, wanted: str) -> None:
    assert clean(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "disabled by hand (jane.doe@example.com): incident 7, see https://wiki.example/runbooks/ToolFailing",
        "2/5 pods enforce 1f2e3d4c (generation 3); refused by support-agent-6d4cf56db9-x7k2q",
        "f4c1e7a3b2d5968870a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f607",
        "4bf92f3577b34da6a3ce929d0e0e4736 2026-11-21T03:00:00.123Z 8c0f2f4e-57a0-4bb7-9f1e-0d0c0b0a0908",
        "search_knowledge_base_V2 of kb: TotalTimeout: no answer within 8 s; refused until 2027-01-15T08:00:00Z",
        "spec.tools[0].circuitBreaker.failureRate.minimumCalls: is larger than calls",
        "toolpolicy.dev/v1alpha1 ToolpolicyPolicyNotProgrammed MalformedAnswer",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert clean(text) is text or clean(text) == text


@pytest.mark.parametrize("secret", SECRETS)
def test_a_line_of_json_stays_one(secret: str) -> None:
    line = json.dumps({"event": f"failed: {secret}", "more": [secret], "count": 1})
    found = json.loads(clean(line))
    assert (found["count"], secret in str(found)) == (1, False)

"""`toolpolicy redact` and `toolpolicy detectors` as a user meets them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from toolpolicy_api.command import main

KEY_BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCMIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
POLICIES = """
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {name: strict, namespace: a}
spec:
  selector: {}
  servers: [{name: kb, protocol: MCP, url: "https://kb.internal/mcp"}]
  tools:
  - {name: search, server: kb, redaction: {
      action: Mask, detectors: [], fields: [], patterns: [{name: ticket, regex: "TCK-[0-9]{6}"}]}}
  redaction: {detectors: [Email], action: Block, fields: [{path: "$.pin", action: Drop}]}
---
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {name: other, namespace: a}
spec:
  selector: {}
  servers: [{name: mail, protocol: MCP, url: "https://mail.internal/mcp"}]
  redaction: {detectors: [CreditCard]}
"""


def redact(tmp_path: Path, content: bytes, *options: str) -> int:
    path = tmp_path / "in"
    path.write_bytes(content)
    return main(["redact", *options, str(path)])


def test_json_stays_one_line_and_the_rest_is_text(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    lines = [
        b'{"b" : 1.50,  "password": "s3cr3t-pw", "a": "\\u006aane@example.com"}\r\n',
        b"\n",
        b"mail jane@example.com\n",
        b'{"broken": "jane@example.com"\n',
        b"4111111111111111\n",
        b"caf\xe9 jane@example.com\n",
        b"no end",
    ]
    assert redact(tmp_path, b"".join(lines)) == 0
    said = capfdbinary.readouterr()
    assert said.out.split(b"\n") == [
        b'{"b" : 1.50,  "password": "[redacted:Password]", "a": "[redacted:Email]"}\r',
        b"",
        b"mail [redacted:Email]",
        b'{"broken": "[redacted:Email]"',
        b'"[redacted:CreditCard]"',
        b"caf\xe9 [redacted:Email]",
        b"no end",
    ]
    assert b"7 lines (2 JSON): 6 texts taken out of 5 lines, 0 lines withheld" in said.err
    assert b"jane" not in said.err


def test_a_private_key_over_many_lines_is_masked_line_by_line(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    begin, end = "-----BEGIN {}PRIVATE KEY-----", "-----END {}PRIVATE KEY-----"
    for kind in ("", "RSA ", "OPENSSH "):
        for indent in ("", "    ", "> "):
            key = [begin.format(kind), KEY_BODY, KEY_BODY, "AQID==", end.format(kind)]
            text = "\n".join(["before", *(indent + line for line in key), "after", KEY_BODY])
            assert redact(tmp_path, text.encode()) == 0
            out = capfdbinary.readouterr().out.decode().split("\n")
            assert out == ["before", *["[redacted:PrivateKey]"] * 5, "after", KEY_BODY]
    assert redact(tmp_path, f"look for {begin.format('')} here\nand go on".encode()) == 0
    assert capfdbinary.readouterr().out.endswith(b"\nand go on")


def test_what_cannot_be_read_is_withheld(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert redact(tmp_path, b"[" * 200 + b"]" * 200 + b"\na\0b\nfine\n") == 3
    said = capfdbinary.readouterr()
    first, second, third, _ = said.out.split(b"\n")
    assert json.loads(first) == "[withheld: JSON nested deeper than 128]"
    assert second.startswith(b"[withheld: bytes that are zero")
    assert third == b"fine"
    assert b"2 lines withheld" in said.err


def test_a_policy_is_tried_as_it_is(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    policies = tmp_path / "policies.yaml"
    policies.write_text(POLICIES, encoding="utf-8")
    data = b'{"pin": 1, "ticket": "TCK-123456"}\njane@example.com\n'
    options = ["--policies", str(policies)]
    assert redact(tmp_path, data, *options) == 2
    assert (
        b"several policies redact (a/other, a/strict); name one with --policy" in capfdbinary.readouterr().err
    )
    assert redact(tmp_path, data, *options, "--policy", "other") == 0
    assert capfdbinary.readouterr().out == data
    assert redact(tmp_path, data, *options, "--policy", "a/strict", "--explain") == 3
    said = capfdbinary.readouterr()
    assert said.out == b'{"ticket": "TCK-123456"}\n[withheld: it holds Email (1)]\n'
    assert b"in:2: withheld: it holds Email (1)" in said.err
    assert redact(tmp_path, data, *options, "--tool", "search", "--quiet") == 0
    said = capfdbinary.readouterr()
    assert said.out == b'{"pin": 1, "ticket": "[redacted:ticket]"}\njane@example.com\n'
    assert said.err == b""
    assert redact(tmp_path, data, *options, "--tool", "nosuch") == 2
    assert b"no policy with a tool 'nosuch' redacts anything" in capfdbinary.readouterr().err


def test_explain_says_why_and_not_what(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    document = {
        "user": {"email": "jane@example.com"},
        "password": "hunter2-secret",
        "joe@example.com": 1,
        "text": json.dumps({"card": 4111111111111111}),
        "blob": "amFuZUBleGFtcGxlLmNvbSBhbmQgc28gb24=",
        "link": "jane%40example.com",
    }
    assert redact(tmp_path, json.dumps(document).encode(), "--explain") == 0
    said = capfdbinary.readouterr().err.decode()
    for line in (
        "in:1: Email (High): $.user.email bytes 0-16, as it stands",
        "in:1: Password (Medium): $.password bytes 0-14, beside its key",
        "in:1: Email (High): a key of $ bytes 0-15, as it stands",
        "in:1: CreditCard (High): $.text$.card bytes 0-16, JSON in a string",
        "in:1: Email (High): $.blob bytes 0-16, in base64 or hex",
        "in:1: Email (High): $.link bytes 0-16, decoded (escapes, percent, look-alikes)",
    ):
        assert line in said
    for value in ("jane", "joe", "hunter2", "4111"):
        assert value not in said


def test_a_pipe_gives_each_line_back_at_once() -> None:
    command = [sys.executable, "-m", "toolpolicy_api.command", "redact", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in (b"jane@example.com\n", b'{"a": "jane@example.com"}\n'):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line.replace(b"jane@example.com", b"[redacted:Email]")
        process.stdin.close()
        assert process.wait() == 0


def test_a_file_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["redact", "/nowhere/at/all"]) == 2
    assert capfd.readouterr().err == "/nowhere/at/all: No such file or directory\n"


def test_detectors_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["detectors"]) == 0
    assert "Email " in capfd.readouterr().out
    assert main(["detectors", "--json"]) == 0
    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {"name": "IBAN", "groups": ["Financial"], "confidence": "High"}.items() <= next(
        row for row in rows if row["name"] == "IBAN"
    ).items()

"""Which answers satisfy a tool's output schema, and what is learned of schemas in bounded memory and time."""

import json
import subprocess
import sys
from typing import Any

import pytest
from msgspec import UNSET

from toolpolicy_sidecar.fallback import schemas
from toolpolicy_sidecar.fallback.schemas import (
    Fitting,
    OutputSchemas,
    Unfollowed,
    expansions,
    fit_text,
    listed,
)

TREE = {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}
WRAPPED = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
ARTICLES = {"type": "object", "properties": {"articles": {"type": "array"}}, "required": ["articles"]}


def doubling(depth: int) -> dict[str, Any]:
    """Small to write, 2^depth to check."""
    steps = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(depth)}
    return {"$defs": {**steps, f"d{depth}": {"type": "object"}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("content", "schema", "fitting"),
    [
        ("text", None, Fitting()),
        ('{"a": 1}', None, Fitting()),
        ("text", WRAPPED, Fitting({"result": "text"})),
        ("42", WRAPPED, Fitting({"result": "42"})),
        ('{"result": "own"}', WRAPPED, Fitting({"result": "own"})),
        ('{"articles": []}', ARTICLES, Fitting({"articles": []})),
        ('{"articles": 7}', ARTICLES, None),
        ('{"a": 7}', {"type": "object", "additionalProperties": {"type": "string"}}, None),
        ("text", ARTICLES, None),
        ("[1]", {"type": "array"}, Fitting([1])),
        ("3", {"properties": {"result": {"type": "integer"}}, "type": "object"}, Fitting({"result": 3})),
        ('{"a": 1}', TREE, Fitting({"a": 1})),
        ("text", TREE, None),
        ('{"a": 1}', doubling(60), Fitting({"a": 1})),
        ('{"a": 1}', doubling(500), Fitting({"a": 1})),
        ('{"a": 1}', {"$ref": "http://127.0.0.1:9/schema"}, Fitting({"a": 1})),
        ('{"a": 1}', {"type": "no such type"}, Fitting({"a": 1})),
        ("text", {"type": "no such type"}, None),
    ],
)
def test_a_text_of_the_policy_as_an_answer_of_the_tool(
    content: str, schema: dict[str, Any] | None, fitting: Fitting | None
) -> None:
    known = None if schema is None else json.dumps(schema).encode()
    assert fit_text(content, known) == fitting


def test_a_tool_that_was_not_listed() -> None:
    assert fit_text("text", UNSET) == Fitting()
    assert fit_text("[1]", UNSET) == Fitting()
    assert fit_text('{"a": 1}', UNSET) == Fitting({"a": 1})


def test_definitions_are_followed() -> None:
    schema = {"$defs": {"a": {"type": "object", "required": ["x"]}}, "$ref": "#/$defs/a"}
    known = json.dumps(schema).encode()
    assert fit_text('{"x": 1}', known)
    assert fit_text('{"y": 1}', known) is None


def test_what_a_schema_costs() -> None:
    assert expansions({"type": "object"}) == 1
    assert expansions(doubling(10)) > 2**10
    assert expansions(doubling(100)) > 2**100  # counted, not walked
    for elsewhere in ("#/$defs/gone", "other.json", "#anchor", "#"):
        with pytest.raises(Unfollowed):
            expansions({"properties": {"a": {"$ref": elsewhere}}})
    with pytest.raises(Unfollowed):
        expansions(TREE)
    with pytest.raises(Unfollowed):
        expansions({"properties": {"a": {"$id": "http://other/", "$ref": "#/$defs/x"}}, "$defs": {"x": {}}})


def answer(*tools: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"tools": list(tools)}}).encode()


@pytest.mark.parametrize("events", [False, True])
def test_schemas_are_read_from_the_list(events: bool) -> None:
    body = answer(
        {"name": "a", "outputSchema": {"type": "object"}}, {"name": "b"}, {"name": "c", "outputSchema": None}
    )
    if events:
        body = b": hello\n\ndata: " + body + b"\n\n"
    assert listed(body, events=events, limit_bytes=10_000) == {
        "a": b'{"type": "object"}',
        "b": None,
        "c": None,
    }


@pytest.mark.parametrize(
    "body",
    [b"", b'"tools"', b'{"result": {"tools": 7}}', b'{"result": {"tools": [{"name": 1}]}}', b"[" * 100_000],
)
def test_nothing_is_read_from_nonsense(body: bytes) -> None:
    assert listed(body, events=False, limit_bytes=10_000) == {}
    assert listed(b"data: " + body, events=True, limit_bytes=10) == {}


def test_memory_is_bounded() -> None:
    known = OutputSchemas()
    schema = b'{"description": "' + b"x" * 10_000 + b'"}'
    for number in range(1000):
        known.learn({f"tool{number}": schema})
    assert len(known) * len(schema) <= schemas.SCHEMAS_BYTES
    assert known.of("tool999") == schema
    assert known.of("tool0") is UNSET
    for number in range(100_000):
        known.learn({f"bare{number}": None})
    assert len(known) * 200 <= schemas.SCHEMAS_BYTES
    known.learn({"long": b" " * (schemas.SCHEMA_BYTES + 1), "n" * 129: None})
    assert known.of("long") is UNSET
    assert known.of("n" * 129) is UNSET


def test_what_is_learned_later_counts() -> None:
    known = OutputSchemas()
    known.learn({"a": b"{}"})
    known.learn({"a": None})
    assert known.of("a") is None
    known.learn({"a": b" " * (schemas.SCHEMA_BYTES + 1)})
    assert known.of("a") is UNSET


def test_the_library_is_not_imported_until_it_is_needed() -> None:
    program = "import sys, toolpolicy_sidecar.process; sys.exit('jsonschema_rs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

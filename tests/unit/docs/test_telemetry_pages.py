"""docs/traces.md and docs/records.md say what leaves: their examples are made again, their tables are complete."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from docs.call_schema import schema
from tests.unit.datapath.loopback import Exchange, fine
from tests.unit.telemetry.observed import TRACE, Observed, Span, observed

DOCS = Path(__file__).parents[3] / "docs"
TRACES = (DOCS / "traces.md").read_text(encoding="utf-8")
RECORDS = (DOCS / "records.md").read_text(encoding="utf-8")
POLICY = {
    "tools": [
        {
            "name": "ticket",
            "server": "desk",
            "match": {"path": "/t"},
            "retry": {"maxAttempts": 3, "idempotent": True, "backoff": {"base": "1ms", "max": "2ms"}},
            "circuitBreaker": {"consecutiveFailures": 3, "openFor": "60s"},
        }
    ]
}
HEADERS = [
    ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),
    ("X-Session", "password"),
    ("baggage", "user.id=ann"),
]
FLAGS = ("--session-header", "X-Session", "--agent", "support-agent", "--service-account", "support")
VARY = {"time", "started_at_ms", "duration_ms", "upstream_ms"}


async def failing(exchange: Exchange) -> None:
    await (exchange.answer(500, b"{}") if "t?" in exchange.seen.target else fine(exchange))


async def two_calls(o: Observed) -> None:
    agent = await o.agent()
    for _ in range(2):
        await agent.request("GET", "/desk/t?limit=5", headers=HEADERS)
    await o.exported()


def told(of: Span, spans: list[Span]) -> list[str]:
    """As the page tells it."""
    has = of.attributes
    lines = [
        f"{of.name}: {has['toolpolicy.outcome']}, {has['toolpolicy.reason']}, {has['toolpolicy.attempts']} attempts"
    ]
    for name, fields in of.events:
        change = f"{fields.get('toolpolicy.before')} -> {fields.get('toolpolicy.after')}: "
        lines.append(f"  {name} {change if 'circuit' in name else ''}{fields['toolpolicy.reason']}")
    return lines + [
        f"  {span.name}: {span.attributes['http.response.status_code']}, {span.attributes['error.type']}"
        for span in spans
        if span.parent == of.span_id
    ]


async def test_the_examples_are_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = {"desk": failing}
    async with observed(
        tmp_path, monkeypatch, POLICY, servers={"desk": "HTTP"}, scripts=scripts, flags=FLAGS
    ) as o:
        await two_calls(o)
        (shown,) = re.findall(r"```text\n(.*?)```", TRACES, re.DOTALL)
        lines = [line for span in o.receiver.servers() for line in told(span, o.receiver.clients())]
        assert shown.splitlines() == lines

        (example,) = re.findall(r"```json\n(.*?)```", RECORDS, re.DOTALL)
        documented: dict[str, Any] = json.loads(example)
        real = o.lines[0]
        assert list(documented) == list(real)
        assert {key: value for key, value in documented.items() if key not in VARY} == {
            key: value for key, value in real.items() if key not in VARY
        }
        jsonschema_rs.validator_for(schema()).validate(documented)


def test_every_attribute_and_event_of_the_code_is_on_the_page() -> None:
    code = (DOCS.parent / "sidecar" / "toolpolicy_sidecar" / "telemetry" / "spans.py").read_text(
        encoding="utf-8"
    )
    names = set(
        re.findall(
            r'"((?:toolpolicy|gen_ai|mcp|jsonrpc|http|server|url|network|user|session|error)\.[\w.]+)', code
        )
    )
    assert len(names) > 25
    assert {name for name in names if f"`{name.rstrip('.')}" not in TRACES} == set()


def test_every_metric_on_the_pages_exists() -> None:
    known = set(re.findall(r"`(toolpolicy_\w+)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    for page in (TRACES, RECORDS):
        assert set(re.findall(r"toolpolicy_\w+", page)) <= known

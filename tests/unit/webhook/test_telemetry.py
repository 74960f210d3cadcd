"""The chart's values `telemetry` as the environment of a sidecar, which the sidecar's own parser understands."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from toolpolicy_operator.webhook.sidecar import Sidecar, container
from toolpolicy_operator.webhook.telemetry import environment, parse
from toolpolicy_sidecar.telemetry.settings import parse as understood

VALUES = Path(__file__).parents[3] / "charts" / "toolpolicy" / "values.yaml"


def plain(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in entries if "value" in entry}


def test_by_the_charts_defaults_nothing_leaves() -> None:
    defaults = yaml.safe_load(VALUES.read_text(encoding="utf-8"))["telemetry"]
    told = parse(json.dumps(defaults))
    assert told == parse("{}")
    assert [entry["name"] for entry in environment(told)] == ["TOOLPOLICY_SERVICE_ACCOUNT"]


def test_a_sidecar_understands_what_it_is_told() -> None:
    told = parse(
        json.dumps(
            {
                "traces": {
                    "endpoint": "http://collector:4318/",
                    "sampling": 0.05,
                    "traceIdHeader": "X-Trace-Id",
                },
                "logs": {"endpoint": "https://logs"},
                "headersSecret": "collector",
                "sessionHeader": "X-Session",
            }
        )
    )
    env = container(Sidecar(image="toolpolicy:1", operator="wss://o", telemetry=told))["env"]
    found = understood(plain(env))
    assert found.traces is not None
    assert found.logs is not None
    assert (found.traces.url, found.logs.url) == ("http://collector:4318/v1/traces", "https://logs/v1/logs")
    assert (found.sampler.ratio, found.sampler.follows) == (0.05, True)
    assert plain(env)["TOOLPOLICY_SESSION_HEADER"] == "X-Session"
    names = [entry["name"] for entry in env]
    assert len(names) == len(set(names))
    # Kubernetes resolves $(NAME) only of variables before it.
    attributes = plain(env)["OTEL_RESOURCE_ATTRIBUTES"]
    for name in ("TOOLPOLICY_POD", "TOOLPOLICY_NAMESPACE"):
        assert f"$({name})" in attributes
        assert names.index(name) < names.index("OTEL_RESOURCE_ATTRIBUTES")
    (secret,) = [entry for entry in env if entry["name"] == "OTEL_EXPORTER_OTLP_HEADERS"]
    assert secret["valueFrom"]["secretKeyRef"] == {"name": "collector", "key": "headers", "optional": True}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"traces": {"sampling": 2}}, "sampling"),
        ({"traces": {"endpoint": "collector:4318"}}, "endpoint"),
        ({"trace": {}}, "trace"),
        ({"userHeader": "two words"}, "userHeader"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse(json.dumps(wrong))

"""What annotations of a pod change in its sidecar; what is wrong costs a warning and changes nothing."""

from typing import Any

import pytest

from toolpolicy_operator.webhook.overrides import Overridden, override
from toolpolicy_operator.webhook.sidecar import Sidecar

DEFAULTS: dict[str, Any] = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
SIDECAR = Sidecar(image="toolpolicy:1", operator="wss://operator", resources=DEFAULTS)


def prefixed(annotations: dict[str, str]) -> dict[str, str]:
    return {f"toolpolicy.dev/{key}": value for key, value in annotations.items()}


@pytest.mark.parametrize(
    ("annotations", "resources"),
    [
        ({}, DEFAULTS),
        ({"cpu-limit": "1"}, {**DEFAULTS, "limits": {"memory": "256Mi", "cpu": "1"}}),
        ({"cpu-request": "0.5"}, {**DEFAULTS, "requests": {"cpu": "0.5", "memory": "64Mi"}}),
        (
            {"memory-request": "1Gi", "memory-limit": "2Gi"},
            {"requests": {"cpu": "20m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        ),
    ],
)
def test_resources(annotations: dict[str, str], resources: dict[str, Any]) -> None:
    assert override(SIDECAR, prefixed(annotations)) == Overridden(SIDECAR._replace(resources=resources))
    assert SIDECAR.resources == {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


@pytest.mark.parametrize(
    ("annotation", "text", "why"),
    [
        ("cpu-request", "lots", "is no quantity; write it like 100m (CPU) or 128Mi (memory)"),
        ("cpu-request", "-1", "is no quantity"),
        ("cpu-request", "1e3", "is no quantity"),
        ("cpu-request", "", "is no quantity"),
        ("cpu-limit", "0", "is less than 10m"),
        ("memory-limit", "128", "is less than 64Mi"),
        ("memory-limit", "64m", "is less than 64Mi"),
        ("memory-request", "128", "is less than 1Mi"),
        ("memory-request", "9" * 400, "is no quantity"),
        ("forward", "yes", "is neither enabled nor disabled"),
        ("extra-roots", "Corp Roots", "is no name of a ConfigMap"),
        ("log-level", "loud", "is none of debug, info, warning, error"),
        ("log-level", "INFO\u0000", "is none of"),
    ],
)
def test_what_is_wrong_is_ignored_with_a_warning(annotation: str, text: str, why: str) -> None:
    sidecar, (warning,) = override(SIDECAR, prefixed({annotation: text}))
    assert sidecar == SIDECAR
    assert warning.startswith(f"toolpolicy: annotation toolpolicy.dev/{annotation}: ")
    assert why in warning
    assert warning.isprintable()
    assert len(warning) < 256


@pytest.mark.parametrize("annotations", [{"memory-request": "512Mi"}, {"cpu-request": "2", "cpu-limit": "1"}])
def test_a_request_over_its_limit_would_refuse_the_pod(annotations: dict[str, str]) -> None:
    sidecar, (warning,) = override(SIDECAR, prefixed({**annotations, "log-level": "debug"}))
    assert sidecar == SIDECAR._replace(log_level="debug")
    assert "the sidecar would request more" in warning


def test_annotations_of_others_mean_nothing() -> None:
    assert override(SIDECAR, {"example.com/cpu-limit": "x", "log-level": "debug"}) == Overridden(SIDECAR)

"""OpenTelemetry's own variables, and what is said when one is wrong."""

import pytest

from toolpolicy_sidecar.telemetry.sampling import Sampler
from toolpolicy_sidecar.telemetry.settings import BadTelemetry, parse

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


def test_nothing_leaves_without_an_endpoint() -> None:
    found = parse({"OTEL_LOGS_EXPORTER": "otlp"})
    assert (found.traces, found.logs) == (None, None)
    found = parse(COLLECTOR | {"OTEL_SDK_DISABLED": "true", "OTEL_LOGS_EXPORTER": "otlp"})
    assert (found.traces, found.logs) == (None, None)


def test_traces_leave_by_default_and_logs_by_choice() -> None:
    found = parse(COLLECTOR)
    assert found.traces is not None
    assert found.traces.url == "http://collector:4318/v1/traces"
    assert found.logs is None
    found = parse(COLLECTOR | {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp"})
    assert found.traces is None
    assert found.logs is not None
    assert found.logs.url == "http://collector:4318/v1/logs"


def test_a_signals_own_variable_counts_first() -> None:
    environment = COLLECTOR | {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://other/spans",
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20abc, x-team = a%2Cb",
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=a-1,service.name=agent",
    }
    found = parse(environment)
    assert found.traces is not None
    assert found.traces.url == "https://other/spans"
    assert found.traces.headers == ((b"authorization", b"Bearer abc"), (b"x-team", b"a,b"))
    assert (found.traces.timeout_s, found.traces.gzip) == (2.5, True)
    assert (found.traces.queue, found.traces.batch) == (100, 100)
    assert found.resource == {"k8s.pod.name": "a-1", "service.name": "agent"}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "token"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_TRACES_EXPORTER", "jaeger"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
    ],
)
def test_what_is_wrong_is_named_and_its_value_not_leaked(variable: str, value: str) -> None:
    with pytest.raises(BadTelemetry) as wrong:
        parse(COLLECTOR | {variable: value})
    assert variable in str(wrong.value) or "endpoint" in str(wrong.value)
    if variable.endswith("HEADERS"):
        assert value not in str(wrong.value)


@pytest.mark.parametrize("argument", ["1.5", "-1", "half"])
def test_a_ratio_is_a_ratio(argument: str) -> None:
    with pytest.raises(BadTelemetry, match="OTEL_TRACES_SAMPLER_ARG"):
        parse({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": argument})


def test_the_callers_word_counts_before_the_ratio() -> None:
    sampler = parse(
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    ).sampler
    assert sampler.head(TRACE, parent=True)
    assert not sampler.head(TRACE, parent=None)
    assert not parse({"OTEL_TRACES_SAMPLER": "always_off"}).sampler.head(TRACE, parent=True)
    assert parse({}).sampler.head(TRACE, parent=None)
    assert not parse({}).sampler.head(TRACE, parent=False)


def test_a_larger_ratio_has_all_of_a_smaller_one() -> None:
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:032x}" for number in range(1, 2001)]
    kept = [{one for one in ids if Sampler(ratio).head(one, parent=None)} for ratio in (0.01, 0.1, 0.5, 1.0)]
    assert kept[0] < kept[1] < kept[2] < kept[3] == set(ids)
    assert 150 < len(kept[1]) < 250

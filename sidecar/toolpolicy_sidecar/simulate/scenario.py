"""SCENARIO.yaml: how often agents call, how fast tools answer, and what goes wrong when."""

from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from toolpolicy_api.check import Finding, schema_finding
from toolpolicy_api.duration import PATTERN, milliseconds

MOST_CALLS = 5_000_000
"""A quarter of an hour of computing: more is a mistake in `duration` or `callsPerSecond`."""

Duration = Annotated[str, Field(pattern=PATTERN, max_length=24)]
Percent = Annotated[float, Field(gt=0, le=100)]


class BadScenario(ValueError):  # noqa: N818 -- a verdict on input
    """One line for each thing that is wrong: file, field, remedy."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


class Model(BaseModel):
    """camelCase in the file, snake_case in code, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class Latency(Model):
    """Of an answer, if nothing goes wrong: always the same, or lognormal with this median and 99th percentile."""

    constant: Duration | None = None
    p50: Duration | None = None
    p99: Duration | None = None


class Errors(Model):
    """Answers with an HTTP status that says so, as fast as others."""

    percent: Percent
    status: Annotated[int, Field(ge=400, le=599)] = 503


class Hang(Model):
    """Takes the call and never answers."""

    percent: Percent


class Throttle(Model):
    """Answers 429 at once; without `retryAfter` it does not say for how long."""

    percent: Percent
    retry_after: Duration | None = None


class Load(Model):
    """One tool: how often it is called by all pods together, and how it is when it is well."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    calls_per_second: Annotated[float, Field(gt=0, le=10_000)]
    arrival: Literal["Poisson", "Constant"] = "Poisson"
    latency: Latency
    errors: Errors | None = None


class Phase(Model):
    """What goes wrong from `at`, for `for`. `outage`: connections are Refused, packets get lost (Unreachable), or
    connections break once the request was sent (Reset). The others may be combined."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    at: Duration
    lasts: Annotated[Duration, Field(alias="for")]
    tools: Annotated[list[str] | None, Field(min_length=1)] = None
    outage: Literal["Refused", "Unreachable", "Reset"] | None = None
    errors: Errors | None = None
    hang: Hang | None = None
    throttle: Throttle | None = None
    latency_factor: Annotated[float | None, Field(gt=0, le=10_000)] = None

    @property
    def start_s(self) -> float:
        return milliseconds(self.at) / 1000

    @property
    def end_s(self) -> float:
        return self.start_s + milliseconds(self.lasts) / 1000

    def hits(self, tool: str) -> bool:
        return self.tools is None or tool in self.tools


class Scenario(Model):
    duration: Duration
    seed: int = 1
    pods: Annotated[int, Field(ge=1, le=1000)] = 1
    tools: Annotated[list[Load], Field(min_length=1, max_length=100)]
    phases: Annotated[list[Phase], Field(max_length=100)] = []

    @property
    def duration_s(self) -> float:
        return milliseconds(self.duration) / 1000


def read(path: Path) -> Scenario:
    """Raises BadScenario."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadScenario([f"{path}: {error.strerror}"]) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadScenario([f"{path}: no YAML: {' '.join(str(error).split())}"]) from None
    try:
        return parse(document)
    except BadScenario as bad:
        raise BadScenario([f"{path}: {line}" for line in bad.lines]) from None


def parse(document: Any) -> Scenario:
    """Raises BadScenario with every finding."""
    try:
        scenario = Scenario.model_validate(document)
    except ValidationError as error:
        raise BadScenario([str(schema_finding(detail)) for detail in error.errors()]) from None
    findings = [*_whole(scenario), *_of_tools(scenario), *_of_phases(scenario)]
    if findings:
        raise BadScenario([str(finding) for finding in findings])
    return scenario


def _whole(scenario: Scenario) -> list[Finding]:
    if not scenario.duration_s:
        return [Finding("duration", "must be longer than zero")]
    calls = scenario.duration_s * sum(tool.calls_per_second for tool in scenario.tools)
    if calls > MOST_CALLS:
        text = (
            f"makes {calls:,.0f} calls, and {MOST_CALLS:,} are the most; shorten it or lower callsPerSecond"
        )
        return [Finding("duration", text)]
    return []


def _of_tools(scenario: Scenario) -> list[Finding]:
    findings = []
    seen: set[str] = set()
    for index, tool in enumerate(scenario.tools):
        where, latency = f"tools[{index}]", tool.latency
        if tool.name in seen:
            findings.append(Finding(f"{where}.name", f"{tool.name!r} appears twice; remove one"))
        seen.add(tool.name)
        given = (latency.constant is not None, latency.p50 is not None, latency.p99 is not None)
        if given not in {(True, False, False), (False, True, True)}:
            findings.append(Finding(f"{where}.latency", "set constant, or both p50 and p99"))
        elif latency.p50 is not None and latency.p99 is not None:
            p50_ms, p99_ms = milliseconds(latency.p50), milliseconds(latency.p99)
            if not 0 < p50_ms <= p99_ms:
                findings.append(
                    Finding(f"{where}.latency", "p50 must be longer than zero, and no longer than p99")
                )
    return findings


def _of_phases(scenario: Scenario) -> list[Finding]:
    findings = []
    tools = [tool.name for tool in scenario.tools]
    for index, phase in enumerate(scenario.phases):
        where = f"phases[{index}]"
        faults = {"outage", "errors", "hang", "throttle", "latency_factor"}
        if all(getattr(phase, fault) is None for fault in faults):
            text = "nothing goes wrong in it; set outage, errors, hang, throttle or latencyFactor"
            findings.append(Finding(where, text))
        if phase.start_s == phase.end_s:
            findings.append(Finding(f"{where}.for", "must be longer than zero"))
        elif phase.end_s > scenario.duration_s:
            text = f"it ends after the whole scenario does ({scenario.duration}); lengthen duration"
            findings.append(Finding(f"{where}.for", text))
        findings.extend(
            Finding(f"{where}.tools", f"{name!r} is none of tools: {', '.join(tools)}")
            for name in phase.tools or ()
            if name not in tools
        )
        retry_after = phase.throttle.retry_after if phase.throttle else None
        if retry_after is not None and milliseconds(retry_after) % 1000:
            text = f"{retry_after!r} is no number of whole seconds, and the header has no others"
            findings.append(Finding(f"{where}.throttle.retryAfter", text))
    for (_, one), (index, other) in combinations(enumerate(scenario.phases), 2):
        if one.name == other.name:
            findings.append(Finding(f"phases[{index}].name", f"{one.name!r} appears twice; rename one"))
        both = [name for name in tools if one.hits(name) and other.hits(name)]
        if both and one.start_s < other.end_s and other.start_s < one.end_s:
            text = f"overlaps with {one.name!r} for {both[0]}; put both faults into one phase, or move it"
            findings.append(Finding(f"phases[{index}]", text))
    return findings

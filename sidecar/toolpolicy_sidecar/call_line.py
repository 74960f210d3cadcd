"""The record of a call as it is published: a log line, and an OTLP log record, by a versioned schema.

docs/schemas/call.v1.json is made of this. Adding a field keeps the version; to take one away or to change what it means
makes a new one."""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from toolpolicy_api.json_lines import written
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord

SCHEMA = "call/v1"

Words = Annotated[tuple[str, ...], Meta(description="What Enforce would have done with a call that passed")]

_encode = msgspec.json.Encoder().encode
_SCHEMA = _encode({"schema": SCHEMA})[1:-1] + b","


class CallLine(CallRecord, frozen=True, kw_only=True, omit_defaults=True):
    """What a reader finds: the record, and what is the same in all records of a pod."""

    schema: Annotated[str, Meta(description="Of this record: " + SCHEMA)]
    service_account: Annotated[str | None, Meta(description="Of the agent's pod")] = None
    shadow: Words = ()  # type: ignore[assignment] # two kinds of words, which JSON does not tell apart


class CallLines:
    """Writes them."""

    def __init__(self, pod: Pod) -> None:
        account = {"service_account": pod.service_account} if pod.service_account else {}
        self._of_agent = _end(account)
        self._of_nobody = _end(({"agent": pod.agent} if pod.agent else {}) | account)

    def lines(self, records: Iterable[CallRecord], at_s: float) -> bytes:
        """CallLines, each behind what every line of the log begins with. `at_s`: Unix time."""
        begin = b'{"time":"%b","level":' % written(at_s)
        bad, good = b'"warning"', b'"info"'
        return b"".join(
            [
                b'%b%b,"event":"call",%b%b%b'
                % (
                    begin,
                    bad if record.outcome in FAILED else good,
                    _SCHEMA,
                    _encode(record)[1:-1],
                    self._of_agent if record.agent else self._of_nobody,
                )
                for record in records
            ]
        )


def fields(record: CallRecord, pod: Pod) -> dict[str, Any]:
    """The same as plain values."""
    found: dict[str, Any] = {"schema": SCHEMA} | msgspec.to_builtins(record)
    if pod.agent:
        found.setdefault("agent", pod.agent)
    if pod.service_account:
        found["service_account"] = pod.service_account
    return found


def _end(values: dict[str, str]) -> bytes:
    """Of a line of JSON that has had members before these."""
    return (b"," + _encode(values)[1:] if values else b"}") + b"\n"

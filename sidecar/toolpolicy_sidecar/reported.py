"""Records that another process has made by the policies of this one: a shim tells its sidecar of its calls, so that
they are in the same metrics, log lines and status."""

from collections.abc import Iterable

import msgspec

from toolpolicy_api.channel import ToolKey
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.reasons import Reason, Would
from toolpolicy_sidecar.record import CallRecord, Recorder, RefusedRequest
from toolpolicy_sidecar.runtime import Runtime

RECORDS_AT_ONCE = 200
REPORT_BYTES = 1024 * 1024


class _Call(CallRecord, frozen=True, kw_only=True):
    """Two kinds of words in one field cannot be told apart on the wire by their types."""

    shadow: tuple[str, ...] = ()  # type: ignore[assignment] # see above


class Report(msgspec.Struct, frozen=True, kw_only=True):
    calls: tuple[_Call, ...] = ()
    refused: tuple[RefusedRequest, ...] = ()


_report = msgspec.json.Decoder(Report)


def encode(records: Iterable[CallRecord | RefusedRequest]) -> bytes:
    kinds: dict[str, list[CallRecord | RefusedRequest]] = {"calls": [], "refused": []}
    for record in records:
        kinds["calls" if isinstance(record, CallRecord) else "refused"].append(record)
    return msgspec.json.encode(kinds)


def decode(data: bytes) -> Report:
    """Raises msgspec.DecodeError (a ValueError)."""
    return _report.decode(data)


def take(report: Report, runtime: Runtime, recorder: Recorder, clock: Clock) -> int:
    """How many calls were taken: those of tools that no policy here has are not, since names become labels."""
    taken = 0
    for told in report.calls:
        circuit = runtime.circuits.get(ToolKey(told.policy, told.server, told.tool))
        if circuit is None:
            continue
        taken += 1
        fields = msgspec.structs.asdict(told)
        # What others say of themselves becomes no exemplar.
        ours = {"shadow": tuple(_word(word) for word in told.shadow), "traced": False}
        record = CallRecord(**fields | ours)
        circuit.count(clock.monotonic(), record.outcome, record.duration_ms if record.attempts else None)
        recorder.call(record)
    for refused in report.refused:
        recorder.refused(refused)
    return taken


def _word(text: str) -> Reason | Would:
    return Would(text) if text in Would.__members__ else Reason(text)

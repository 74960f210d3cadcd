"""Records of calls as OpenTelemetry log records. The only module that loads the SDK for logs."""

from collections.abc import Mapping, Sequence

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from toolpolicy_sidecar.call_line import fields
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord

EVENT = "toolpolicy.call"


class LogCodec:
    def __init__(self, resource: Mapping[str, str], version: str, pod: Pod) -> None:
        self._resource = Resource({"service.version": version, **resource})
        self._scope = InstrumentationScope("toolpolicy", version)
        self._pod = pod

    def encode(self, items: Sequence[CallRecord]) -> bytes:
        data: bytes = encode_logs([self._record(item) for item in items]).SerializeToString()
        return data

    def _record(self, item: CallRecord) -> ReadableLogRecord:
        bad = item.outcome in FAILED
        ended_ns = item.started_at_ms * 1_000_000 + round(item.duration_ms * 1_000_000)
        record = LogRecord(
            timestamp=ended_ns,
            observed_timestamp=ended_ns,
            severity_number=SeverityNumber.WARN if bad else SeverityNumber.INFO,
            severity_text="WARN" if bad else "INFO",
            body="call",
            attributes=fields(item, self._pod),
            event_name=EVENT,
        )
        if item.trace_id is not None:
            record.trace_id = int(item.trace_id, 16)
        return ReadableLogRecord(record, self._resource, self._scope)

    def rejected(self, answer: bytes) -> int:
        response = ExportLogsServiceResponse()
        try:
            response.ParseFromString(answer)
        except ValueError:  # as for spans
            return 0
        return int(response.partial_success.rejected_log_records)

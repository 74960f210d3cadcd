"""Everything that leaves by OTLP, put together from the settings. Loads OpenTelemetry only where something leaves."""

from typing import Any

from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord, Recorder
from toolpolicy_sidecar.recorders import CallsOnly
from toolpolicy_sidecar.telemetry.settings import Destination, Signal, Telemetry
from toolpolicy_sidecar.telemetry.shipper import Codec, Shipper
from toolpolicy_sidecar.telemetry.tracer import Finished, Tracer


class Exports:
    """`tracer` None: no traces leave. `recorders` are to be told of every call."""

    def __init__(
        self,
        telemetry: Telemetry,
        clock: Clock,
        *,
        pod: Pod,
        trace_id_header: str | None = None,
        redacted_content: bool = False,
    ) -> None:
        """Raises OSError for certificates that are not there."""
        self._telemetry, self._clock, self._pod = telemetry, clock, pod
        self.shippers: dict[Signal, Shipper[Any]] = {}
        self.tracer: Tracer | None = None
        self.recorders: list[Recorder] = []
        if telemetry.traces is not None:
            self._trace(telemetry.traces, trace_id_header, redacted_content=redacted_content)
        if telemetry.logs is not None:
            self._log(telemetry.logs)

    def start(self) -> None:
        for shipper in self.shippers.values():
            shipper.start()

    async def close(self, within_s: float) -> None:
        for shipper in self.shippers.values():
            await shipper.close(within_s)

    def _trace(self, to: Destination, trace_id_header: str | None, *, redacted_content: bool) -> None:
        def codec() -> Codec[Finished]:
            from toolpolicy_sidecar.telemetry.spans import SpanCodec  # noqa: PLC0415 -- 4 MB, only where needed

            return SpanCodec(self._telemetry.resource, _version())

        shipper: Shipper[Finished] = Shipper(to, codec, self._clock)
        self.tracer = Tracer(
            self._telemetry.sampler,
            shipper.outbox,
            trace_id_header=trace_id_header,
            redacted_content=redacted_content,
        )
        self.shippers["traces"] = shipper

    def _log(self, to: Destination) -> None:
        def codec() -> Codec[CallRecord]:
            from toolpolicy_sidecar.telemetry.logs import LogCodec  # noqa: PLC0415 -- the same

            return LogCodec(self._telemetry.resource, _version(), self._pod)

        shipper: Shipper[CallRecord] = Shipper(to, codec, self._clock)

        def put(record: CallRecord) -> None:
            shipper.outbox.put(record, 1, urgent=record.outcome in FAILED)

        self.recorders.append(CallsOnly(put))
        self.shippers["logs"] = shipper


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 -- slow to load, and wanted by nobody else

    return version("toolpolicy")

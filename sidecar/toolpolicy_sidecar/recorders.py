"""Every record goes to all who keep one: log, metrics, the control channel."""

import logging
from collections import Counter
from collections.abc import Callable

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.record import CallRecord, EgressRecord, Recorder, RedactedMessage, RefusedRequest

log = logging.getLogger("toolpolicy")


class Recorders:
    """Filled once at start; asked from the hot path. `recorded` counts the calls of which all have the record, `lost`
    those of which one has not: its name is the key."""

    def __init__(self) -> None:
        self.all: list[Recorder] = []
        self.of_transitions: list[Callable[[Transition], None]] = []
        """Of those who want nothing else."""
        self.recorded = 0
        self.lost: Counter[str] = Counter()

    def call(self, record: CallRecord) -> None:
        """One that fails takes the record from nobody else, and the answer from no agent."""
        remaining, complete = iter(self.all), True
        while True:
            recorder: Recorder | None = None
            try:
                for recorder in remaining:
                    recorder.call(record)
                break
            except Exception:
                complete, name = False, type(recorder).__name__
                self.lost[name] += 1
                if self.lost[name] == 1:
                    log.exception("a call could not be recorded", extra={"recorder": name})
        self.recorded += complete

    def refused(self, record: RefusedRequest) -> None:
        for recorder in self.all:
            recorder.refused(record)

    def redacted(self, record: RedactedMessage) -> None:
        for recorder in self.all:
            recorder.redacted(record)

    def egress(self, record: EgressRecord) -> None:
        for recorder in self.all:
            recorder.egress(record)

    def transition(self, transition: Transition) -> None:
        for recorder in self.all:
            recorder.transition(transition)
        for tell in self.of_transitions:
            tell(transition)


class CallsOnly:
    """For one who wants nothing but calls, and perhaps what was redacted beside them."""

    def __init__(
        self,
        tell: Callable[[CallRecord], None],
        redacted: Callable[[RedactedMessage], None] | None = None,
    ) -> None:
        self.call = tell
        self._redacted = redacted

    def refused(self, record: RefusedRequest) -> None:
        """Not wanted."""

    def redacted(self, record: RedactedMessage) -> None:
        if self._redacted is not None:
            self._redacted(record)

    def egress(self, record: EgressRecord) -> None:
        """Not wanted."""

    def transition(self, transition: Transition) -> None:
        """Not wanted."""

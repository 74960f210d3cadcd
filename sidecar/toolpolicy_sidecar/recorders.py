"""Every record goes to all who keep one: log, metrics, the control channel."""

from collections.abc import Callable

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.record import CallRecord, EgressRecord, Recorder, RefusedRequest


class Recorders:
    """Filled once at start; asked from the hot path."""

    def __init__(self) -> None:
        self.all: list[Recorder] = []

    def call(self, record: CallRecord) -> None:
        for recorder in self.all:
            recorder.call(record)

    def refused(self, record: RefusedRequest) -> None:
        for recorder in self.all:
            recorder.refused(record)

    def egress(self, record: EgressRecord) -> None:
        for recorder in self.all:
            recorder.egress(record)

    def transition(self, transition: Transition) -> None:
        for recorder in self.all:
            recorder.transition(transition)


class TransitionsOnly:
    """For one who wants nothing but transitions."""

    def __init__(self, tell: Callable[[Transition], None]) -> None:
        self._tell = tell

    def call(self, record: CallRecord) -> None:
        """Not wanted."""

    def refused(self, record: RefusedRequest) -> None:
        """Not wanted."""

    def egress(self, record: EgressRecord) -> None:
        """Not wanted."""

    def transition(self, transition: Transition) -> None:
        self._tell(transition)

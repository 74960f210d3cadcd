"""What redaction has found over the last five minutes, for the status: by policy, direction and detector."""

from collections import Counter, deque
from collections.abc import Mapping

from toolpolicy_api import channel
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.record import CallRecord, RedactedMessage

SLOTS = 5
SLOT_S = 60.0
MOST = 200
"""Kinds of findings that are told; those with the highest counts."""

_Kind = tuple[str, channel.Direction, str]


class Findings:
    """Names of policies, detectors and patterns, never a value. A call in mode Shadow counts as Enforce would have."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: deque[tuple[int, Counter[_Kind]]] = deque(maxlen=SLOTS)

    def call(self, record: CallRecord) -> None:
        for direction, hits in _hits(record):
            self._add(record.policy, direction, hits)

    def message(self, message: RedactedMessage) -> None:
        """It belongs to no call."""
        self._add(message.policy, "Response", message.hits)

    def told(self) -> tuple[channel.Finding, ...]:
        oldest = self._slot() - SLOTS
        found: Counter[_Kind] = Counter()
        for slot, counts in self._slots:
            if slot > oldest:
                found.update(counts)
        return tuple(channel.Finding(*kind, count) for kind, count in found.most_common(MOST))

    def _add(self, policy: str, direction: channel.Direction, hits: Mapping[str, int]) -> None:
        slot = self._slot()
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, Counter()))
        counts = self._slots[-1][1]
        for detector, count in hits.items():
            counts[policy, direction, detector] += count

    def _slot(self) -> int:
        return int(self._clock.monotonic() // SLOT_S)


def _hits(record: CallRecord) -> list[tuple[channel.Direction, Mapping[str, int]]]:
    found: list[tuple[channel.Direction, Mapping[str, int]]] = [
        ("Request", record.redacted_request),
        ("Response", record.redacted_response),
        ("Request", record.shadow_redacted_request),
        ("Response", record.shadow_redacted_response),
    ]
    return [(direction, hits) for direction, hits in found if hits]

"""What redaction has found over the last five minutes, for the status: by policy, direction and detector."""

from collections import Counter, deque
from collections.abc import Mapping
from typing import NamedTuple

from toolpolicy_api import channel
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.preview import Previewed
from toolpolicy_sidecar.record import CallRecord, RedactedMessage

SLOTS = 5
SLOT_S = 60.0
MOST = 200
"""Kinds of findings that are told; those with the highest counts."""

_Kind = tuple[str, channel.Direction, str]


class Told(NamedTuple):
    """As heartbeats say it."""

    redacted: tuple[channel.Finding, ...] = ()
    would_find: tuple[channel.Finding, ...] = ()


class Findings:
    """Names of policies, detectors and patterns, never a value. A call in mode Shadow counts as Enforce would have."""

    def __init__(self, clock: Clock) -> None:
        self._redacted, self._would_find = _Window(clock), _Window(clock)

    def call(self, record: CallRecord) -> None:
        add, policy = self._redacted.add, record.policy
        add(policy, "Request", record.redacted_request)
        add(policy, "Response", record.redacted_response)
        add(policy, "Request", record.shadow_redacted_request)
        add(policy, "Response", record.shadow_redacted_response)

    def message(self, message: RedactedMessage) -> None:
        """It belongs to no call."""
        self._redacted.add(message.policy, "Response", message.hits)

    def previewed(self, previewed: Previewed) -> None:
        for direction, hits in previewed.found.items():
            self._would_find.add(previewed.policy, direction, hits)

    def told(self) -> Told:
        return Told(self._redacted.told(), self._would_find.told())


class _Window:
    """Five slots of a minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: deque[tuple[int, Counter[_Kind]]] = deque(maxlen=SLOTS)

    def add(self, policy: str, direction: channel.Direction, hits: Mapping[str, int]) -> None:
        if not hits:
            return
        slot = self._slot()
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, Counter()))
        counts = self._slots[-1][1]
        for detector, count in hits.items():
            counts[policy, direction, detector] += count

    def told(self) -> tuple[channel.Finding, ...]:
        oldest = self._slot() - SLOTS
        found: Counter[_Kind] = Counter()
        for slot, counts in self._slots:
            if slot > oldest:
                found.update(counts)
        return tuple(channel.Finding(*kind, count) for kind, count in found.most_common(MOST))

    def _slot(self) -> int:
        return int(self._clock.monotonic() // SLOT_S)

"""A policy's stricter redaction, which is only tried, on a share of calls."""

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor


class Preview:
    def __init__(self, preview: snapshot.Preview) -> None:
        """Raises InvalidPattern."""
        self._share = preview.percent / 100
        self.redactor = Redactor.compile(
            snapshot.Redaction(detectors=preview.detectors, min_confidence=preview.min_confidence)
        )

    def takes(self, fraction: float) -> bool:
        """`fraction`: random, from 0 to below 1."""
        return fraction < self._share

"""Which traces are kept. Pure.

The head decides before anything is known, so that all parts of a trace decide alike: the caller's word if there is one,
else the trace id. The tail decides when the call is over: whatever failed is kept all the same."""

from typing import NamedTuple

from toolpolicy_sidecar.reasons import FAILED, CallOutcome

_ALL = 2.0**64
"""Of the ids that the lower half of a trace id can be."""


class Sampler(NamedTuple):
    """`ratio` of the traces that begin here, 0 to 1. `follows`: a caller's flag counts before it.

    The ids below a bound are sampled, as by OpenTelemetry's TraceIdRatioBased: of two ratios the larger one has
    all traces of the smaller one."""

    ratio: float = 1.0
    follows: bool = True

    def head(self, trace_id: str, parent: bool | None) -> bool:  # noqa: FBT001 -- a flag on the wire
        """`parent`: the caller's flag, None for no caller."""
        if parent is not None and self.follows:
            return parent
        return int(trace_id[16:], 16) < self.below

    @property
    def below(self) -> int:
        """The lower halves of the trace ids that are sampled, as numbers."""
        return int(self.ratio * _ALL)


def kept(outcome: CallOutcome, *, sampled: bool, for_another: bool) -> bool:
    """What the head of its trace says, what failed, and what was done for one that failed (`for_another`)."""
    return sampled or for_another or outcome in FAILED

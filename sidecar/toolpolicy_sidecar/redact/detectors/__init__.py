"""Everything that can be looked for, by name; and what the names of a policy stand for."""

from collections.abc import Iterable
from itertools import chain

from toolpolicy_sidecar.redact.detectors.detector import CONFIDENCES, Confidence, Detector
from toolpolicy_sidecar.redact.detectors.identity_america import AMERICA
from toolpolicy_sidecar.redact.detectors.identity_asia import ASIA
from toolpolicy_sidecar.redact.detectors.identity_europe import EUROPE
from toolpolicy_sidecar.redact.detectors.money import MONEY
from toolpolicy_sidecar.redact.detectors.named import NAMED
from toolpolicy_sidecar.redact.detectors.network import NETWORK
from toolpolicy_sidecar.redact.detectors.people import PEOPLE
from toolpolicy_sidecar.redact.detectors.secrets import SECRETS
from toolpolicy_sidecar.redact.detectors.shapes import SHAPES
from toolpolicy_sidecar.redact.detectors.shapes_listed import SHAPES_LISTED
from toolpolicy_sidecar.redact.detectors.statements import STATEMENTS
from toolpolicy_sidecar.redact.detectors.tokens import CLOUDS, CODE, MODELS, SERVICES
from toolpolicy_sidecar.redact.detectors.tokens_listed import LISTED

__all__ = ["DETECTORS", "chosen"]

DETECTORS = {
    detector.name: detector
    for detector in chain(
        PEOPLE,
        NETWORK,
        MONEY,
        AMERICA,
        EUROPE,
        ASIA,
        CLOUDS,
        CODE,
        MODELS,
        SERVICES,
        LISTED,
        SHAPES,
        SHAPES_LISTED,
        SECRETS,
        NAMED,
        STATEMENTS,
    )
}


def chosen(names: Iterable[str], floor: Confidence) -> tuple[Detector, ...]:
    """The detectors that a policy's names stand for, each once. A name is a detector's own or a group's. Raises
    LookupError with the name that is neither.

    Groups are opened here, in the sidecar, and not in the snapshot: a new detector changes no policy's hash, and
    comes with the sidecar that has it.
    """
    found: dict[str, Detector] = {}
    for name in names:
        members = [d for d in DETECTORS.values() if name == d.name or name in d.groups]
        if not members:
            raise LookupError(name)
        found |= {d.name: d for d in members if CONFIDENCES.index(d.confidence) >= CONFIDENCES.index(floor)}
    return tuple(found.values())

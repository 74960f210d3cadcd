"""What is looked for, in one form for the patterns of a policy and for detectors."""

import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.expression import Candidates, Expression, compiled
from toolpolicy_sidecar.redact.placeholder import mask
from toolpolicy_sidecar.redact.verdict import InvalidPattern

if TYPE_CHECKING:
    from toolpolicy_sidecar.redact.detectors.detector import Detector, Every, Validator


class Rule(NamedTuple):
    """`anchored`: whether it hits may depend on where the text begins and ends; `asks_beside`: on the characters
    beside a match. `sign` stands in every hit. `replacement` None: a placeholder that tells values apart."""

    name: str
    sign: str
    expression: Callable[[], Expression]
    replacement: bytes | None
    anchored: bool = False
    asks_beside: bool = True
    validator: "Validator | None" = None
    keyed: bool = False
    every: "Every | None" = None


def of_pattern(pattern: snapshot.Pattern) -> Rule:
    """Raises InvalidPattern."""
    expression = compiled(pattern.name, pattern.regex)
    replacement = None if pattern.replace is None else pattern.replace.encode()
    regex = pattern.regex
    asks_beside = re.search(r"\\[bB]", regex) is not None
    return Rule(pattern.name, regex, lambda: expression, replacement, is_anchored(regex), asks_beside)


def chosen_detectors(redaction: snapshot.Redaction) -> "tuple[tuple[Detector, ...], Iterable[str]]":
    """Those that are asked for, and the names of all. Raises InvalidPattern."""
    from toolpolicy_sidecar.redact.detectors import (  # noqa: PLC0415 -- the table costs time and memory
        DETECTORS,
        chosen,
    )

    try:
        return chosen(redaction.detectors, redaction.min_confidence), DETECTORS
    except LookupError as error:
        raise InvalidPattern(error.args[0], "this sidecar has no such detector") from None


def of_detector(detector: "Detector", action: snapshot.Action) -> Rule:
    return Rule(
        detector.name,
        detector.trigger,
        partial(_expression, detector.expression, detector.value, detector.near),
        {"Hash": None, "Tokenize": None, "Drop": b""}.get(action, mask(detector.name)),
        validator=detector.validator,
        keyed=detector.keyed,
        every=detector.every,
    )


@cache
def _expression(
    expression: str, value: re.Pattern[bytes] | None, near: re.Pattern[bytes] | None
) -> Expression:
    """A detector's, compiled when its trigger is first met: most never are."""
    return Candidates(expression, value, near)


def is_anchored(expression: str) -> bool:
    r"""Whether an RE2 expression may ask where its text begins or ends. Errs on the side of yes: `\Q…\E`
    can hide anything, and `^` counts even inside of a class, unless it opens it."""
    if re.search(r"\\[AzZQ]", expression):
        return True
    return re.search(r"[$^]", re.sub(r"\\.", "", expression, flags=re.DOTALL).replace("[^", "[")) is not None

"""RE2, as it is used everywhere here."""

import re2

from toolpolicy_sidecar.redact.verdict import InvalidPattern


def options(*, captures: bool = False) -> re2.Options:
    found = re2.Options()
    found.log_errors = False
    found.never_capture = not captures  # only where a match begins and ends: the fast engines suffice
    return found


def compiled(name: str, expression: str) -> re2._Regexp:
    """A policy's own. Raises InvalidPattern, with this name."""
    try:
        return re2.compile(expression, options())
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        raise InvalidPattern(
            name, detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        ) from None

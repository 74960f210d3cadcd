"""RE2, as it is used everywhere here."""

import re2

from toolpolicy_sidecar.redact.verdict import InvalidPattern

_ANYWHERE = re2._Anchor.UNANCHORED  # noqa: SLF001 -- see `occurs`


def options(*, captures: bool = False) -> re2.Options:
    found = re2.Options()
    found.log_errors = False
    found.never_capture = not captures  # only where a match begins and ends: the fast engines suffice
    return found


def occurs(expression: re2._Regexp, text: bytes) -> bool:
    """As `search`, for who wants to know no more: most of what is asked of small texts."""
    spans = expression._regexp.Match(_ANYWHERE, text, 0, len(text))  # noqa: SLF001 -- a match object costs more than the search
    return bool(spans[0][0] >= 0)


def compiled(name: str, expression: str) -> re2._Regexp:
    """A policy's own. Raises InvalidPattern, with this name."""
    try:
        return re2.compile(expression, options())
    except re2.error as error:
        detail = error.args[0] if error.args else ""
        raise InvalidPattern(
            name, detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        ) from None

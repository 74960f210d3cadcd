"""RE2, as it is used everywhere here."""

import re2

from toolpolicy_sidecar.redact.verdict import InvalidPattern

AUTOMATON_BYTES = 32 * 1024 * 1024
"""What RE2 may keep of the automaton of all triggers together. It reckons with far more than it takes: with its 8 MiB
it begins anew again and again, with these the process grows by one."""


def options(*, captures: bool = False, most_bytes: int | None = None) -> re2.Options:
    """`most_bytes`: what an expression may take, for its automaton too; None: RE2's own limit."""
    found = re2.Options()
    if most_bytes is not None:
        found.max_mem = most_bytes
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

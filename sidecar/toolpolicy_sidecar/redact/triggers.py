"""One search for all that is looked for: is any of it there, and which?"""

from collections.abc import Iterable
from functools import cache

import re2

from toolpolicy_sidecar.redact.document import LONG_EXPONENT
from toolpolicy_sidecar.redact.expression import AUTOMATON_BYTES, Expression, options


def union(expressions: Iterable[str]) -> Expression | None:
    """What stands in everything that any rule hits, and what must be written out to see whether one does. None
    when it would be too large: then every text may hit."""
    try:
        return Expression(
            "|".join(f"(?:{expression})" for expression in [*expressions, LONG_EXPONENT]),
            most_bytes=AUTOMATON_BYTES,
        )
    except re2.error:
        return None


@cache
def signs(triggers: tuple[str, ...]) -> re2.Set | None:
    """Finds which of the triggers stand in a text, in one go. None: there are none."""
    if not triggers:
        return None
    found = re2.Set.SearchSet(options(most_bytes=AUTOMATON_BYTES))
    for trigger in triggers:
        found.Add(trigger)
    found.Compile()
    return found

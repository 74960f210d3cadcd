"""The lines of a server-sent event beside its data: its name, what tells where to resume, comments."""

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.redact.verdict import Redacted, Unparsable

if TYPE_CHECKING:
    from toolpolicy_sidecar.redact.redactor import Redactor

_KNOWN = frozenset({b"id", b"event", b"retry"})
_END = re.compile(rb"[\r\n\0]")
"""A pattern's replacement may hold them; in a line they would begin another one."""
_NO_HITS: Mapping[str, int] = {}


def beside(redactor: "Redactor", event: sse.Event, raw: bytes) -> Redacted[bytes]:
    """`raw`: the event, perhaps with other data by now. An id is opaque, and changed by a byte it is worthless: it
    is touched only where something in it is hit. Raises Unscannable, Blocked."""
    if not event.beside or redactor.unremarkable(event.beside):
        return Redacted(raw, _NO_HITS)
    hits = Counter[str]()

    def left(line: bytes) -> bytes:
        name, colon, value = line.partition(b":")
        before = name + colon if name in _KNOWN else b""
        try:
            found = redactor.text((value if before else line).decode())
        except UnicodeDecodeError:
            raise Unparsable("a line of an event that is not UTF-8") from None
        if not found.hits:
            return line
        hits.update(found.hits)
        return before + _END.sub(b" ", found.value.encode())

    return Redacted(sse.rewritten(raw, left), hits)

"""Which strings and numbers of a document have to be looked at: all others are passed over at the speed of a search."""

from collections.abc import Iterator
from typing import NamedTuple

from toolpolicy_sidecar.redact import document, full
from toolpolicy_sidecar.redact.document import Tokens
from toolpolicy_sidecar.redact.names import Named, named_by
from toolpolicy_sidecar.redact.pieces import part
from toolpolicy_sidecar.redact.scanner import DISGUISED, NOWHERE, Scanner

MANY = 64
"""After so many suspects it is asked whether the document is full of them."""

_AT_ONCE = 16 * MANY
"""Work on more of them at once would hold up every other thread."""


class Found(NamedTuple):
    """What `start:end` of a document or text stands for. `key`: the name under which it stands. `plain`: it reads in no
    other way."""

    start: int
    end: int
    text: bytes
    key: bytes = b""
    plain: bool = False
    number: bool = False


def suspects(
    scanner: Scanner, data: bytes, tokens: Tokens, at: int, *, full_from: int
) -> Iterator[tuple[list[Found], int]]:
    """Strings and numbers of a document, from `at` on, in which something may be hit, some and some more; each time to
    where there are no others. The last time that is the end, or where it shows, from `full_from` on, that the document
    is full of them."""
    patience = scanner.patience(len(data))
    found: list[Found] = []
    begun, end, disguise = at, 0, -1
    begin, suspect = NOWHERE[0], scanner.suspects_in(data)
    named: dict[int, Named] = {}
    while True:
        if end <= at:
            patience.spend()
            begin, end = suspect(at)
        if disguise < at:
            disguise = _disguised(data, at)
        place = min(max(begin, at), disguise, *named)
        reached = tokens.reaching(place) if place < len(data) else None
        if reached is None:
            yield found, len(data)
            return
        start, at = reached
        key = b""
        if named:
            key, named = _under(named, start, at, data)
        if disguise < start:
            disguise = _disguised(data, start)
        if data[start] == document.QUOTE:
            plain = at <= disguise
            text = part(data, start + 1, at - 1) if plain else document.string_value(part(data, start, at))
            found.append(Found(start, at, text, key, plain))
            if scanner.keyed:
                following = named_by(data, text, at, scanner.tells)
                if following:
                    named.setdefault(following.at, following)
        else:
            found.append(Found(start, at, data[start:at], key, plain=True, number=True))
        if at >= full_from and not named and len(found) % MANY == 0:
            if at - begun < MANY * full.GAP_BYTES:
                yield found, at
                return
            begun = at
        if len(found) >= _AT_ONCE:
            yield found, at
            found = []


def _under(named: dict[int, Named], start: int, end: int, data: bytes) -> tuple[bytes, dict[int, Named]]:
    """The name of what stands there, and of what comes behind it."""
    left = {place: each for place, each in named.items() if place >= end}
    by = named.get(start)
    if by is None:
        return b"", left
    following = by.next(data, end)
    if following:
        left.setdefault(following.at, following)
    return by.name, left


def _disguised(data: bytes, start: int) -> int:
    """Where something begins that reads otherwise when it is decoded."""
    return (DISGUISED.first(data, start) or NOWHERE)[0]

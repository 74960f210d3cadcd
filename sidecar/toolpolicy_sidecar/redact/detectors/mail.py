"""Is it an address of mail, or something else with an at sign?"""

import re
from collections.abc import Iterable, Iterator

from toolpolicy_sidecar.redact.expression import Bounds, Expression

_FILE_SUFFIXES = frozenset(
    b"avif bmp cjs css gif gz html ico jar jpeg jpg js json jsx lock mjs pdf png svg tgz tiff toml ts tsx ttf txt webp"
    b" whl woff xml xz yaml yml".split()
)
"""None is the end of a domain."""
_USER = re.compile(rb"://[^\s/:@\"'?#\xff]{0,100}:\Z")
_REPOSITORY = re.compile(rb"[:/][\w~.]")
_NO_DOMAIN = re.compile(rb"@(?:odata\.|[0-9]+\.[0-9]+\.)")
"""An annotation of OData, `members@odata.type`, or a version, `react@19.0.0-rc.canary`."""
_OTHER_THAN_MAIL = Expression(r"git@|://|@odata\.|@[0-9]+\.[0-9]")
"""RE2: where there is none of this, all is of mail."""


def email(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the name of a file for high-resolution screens, `logo@2x.png`, not what stands in an address of the web."""
    if text[start:end].rpartition(b".")[2].lower() not in _FILE_SUFFIXES and _is_of_mail(text, start, end):
        yield start, end


def _is_of_mail(text: bytes, start: int, end: int) -> bool:
    """Rather than a login to a host: the password in `https://user:password@host`, or the user that all have in common
    in `git@host:path`."""
    if text.startswith(b"git@", start) and _REPOSITORY.match(text, end):
        return False
    if text[start - 1 : start] == b":" and _USER.search(text, max(0, start - 128), start):
        return False
    return _NO_DOMAIN.match(text, text.find(b"@", start)) is None


_WORD_OR_EMAIL = re.compile(
    rb"[A-Za-z0-9_][A-Za-z0-9._%+'-]*+(?:@(?:[A-Za-z0-9][A-Za-z0-9-]*+\.)+(xn--[A-Za-z0-9-]+|[A-Za-z]{2,}))?"
)
"""Of each word no more than one beginning is tried, which is what makes it linear."""


def every_email(text: bytes, candidate: Expression) -> Iterable[Bounds]:
    if candidate.first(text) is None:
        return ()
    found = (
        word.span()
        for word in _WORD_OR_EMAIL.finditer(text)
        if word[1] is not None and word[1].lower() not in _FILE_SUFFIXES
    )
    if _OTHER_THAN_MAIL.first(text) is None:
        return found
    return (bounds for bounds in found if _is_of_mail(text, *bounds))

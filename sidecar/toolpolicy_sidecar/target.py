"""One canonical path for the policy and for the tool's server; what can be read in two ways is refused."""

import re
from typing import NamedTuple

from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason

# Segments of unreserved characters and the delimiters that mean nothing in a path, none of them dots only.
_CANONICAL = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9\-._~!$&'()*+,=:@]+)*/?")
_AMBIGUOUS = (
    (re.compile(r"[^!-~]"), "has characters that must be percent-encoded"),
    (re.compile(r"[\\#<>\"^`{|}\[\]]"), "has characters that must be percent-encoded"),
    (re.compile(r"%(?![0-9A-Fa-f]{2})"), "has a % that begins no encoded byte"),
    (re.compile(r"%(?:2[fF]|5[cC]|00)"), "has an encoded slash, backslash or NUL"),
    (re.compile(r";"), "has a ; which some servers cut off: write it as %3B"),
    (re.compile(r"//"), "has an empty segment"),
)
_DOTS = re.compile(r"/\.{1,2}(?:/|$)")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Target(NamedTuple):
    """`path` begins with a slash; `query` None: there is no `?`."""

    path: str
    query: str | None


def read(raw: str) -> Target | Problem:
    """From a request line. Needlessly encoded bytes are decoded, the others written in upper case (RFC 3986, 6.2.2)."""
    path, mark, query = raw.partition("?")
    if not path.startswith("/"):
        text = "the request target must be a path, such as /<server>/…; this listener is no forward proxy"
        return Problem(Reason.MalformedRequest, text)
    if not query.isascii() or "#" in query:
        return Problem(Reason.MalformedRequest, "the query has characters that must be percent-encoded")
    found = canonical(path)
    if isinstance(found, Problem):
        return found
    return Target(found, query if mark else None)


def canonical(path: str) -> str | Problem:
    if _CANONICAL.fullmatch(path):
        return path
    for pattern, what in _AMBIGUOUS:
        if pattern.search(path):
            return Problem(Reason.MalformedRequest, f"the path {what}")
    path = _ENCODED.sub(_normal, path)
    if _DOTS.search(path):
        return Problem(Reason.MalformedRequest, "the path has a dot segment")
    return path


def _normal(match: re.Match[str]) -> str:
    byte = int(match[1], 16)
    return chr(byte) if byte in _UNRESERVED else match[0].upper()

"""The head of a request, read: what every request with these header lines has in common."""

import re

import msgspec
from msgspec.structs import replace

from toolpolicy_sidecar.call import NOTED, TRACEPARENT
from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.headers import Header

_HOST = re.compile(rb"[A-Za-z0-9.\-_]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_NONE: frozenset[bytes] = frozenset()


class Head(msgspec.Struct, frozen=True):
    """`headers`: without Content-Length, which is `length` (0 for no body, None for chunks of unknown number).
    `noted` and `repeated` as in Incoming. `old`: the agent speaks HTTP/1.0, or less. `problem`: why the request must
    not be answered otherwise. `framed`: it says how long its body is. `upgrades`: to a WebSocket; any other upgrade may
    be ignored (RFC 9110, 7.8)."""

    headers: tuple[Header, ...]
    noted: dict[bytes, bytes]
    repeated: frozenset[bytes]
    length: int | None
    framed: bool
    upgrades: bool
    old: bool
    keep_alive: bool
    problem: Problem | None

    def traced(self, traceparent: bytes, place: int) -> "Head":
        """The same with a traceparent at this place among its headers. It has none yet."""
        headers = (*self.headers[:place], (TRACEPARENT, traceparent), *self.headers[place:])
        return replace(self, headers=headers, noted={**self.noted, TRACEPARENT: traceparent})

    @property
    def usual(self) -> bool:
        """Nothing in it changes how the connection goes on."""
        noted = self.noted
        return (
            self.keep_alive
            and not self.old
            and self.problem is None
            and self.length is not None
            and b"expect" not in noted
            and b"upgrade" not in noted
        )


def read(headers: list[Header], version: str, *, keep_alive: bool) -> Head:
    """`headers` as the parser read them."""
    length: int | None = 0
    framed = chunked = False
    noted: dict[bytes, bytes] = {}
    repeated = _NONE
    kept: list[Header] = []
    for header in headers:
        lower = header[0].lower()
        if lower == b"content-length":
            length, framed = int(header[1]), True
            continue
        kept.append(header)
        if lower in NOTED:
            if lower in noted:
                repeated |= {lower}
            else:
                noted[lower] = header[1]
        elif lower == b"transfer-encoding":
            # given twice it is a list, of which chunked is the last coding only
            chunked, length = length is not None and header[1].lower() == b"chunked", None
            framed = True
    sized = length is not None
    problem = _odd(version, noted, repeated, coded=not sized and not chunked, sized=sized)
    return Head(
        tuple(kept),
        noted,
        repeated,
        length,
        framed,
        upgrades=b"websocket" in noted.get(b"upgrade", b"").lower(),
        old=version != "1.1",
        keep_alive=keep_alive,
        problem=problem,
    )


def _odd(
    version: str, noted: dict[bytes, bytes], repeated: frozenset[bytes], *, coded: bool, sized: bool
) -> Problem | None:
    """What the parser lets pass and two servers could read in two ways."""
    if version not in {"1.1", "1.0"}:
        return Problem(Reason.MalformedRequest, "this is neither HTTP/1.1 nor HTTP/1.0")
    if version == "1.0" and not sized:
        return Problem(Reason.MalformedRequest, "HTTP/1.0 has no Transfer-Encoding")
    if coded:
        return Problem(Reason.MalformedRequest, "its Transfer-Encoding is not chunked alone")
    if version == "1.1" and b"host" not in noted:
        return Problem(Reason.MalformedRequest, "there is no Host header")
    if b"host" in repeated or not _HOST.fullmatch(noted.get(b"host", b"")):
        return Problem(Reason.MalformedRequest, "the Host header is no host and port")
    return None

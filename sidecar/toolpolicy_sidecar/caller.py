"""Who makes a call, and in which session, as far as the call says. For records and telemetry, never for a decision:
nothing of it is proven.

A header that the deployment names counts first, then W3C Baggage, then what MCP has. A session's id lets its holder
speak for the session, so that it is known by a hash from here on."""

import hashlib
from functools import lru_cache, partial
from typing import NamedTuple
from urllib.parse import unquote

from toolpolicy_api.clean import clean
from toolpolicy_sidecar.call import TRACEPARENT, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc
from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.upstream.headers import Header

SESSION_DIGITS = 12
NAME_CHARACTERS = 128
_SESSION_KEYS, _USER_KEYS = ("session.id",), ("user.id", "enduser.id")
_AGENT_KEYS = ("gen_ai.agent.name",)
"""Baggage has no names of its own; these are the attributes that OpenTelemetry has for them."""


class Caller(NamedTuple):
    session: str | None = None
    """12 hexadecimal digits."""
    user: str | None = None
    agent: str | None = None


NOBODY = Caller()


class CallerHeaders:
    def __init__(self, session: bytes | None = None, user: bytes | None = None) -> None:
        """Names of headers in lower case, where the deployment has such."""
        self._session, self._user = session, user
        self._of_http = remembered_headers(partial(self._read, mcp=False))
        self._of_mcp = remembered_headers(partial(self._read, mcp=True))

    def caller(self, call: ToolCall) -> Caller:
        headers, noted, mcp = call.incoming.headers, call.incoming.noted, call.mcp
        if mcp is not None and mcp.meta and "baggage" in mcp.meta:
            return self._read(headers, mcp=True, baggage=jsonrpc.text(mcp.meta["baggage"]))
        if TRACEPARENT in noted:  # no other call has the same headers
            return self._read(headers, mcp=mcp is not None)
        if (
            (self._session or self._user) is None
            and b"baggage" not in noted
            and b"mcp-session-id" not in noted
        ):
            return NOBODY
        return self._of_http(headers) if mcp is None else self._of_mcp(headers)

    def _read(self, headers: tuple[Header, ...], *, mcp: bool, baggage: str = "") -> Caller:
        """`baggage`: of the message, which counts before that of its HTTP request, as for the trace."""
        said = parsed(baggage or _given(headers, b"baggage") or "")
        session = self._session and _given(headers, self._session)
        session = session or _first(said, _SESSION_KEYS)
        if session is None and mcp:
            session = _given(headers, b"mcp-session-id")
        user = (self._user and _given(headers, self._user)) or _first(said, _USER_KEYS)
        agent = _first(said, _AGENT_KEYS)
        return Caller(
            None if session is None else hashed(session),
            None if user is None else _name(user),
            None if agent is None else _name(agent),
        )


@lru_cache(maxsize=1024)
def hashed(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()[:SESSION_DIGITS]


def _given(headers: tuple[Header, ...], wanted: bytes) -> str | None:
    """The first one that is there."""
    for name, value in headers:
        if name.lower() == wanted:
            return value.decode("latin-1").strip() or None
    return None


def parsed(text: str) -> dict[str, str]:
    """W3C Baggage: `key=value;properties` with commas between. Members that are none are left out."""
    found = {}
    for member in text.split(","):
        key, equals, value = member.partition(";")[0].partition("=")
        if equals:
            found[key.strip()] = unquote(value.strip())
    return found


def _first(baggage: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((baggage[key] for key in keys if baggage.get(key)), None)


def _name(text: str) -> str | None:
    """On one line, no longer than a name is, and no secret in its place."""
    line = "".join(character for character in text if character.isprintable())
    return clean(line)[:NAME_CHARACTERS] or None

"""Who makes a call, and in which session, as far as the call says. For records and telemetry, never for a decision:
nothing of it is proven.

A header that the deployment names counts first, then W3C Baggage, then what MCP has. A session's id lets its holder
speak for the session, so that it is known by a hash from here on."""

import hashlib
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from toolpolicy_api.clean import clean
from toolpolicy_sidecar.call import Incoming, ToolCall
from toolpolicy_sidecar.mcp import jsonrpc

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


class CallerHeaders(NamedTuple):
    """Names of headers in lower case, where the deployment has such."""

    session: bytes | None = None
    user: bytes | None = None

    def caller(self, call: ToolCall) -> Caller:
        incoming, noted = call.incoming, call.incoming.noted
        in_message = call.mcp is not None and call.mcp.meta
        baggage = _baggage(call) if in_message or b"baggage" in noted else {}
        if not baggage and self == _NO_HEADERS and b"mcp-session-id" not in noted:
            return NOBODY
        session = None if self.session is None else _given(incoming, self.session)
        user = None if self.user is None else _given(incoming, self.user)
        agent = None
        if baggage:
            session = session or _first(baggage, _SESSION_KEYS)
            user = user or _first(baggage, _USER_KEYS)
            agent = _first(baggage, _AGENT_KEYS)
        if session is None and call.mcp is not None and b"mcp-session-id" in noted:
            session = incoming.text(b"mcp-session-id") or None
        return _known(session, user, agent)


NOBODY = Caller()
_NO_HEADERS = CallerHeaders()


def hashed(session: str) -> str:
    return hashlib.sha256(session.encode()).hexdigest()[:SESSION_DIGITS]


@lru_cache(maxsize=1024)
def _known(session: str | None, user: str | None, agent: str | None) -> Caller:
    """As the call says it."""
    return Caller(
        None if session is None else hashed(session),
        None if user is None else _name(user),
        None if agent is None else _name(agent),
    )


def _given(incoming: Incoming, header: bytes) -> str | None:
    for name, value in incoming.headers:
        if name.lower() == header:
            return value.decode("latin-1").strip() or None
    return None


def _baggage(call: ToolCall) -> dict[str, str]:
    """Of the message before that of its HTTP request, as for the trace."""
    text = ""
    if call.mcp is not None and call.mcp.meta:
        text = _text_of_meta(call.mcp.body)
    text = text or call.incoming.noted.get(b"baggage", b"").decode("latin-1")
    return parsed(text) if text else {}


def parsed(text: str) -> dict[str, str]:
    """W3C Baggage: `key=value;properties` with commas between. Members that are none are left out."""
    found = {}
    for member in text.split(","):
        key, equals, value = member.partition(";")[0].partition("=")
        if equals:
            found[key.strip()] = unquote(value.strip())
    return found


def _text_of_meta(body: bytes) -> str:
    message = jsonrpc.members_of(body) or {}
    params = jsonrpc.members_of(message.get("params", msgspec.UNSET)) or {}
    meta = jsonrpc.members_of(params.get("_meta", msgspec.UNSET)) or {}
    try:
        return msgspec.json.decode(meta.get("baggage", b'""'), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _first(baggage: dict[str, str], keys: tuple[str, ...]) -> str | None:
    return next((baggage[key] for key in keys if baggage.get(key)), None)


def _name(text: str) -> str | None:
    """On one line, no longer than a name is, and no secret in its place."""
    line = "".join(character for character in text if character.isprintable())
    return clean(line)[:NAME_CHARACTERS] or None

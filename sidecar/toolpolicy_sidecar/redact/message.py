"""What of a JSON-RPC message is redacted: what an agent says to a tool, and what a server says to an agent. Everything
else in it stays, byte for byte. Raises Blocked, Unscannable."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolpolicy_sidecar.mcp import jsonrpc, mirror
from toolpolicy_sidecar.redact import document
from toolpolicy_sidecar.redact.expression import Bounds
from toolpolicy_sidecar.redact.in_place import Changed
from toolpolicy_sidecar.redact.placeholder import FIELD, mask
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.verdict import Redacted, TooDeep, Unparsable
from toolpolicy_sidecar.upstream.headers import Header

_RESPONSES = "inputResponses"
_FROM_AGENT = ("arguments", _RESPONSES)
_TO_AGENT = ("result", "error", "params")
_OPAQUE = frozenset({"requestState", "progressToken", "requestId", "taskId"})
"""Tokens of the protocol: changed by a byte they would be worthless."""
_OPAQUE_NAMES = tuple(name.encode() for name in _OPAQUE)
_NO_HITS: Mapping[str, int] = {}


class _Said(msgspec.Struct):
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    params: Raw | UnsetType = UNSET


_said = msgspec.json.Decoder(_Said).decode


def asked(
    redactor: Redactor, data: bytes, headers: tuple[Header, ...], arguments: Bounds | None
) -> tuple[bytes, tuple[Header, ...], Mapping[str, int]]:
    """A call that was read already: its arguments, the answers to the server's questions, and the headers that mirror
    arguments. `arguments`: where they stand, if that is certain."""
    found = redactor.at_once(data)
    if found is not None and (not found.hits or _within(found, arguments)):
        return found.value, *_mirrors(headers, redactor, frozenset(), found.hits)
    hits, values = Counter[str](), frozenset[bytes]()
    members = jsonrpc.members_of(data) or {}
    params = jsonrpc.members_of(members.get("params", UNSET)) or {}
    changes: list[tuple[bytes, bytes]] = []
    for name in _FROM_AGENT:
        if name in params:
            raw = bytes(params[name])
            part = redactor.document(raw)
            values |= redactor.field_values(raw)
            if part.hits:
                hits.update(part.hits)
                changes.append((raw, part.value))
                params[name] = Raw(part.value)
    if hits:
        spliced = None if _RESPONSES in params else _spliced(data, changes)  # it may come twice
        members["params"] = Raw(msgspec.json.encode(params))
        data = spliced or msgspec.json.encode(members)
    return data, *_mirrors(headers, redactor, values, hits)


def said(
    redactor: Redactor, data: bytes, *, results: bool, contents: tuple[Raw | UnsetType, ...] = ()
) -> Redacted[bytes]:
    """`results`, errors, and the params of notifications and questions. `contents`: of a message that was read
    already, what a tool says in it; in whatever else is changed there may be the protocol's own tokens."""
    parts = None if contents else _read(data)
    found = redactor.at_once(data)
    if found is not None:
        if not found.hits or any(_holds(content, found, data) for content in contents):
            return Redacted(found.value, found.hits)
        parts = parts or _read(data)
        for member in (parts.result if results else UNSET, parts.error, parts.params):
            if (
                not isinstance(member, UnsetType)
                and _holds(member, found, data)
                and not _has_opaque(bytes(member))
            ):
                return Redacted(found.value, found.hits)
    members = jsonrpc.members_of(data)
    if members is None:
        raise Unparsable("no JSON-RPC message")
    data = jsonrpc.once(data)
    hits = Counter[str]()
    changes: list[tuple[bytes, bytes]] = []
    for name in _TO_AGENT:
        if name in members and (results or name != "result"):
            raw = bytes(members[name])
            rest = partial(_member, redactor)
            part = redactor.result(raw, rest) if name == "result" else rest(raw)
            if part.hits:
                hits.update(part.hits)
                changes.append((raw, part.value))
                members[name] = Raw(part.value)
    if not hits:
        return Redacted(data, hits)
    return Redacted(_spliced(data, changes) or msgspec.json.encode(members), hits)


def _read(data: bytes) -> _Said:
    try:
        return _said(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Unparsable("no JSON-RPC message") from None
    except RecursionError:
        raise TooDeep(f"JSON nested deeper than {document.MAX_DEPTH}") from None


def _within(found: Changed, part: Bounds | None) -> bool:
    return part is not None and part[0] <= found.start and found.end <= part[1]


def _holds(part: Raw | UnsetType, found: Changed, data: bytes) -> bool:
    """Everything that was changed."""
    return _within(found, jsonrpc.place(data, part))


def _spliced(data: bytes, changes: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The message with other parts, and every other byte as it was. None: some part stands in it twice."""
    for old, new in changes:
        if data.count(old) != 1:
            return None
        data = data.replace(old, new)
    return data


def _member(redactor: Redactor, raw: bytes) -> Redacted[bytes]:
    """One member of a message, the protocol's own tokens in it untouched."""
    members = jsonrpc.members_of(raw) if _has_opaque(raw) else None
    if members is None:
        return redactor.json(raw)
    hits = Counter[str]()
    for name, value in members.items():
        if name not in _OPAQUE:
            found = redactor.json(bytes(value))
            if found.hits:
                hits.update(found.hits)
                members[name] = msgspec.Raw(found.value)
    return Redacted(msgspec.json.encode(members), hits) if hits else Redacted(raw, _NO_HITS)


def _has_opaque(data: bytes) -> bool:
    return max(map(data.find, _OPAQUE_NAMES)) >= 0


def _mirrors(
    headers: tuple[Header, ...], redactor: Redactor, values: frozenset[bytes], hits: Mapping[str, int]
) -> tuple[tuple[Header, ...], Mapping[str, int]]:
    """`Mcp-Param-*` mirror arguments: what is taken out of the body must not stay there. `values`: of fields. With
    `hits` and those in them."""
    if not mirror.of_arguments(headers):
        return headers, hits
    every = Counter(hits)
    clean = tuple(
        (name, _mirror(value, redactor, values, every)) if mirror.of_argument(name) else (name, value)
        for name, value in headers
    )
    return clean, every


def _mirror(value: bytes, redactor: Redactor, values: frozenset[bytes], hits: Counter[str]) -> bytes:
    text = mirror.decoded(value)
    if text is None:
        raise Unparsable("a Mcp-Param header that cannot be decoded")
    if text.encode() in values:
        return mask(FIELD)
    found = redactor.text(text)
    if not found.hits:
        return value
    hits.update(found.hits)
    if mirror.wrapped(value) or not (found.value.isascii() and found.value.isprintable()):
        return mirror.wrap(found.value)
    return found.value.encode("ascii")

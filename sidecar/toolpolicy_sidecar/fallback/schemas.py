"""The output schemas that an MCP server lists, as far as fallbacks need them.

A client that knows a tool's outputSchema throws away a success that does not satisfy it (facts of the SDKs: they
raise), so a fallback that does not is none. Nothing is asked of the server: schemas are taken from `tools/list` as the
answer passes. What the server says is not trusted: bounded in size, checked in bounded time, nothing is fetched."""

from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Raw, UnsetType

from toolpolicy_sidecar.mcp import sse

SCHEMA_BYTES = 32 * 1024
"""A longer schema is not kept: its tool counts as unknown."""
SCHEMAS_BYTES = 256 * 1024
"""Of all schemas of one server; the oldest goes first."""
NAME_CHARACTERS = 128
MOST_EXPANSIONS = 1000
"""Uses of definitions, with references followed: what is more could take forever to check."""

Known = bytes | None
"""A tool's schema; None: it is listed without one."""


class _Listed(msgspec.Struct):
    name: str
    outputSchema: Raw | UnsetType = UNSET  # noqa: N815 -- the name on the wire


class _Result(msgspec.Struct):
    tools: list[_Listed]


class _Answer(msgspec.Struct):
    result: _Result


_answer = msgspec.json.Decoder(_Answer)


class OutputSchemas:
    """Of one server."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._known)

    def of(self, tool: str) -> Known | UnsetType:
        """UNSET: it was not listed."""
        return self._known.get(tool, UNSET)

    def learn(self, listed: dict[str, Known]) -> None:
        for name, schema in listed.items():
            self._forget(name)
            if len(name) <= NAME_CHARACTERS and len(schema or b"") <= SCHEMA_BYTES:
                self._known[name] = schema
                self._bytes += _size(name, schema)
        while self._bytes > SCHEMAS_BYTES:
            self._forget(next(iter(self._known)))

    def _forget(self, name: str) -> None:
        if name in self._known:
            self._bytes -= _size(name, self._known.pop(name))


def _size(name: str, schema: Known) -> int:
    """With what a dictionary's entry costs."""
    return len(name) + len(schema or b"") + 200


def listed(body: bytes, *, events: bool, limit_bytes: int) -> dict[str, Known]:
    """From the whole answer to `tools/list`, a document or events; nothing from anything else."""
    try:
        messages = [body]
        if events:
            splitter = sse.Splitter(limit_bytes)
            found = [*splitter.feed(body), *splitter.end()]
            messages = [event.data for event in found if event.data]
        tools: dict[str, Known] = {}
        for message in messages:
            if b'"tools"' in message:
                tools.update({tool.name: _schema(tool.outputSchema) for tool in _tools(message)})
    except sse.EventTooLarge:
        return {}
    return tools


def _tools(message: bytes) -> list[_Listed]:
    try:
        return _answer.decode(message).result.tools
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


def _schema(raw: Raw | UnsetType) -> Known:
    return None if isinstance(raw, UnsetType) or bytes(raw) == b"null" else bytes(raw)


class Fitting(NamedTuple):
    """`structured` UNSET: the answer needs none."""

    structured: Any = UNSET


def fit_text(content: str, known: Known | UnsetType) -> Fitting | None:
    """How a text of the policy becomes an answer of this tool; None: it cannot. A tool that nobody listed gets an
    object as it is, which is right whether it has a schema or not.

    Python's SDKs wrap what is no object as `{"result": …}`; the schema says so, and a plain text fits it that way."""
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        value = UNSET
    if isinstance(known, UnsetType):
        return Fitting(value if isinstance(value, dict) else UNSET)
    if known is None:
        return Fitting()
    if value is not UNSET and satisfies(value, known) != "no":
        return Fitting(value)
    for wrapped in (value, content) if b'"result"' in known else ():
        if wrapped is not UNSET and satisfies({"result": wrapped}, known) == "yes":
            return Fitting({"result": wrapped})
    return None


def satisfies(value: Any, schema: bytes) -> Literal["yes", "no", "unchecked"]:
    """`unchecked`: the schema is one that this sidecar does not follow. Any object passes for it then."""
    try:
        document = msgspec.json.decode(schema)
        countable = isinstance(document, dict) and expansions(document) <= MOST_EXPANSIONS
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Unfollowed):
        countable = False
    if not countable:
        return "unchecked" if isinstance(value, dict) else "no"
    # Imported at the first fallback that needs it: 8 ms and 8 MB, which most sidecars never pay.
    import jsonschema_rs  # noqa: PLC0415

    try:
        validator = jsonschema_rs.Draft202012Validator(
            document,
            retriever=_fetch_nothing,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=2**20),  # linear time
            validate_formats=False,
        )
        return "yes" if validator.is_valid(value) else "no"
    except ValueError:  # no valid schema: clients that check would not take any answer
        return "unchecked" if isinstance(value, dict) else "no"


def _fetch_nothing(_uri: str) -> Any:
    raise ValueError("a schema may refer to itself only")


class Unfollowed(ValueError):  # noqa: N818 -- a verdict on input
    """A reference that is recursive, or leads elsewhere than to `$defs`."""


def expansions(schema: dict[str, Any]) -> int:
    """Subschemas to visit when every reference is followed. Raises Unfollowed."""
    known: dict[str, int | None] = {}

    def count(node: Any) -> int:
        if isinstance(node, list):
            return sum(map(count, node))
        if not isinstance(node, dict):
            return 0
        if not _ELSEWHERE.isdisjoint(node) and node is not schema:
            raise Unfollowed
        reference = node.get("$ref")
        followed = target(reference) if isinstance(reference, str) else 0
        members = [value for name, value in node.items() if node is not schema or name not in _DEFINITIONS]
        return 1 + followed + count(members)

    def target(reference: str) -> int:
        if reference not in known:
            known[reference] = None
            kind, _, name = reference.removeprefix("#/").partition("/")
            place = schema.get(kind) if reference.startswith("#/") and kind in _DEFINITIONS else None
            if not isinstance(place, dict) or name not in place:
                raise Unfollowed
            known[reference] = count(place[name])
        size = known[reference]
        if size is None:
            raise Unfollowed
        return size

    return count(schema)


_DEFINITIONS = ("$defs", "definitions")
_ELSEWHERE = frozenset({"$dynamicRef", "$recursiveRef", "$id"})
"""Below the root these make a reference mean something else than it says."""

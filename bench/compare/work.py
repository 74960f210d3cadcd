"""The work that everybody does: the same calls, the same answers, the same pattern taken out of both. One call differs
from the next in its path, its arguments and its length, as an agent's do."""

import json
from typing import NamedTuple

REQUEST_BYTES = 258
"""At most."""
CALLS = 64
"""That differ."""
ADDRESS = "jane.doe@example.com"
PATTERN = r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+[.][A-Za-z][A-Za-z]+"
"""RE2, for the sidecar."""
LUA_PATTERN = r"[%w%._%%%+%-]+@[%w%.%-]+%.%a%a+"
"""The same in Lua, for Envoy."""
MASK = "[email]"
_FILLER = "the second of my accounts, which has no telephone. " * 5
_ARTICLE = "To reset your password open Settings, then Security, then Reset, and follow the letter. " * 7


class Call(NamedTuple):
    path: str
    body: bytes


class Case(NamedTuple):
    """`path` is where a plain proxy takes the calls, `%d` in it a number; the sidecar finds them below the server's
    name."""

    name: str
    path: str
    sidecar_path: str
    address: str
    answer: bytes

    def calls(self, path: str) -> list[Call]:
        """At this path, one of the two."""
        return [
            Call(path.replace("%d", str(number)), _request(self.address, number))
            for number in range(1, CALLS + 1)
        ]

    @property
    def redacted(self) -> bytes:
        """The answer as the agent must get it."""
        return self.answer.replace(ADDRESS.encode(), MASK.encode())


def _request(address: str, number: int) -> bytes:
    """A tools/call of up to 258 bytes, and as good a JSON body for an HTTP tool."""
    query = f"how do I reset my password? {address}"
    arguments = {"query": query, "limit": number, "context": ""}
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search", "arguments": arguments},
    }
    arguments["context"] = _FILLER[: REQUEST_BYTES - len(json.dumps(call)) - number % 20]
    return json.dumps(call).encode()


def _answer(address: str) -> bytes:
    content = [{"type": "text", "text": f"{_ARTICLE}{address}"}]
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": content, "isError": False}}).encode()


CASES = tuple(
    Case(f"{protocol}, {what}", path, sidecar_path, address, _answer(address))
    for what, address in (("nothing to redact", ""), ("an address each way", ADDRESS))
    for protocol, path, sidecar_path in (
        ("HTTP", "/v1/tickets/%d", "/api/v1/tickets/%d"),
        ("MCP", "/mcp", "/kb"),
    )
)

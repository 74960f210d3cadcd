"""The last good answers of tools, in bounded memory. Pure: time is an argument, monotonic seconds."""

from collections import OrderedDict
from typing import NamedTuple

from toolpolicy_api.channel import ToolKey

ANSWER_BYTES = 64 * 1024
"""A larger answer is not kept."""
TOOL_BYTES = 1024 * 1024
PROCESS_BYTES = 8 * 1024 * 1024
_OVERHEAD_BYTES = 500


class Whole(NamedTuple):
    """An answer, redacted: for HTTP its body, for MCP the JSON-RPC message."""

    body: bytes
    content_type: bytes = b""


class Kept(NamedTuple):
    answer: Whole
    at: float


_NONE: OrderedDict[bytes, Kept] = OrderedDict()


class Answers:
    """Of a tool that keeps too much the least recently used goes; when all of them together do, that of the tool
    which keeps most: a chatty tool cannot push out the others."""

    def __init__(self, tool_bytes: int = TOOL_BYTES, process_bytes: int = PROCESS_BYTES) -> None:
        self._tool_bytes, self._process_bytes = tool_bytes, process_bytes
        self._kept: dict[ToolKey, OrderedDict[bytes, Kept]] = {}
        self._sizes: dict[ToolKey, int] = {}
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def put(self, tool: ToolKey, digest: bytes, answer: Whole, now: float) -> None:
        """In the place of the one before."""
        self._drop(tool, digest)
        if len(answer.body) > ANSWER_BYTES:
            return
        self._kept.setdefault(tool, OrderedDict())[digest] = Kept(answer, now)
        self._grow(tool, _size(answer))
        while self._sizes[tool] > self._tool_bytes:
            self._drop_oldest(tool)
        while self._bytes > self._process_bytes:
            self._drop_oldest(max(self._sizes, key=self._sizes.__getitem__))

    def get(self, tool: ToolKey, digest: bytes, now: float, max_age_s: float) -> Kept | None:
        """One that is too old is let go."""
        entries = self._kept.get(tool, _NONE)
        kept = entries.get(digest)
        if kept is None:
            return None
        if now - kept.at > max_age_s:
            self._drop(tool, digest)
            return None
        entries.move_to_end(digest)
        return kept

    def _drop_oldest(self, tool: ToolKey) -> None:
        self._drop(tool, next(iter(self._kept[tool])))

    def _drop(self, tool: ToolKey, digest: bytes) -> None:
        entries = self._kept.get(tool, _NONE)
        kept = entries.pop(digest, None)
        if kept is not None:
            self._grow(tool, -_size(kept.answer))
            if not entries:
                del self._kept[tool], self._sizes[tool]

    def _grow(self, tool: ToolKey, size: int) -> None:
        self._sizes[tool] = self._sizes.get(tool, 0) + size
        self._bytes += size


def _size(answer: Whole) -> int:
    return len(answer.body) + len(answer.content_type) + _OVERHEAD_BYTES

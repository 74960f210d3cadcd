"""What stricter redaction would have found in a sample of calls, in what was left of them by the redaction in force.
Counts, never values; beside the calls, one sample at a time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from toolpolicy_api.channel import Direction
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.aside import aside
from toolpolicy_sidecar.call import Reply
from toolpolicy_sidecar.mcp import sse
from toolpolicy_sidecar.problem import Stopped
from toolpolicy_sidecar.redact.preview import Preview
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.upstream.exchange import Request
from toolpolicy_sidecar.upstream.headers import Header

KEPT_BYTES = 256 * 1024
"""Of a body; a longer one is not looked at."""


class Previewed(NamedTuple):
    """One sampled call. `found`: by direction, detector → texts."""

    policy: str
    server: str
    tool: str
    found: Mapping[Direction, Mapping[str, int]]


class Sampled:
    """A reply that keeps a copy of what the agent gets, beside the request as the tool gets it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._request: Request | None = None
        self._headers: tuple[Header, ...] = ()
        self._pieces: list[bytes] = []
        self._left_bytes = KEPT_BYTES

    def sent(self, request: Request) -> None:
        self._request = request

    def found(self, redactor: Redactor) -> dict[Direction, Mapping[str, int]]:
        """What cannot be read is left out. To be called aside."""
        found: dict[Direction, Mapping[str, int]] = {}
        if self._request is not None:
            found["Request"] = _in_request(redactor, self._request)
        if self._left_bytes >= 0:
            found["Response"] = _in_answer(redactor, self._headers, b"".join(self._pieces))
        return found

    # the reply
    @property
    def started(self) -> bool:
        return self._reply.started

    @property
    def sent_bytes(self) -> int:
        return self._reply.sent_bytes

    @property
    def waiting(self) -> bool:
        return self._reply.waiting

    @property
    def waited_s(self) -> float:
        return self._reply.waited_s

    async def whole(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        self._headers = tuple(headers)
        self._keep(body)
        await self._reply.whole(status, self._headers, body)

    async def start(self, status: int, reason: bytes, headers: Iterable[Header], length: int | None) -> None:
        self._headers = tuple(headers)
        await self._reply.start(status, reason, self._headers, length)

    async def write(self, piece: bytes) -> None:
        self._keep(piece)
        await self._reply.write(piece)

    async def finish(self) -> None:
        await self._reply.finish()

    def abort(self) -> None:
        self._reply.abort()

    def _keep(self, piece: bytes) -> None:
        self._left_bytes -= len(piece)
        if self._left_bytes >= 0:
            self._pieces.append(piece)
        else:
            self._pieces.clear()


class Previews:
    """A sample that comes while another one is looked at is let go: the calls have the processor first."""

    def __init__(self, tell: Callable[[Previewed], None]) -> None:
        self._tell = tell
        self._looking: asyncio.Task[None] | None = None

    def look(self, preview: Preview, sampled: Sampled, about: Callable[..., Previewed]) -> None:
        """`about`: makes what is told of what was found."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look(preview, sampled, about))

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self, preview: Preview, sampled: Sampled, about: Callable[..., Previewed]) -> None:
        self._tell(about(found=await aside(None, partial(sampled.found, preview.redactor))))


def _in_request(redactor: Redactor, request: Request) -> Mapping[str, int]:
    path, mark, query = request.target.partition("?")
    body = request.body if isinstance(request.body, bytes) and len(request.body) <= KEPT_BYTES else b""
    kind, encoding = _header(request.headers, b"content-type"), _header(request.headers, b"content-encoding")
    with suppress(Stopped):
        return cleanse.http_request(
            redactor, path, query if mark else None, request.headers, body, kind, encoding, KEPT_BYTES
        ).hits
    return {}


def _in_answer(redactor: Redactor, headers: tuple[Header, ...], body: bytes) -> Mapping[str, int]:
    kind, hits = _header(headers, b"content-type"), Counter[str]()
    with suppress(Stopped):
        plain = cleanse.plain(body, _header(headers, b"content-encoding"), KEPT_BYTES, redactor) or b""
        if not kind.lower().startswith("text/event-stream"):
            return cleanse.http_answer(redactor, plain, kind).hits
        for event in sse.Splitter(KEPT_BYTES).feed(plain):
            if event.data:
                hits.update(cleanse.http_event(redactor, event.data).hits)
    return hits


def _header(headers: tuple[Header, ...], name: bytes) -> str:
    return next((value for key, value in headers if key.lower() == name), b"").decode("latin-1")

"""Pages of the sidecar's own, on a port of their own: probes, metrics and the admin API."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl

from toolpolicy_sidecar import render
from toolpolicy_sidecar.clock import Clock, SystemClock
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.listeners.http_connections import Connections
from toolpolicy_sidecar.listeners.http_reply import last_words
from toolpolicy_sidecar.listeners.http_request import Asked
from toolpolicy_sidecar.problem import Problem, Stopped
from toolpolicy_sidecar.reasons import Reason

log = logging.getLogger("toolpolicy")


class Page(NamedTuple):
    """An answer. `headers`: besides Content-Type and Content-Length."""

    body: bytes
    status: int = 200
    kind: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[bytes, bytes], ...] = ()


NOT_FOUND = Page(b"there is no such page\n", 404)
NOT_ALLOWED = Page(b"not with this method\n", 405)


class PageRequest:
    """`path` is as it was sent, percent signs and all."""

    def __init__(self, asked: Asked) -> None:
        self.method = asked.method
        self.path, _, query = asked.target.partition("?")
        self.query: Mapping[str, str] = dict(parse_qsl(query, keep_blank_values=True))
        self._asked = asked

    def header(self, name: str) -> str:
        """The first of that name, "" if there is none."""
        wanted = name.lower().encode("ascii")
        for key, value in self._asked.head.headers:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return ""

    async def body(self) -> bytes:
        """Raises Stopped."""
        return await self._asked.body.whole()


class Pages:
    """`answer` gets every request; what it raises becomes a 500 without a word about it."""

    def __init__(
        self,
        answer: Callable[[PageRequest], Awaitable[Page]],
        *,
        body_bytes: int = 0,
        clock: Clock | None = None,
    ) -> None:
        """`body_bytes`: that a request may have."""
        self._answer, self._clock = answer, clock or SystemClock()
        self._limits = Limits(body_bytes=body_bytes)
        self._connections = Connections(self, self._limits, self._clock)

    async def start(self, host: str, port: int) -> int:
        """Listens; returns the port. Raises OSError."""
        return await self._connections.listen(host, port)

    async def close(self) -> None:
        await self._connections.close()

    # Answering
    async def handle(self, asked: Asked) -> None:
        asked.body.bound(self._clock.monotonic() + self._limits.request_s)
        try:
            page = await self._page(asked)
        except Stopped as stopped:
            asked.reply.close_after()
            rendered = render.of_request(stopped.problem)
            page = Page(rendered.body, rendered.status, "application/problem+json")
        except Exception:
            log.exception("a page failed in the sidecar itself")
            page = Page(b"the sidecar failed, see its log\n", 500)
        try:
            headers = ((b"Content-Type", page.kind.encode("ascii")), *page.headers)
            await asked.reply.whole(page.status, headers, page.body)
        except ConnectionError:
            asked.reply.abort()

    async def _page(self, asked: Asked) -> Page:
        """Raises Stopped."""
        if asked.head.problem is not None:
            raise Stopped(asked.head.problem)
        if asked.method == "CONNECT" or asked.head.upgrades:
            raise Stopped(Problem(Reason.UpgradeRefused, "there is nothing but pages here"))
        return await self._answer(PageRequest(asked))

    def unheard(self, problem: Problem) -> bytes:
        return last_words(render.of_request(problem))

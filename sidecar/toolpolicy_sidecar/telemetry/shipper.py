"""From an outbox to an OTLP/HTTP receiver, beside the calls: whatever the receiver does, no call waits for it."""

import asyncio
import logging
import random
import ssl
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from toolpolicy_api import trust
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.resilience.retry_after import retry_after_s
from toolpolicy_sidecar.telemetry.outbox import Outbox
from toolpolicy_sidecar.telemetry.settings import Destination
from toolpolicy_sidecar.upstream.exchange import BodyTooLarge, Request, Response
from toolpolicy_sidecar.upstream.failure import UpstreamFailure
from toolpolicy_sidecar.upstream.origin import parse
from toolpolicy_sidecar.upstream.pool import Pool
from toolpolicy_sidecar.upstream.tls import Contexts

log = logging.getLogger("toolpolicy")

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

TRIES = 4
BACKOFF_S = 1.0
"""Before the second try; twice as long before each further one, and a random part of it."""
RETRY_AFTER_S = 30.0
"""A receiver that asks for more is not waited for: what it misses is counted."""
ENCODING_SHARE = 0.1
"""Of the event loop's time, at most, so that calls do not notice a burst of failures that are all to be exported."""
AT_ONCE = 8
"""Calls whose spans are encoded in one go: about a millisecond, in which no call moves."""
ANSWER_BYTES = 64 * 1024
_RETRYABLE = frozenset({429, 502, 503, 504})
"""By the OTLP specification; any other failure is final."""
_GZIP_WBITS = 31


class Codec(Protocol[T_contra]):
    """Makes the bytes. Encoded requests of OTLP can be joined: protobuf merges what is repeated."""

    def encode(self, items: Sequence[T_contra]) -> bytes: ...
    def rejected(self, answer: bytes) -> int:
        """How many of a request the receiver did not take, by its answer."""
        ...


class Shipper(Generic[T]):
    def __init__(
        self,
        to: Destination,
        codec: Callable[[], Codec[T]],
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        """`codec`: called in a thread at the start, since loading OpenTelemetry takes a while. Raises OSError for
        certificates that are not there."""
        self._to, self._make_codec, self._clock = to, codec, clock
        self._rng = rng or random.Random()  # noqa: S311 -- spreads retries
        self._ready = asyncio.Event()
        self.outbox: Outbox[T] = Outbox(to.queue, to.batch, self._ready.set)
        self._place = parse(to.url)
        self._pool = Pool(tls=_contexts(to))
        self._headers = (
            (b"Content-Type", b"application/x-protobuf"),
            (b"User-Agent", b"toolpolicy-OTLP-Exporter"),
            *((b"Content-Encoding", b"gzip"),) * to.gzip,
            *to.headers,
        )
        self._closing = self._failing = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def close(self, within_s: float) -> None:
        """Sends what still waits, if that takes no longer than this."""
        self._closing = True
        self._ready.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, within_s)
        await self._pool.close()
        lost = self.outbox.size + sum(self.outbox.dropped.values())
        if lost:
            log.warning("telemetry was lost", extra={"signal": self._to.signal, "lost": lost})

    async def _run(self) -> None:
        codec = await asyncio.to_thread(self._make_codec)
        while not self._closing or self.outbox.size:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._to.delay_s):
                    await self._ready.wait()
            if not self._closing:
                self._ready.clear()
            body, size = await self._batch(codec)
            if size:
                await self._deliver(codec, body, size)

    async def _batch(self, codec: Codec[T]) -> tuple[bytes, int]:
        """Encoded a few at a time, with pauses in which calls have the loop for themselves."""
        body, size = b"", 0
        while size < self._to.batch and (taken := self._next(self._to.batch - size)):
            began = self._clock.monotonic()
            piece, weight = self._encoded(codec, taken)
            body, size = body + piece, size + weight
            if not self._closing:
                took_s = self._clock.monotonic() - began
                await asyncio.sleep(took_s * (1 / ENCODING_SHARE - 1))
        return body, size

    def _next(self, most: int) -> list[tuple[T, int]]:
        """A few of those that wait, whose sizes come to `most` or little more."""
        found: list[tuple[T, int]] = []
        while len(found) < AT_ONCE and most > 0 and (taken := self.outbox.take()):
            found.append(taken)
            most -= taken[1]
        return found

    def _encoded(self, codec: Codec[T], items: list[tuple[T, int]]) -> tuple[bytes, int]:
        """What can be encoded of them, and its size."""
        size = sum(weight for _, weight in items)
        try:
            return codec.encode([item for item, _ in items]), size
        except Exception:
            if len(items) > 1:  # one of them: the others leave
                pieces = [self._encoded(codec, [each]) for each in items]
                return b"".join(piece for piece, _ in pieces), sum(weight for _, weight in pieces)
            log.exception("telemetry could not be encoded")
            self.outbox.drop("Unencodable", size)
            return b"", 0

    async def _deliver(self, codec: Codec[T], body: bytes, size: int) -> None:
        if self._to.gzip:
            body = await asyncio.to_thread(zlib.compress, body, wbits=_GZIP_WBITS)
        origin, path = self._place
        request = Request(origin, "POST", path or "/", self._headers, body)
        backoff_s = BACKOFF_S
        for last in (*(False,) * (TRIES - 1), True):
            why, wait_s, answer = await self._sent(request)
            if why is None:
                self._delivered(size, min(codec.rejected(answer), size))
                return
            if last or wait_s is None or self._closing:
                break
            await asyncio.sleep(max(wait_s, self._rng.uniform(0, backoff_s)))
            backoff_s *= 2
        self.outbox.drop("NotDelivered", size)
        if not self._failing:
            self._failing = True
            log.warning("telemetry is not delivered", extra={"signal": self._to.signal, "why": why})

    async def _sent(self, request: Request) -> tuple[str | None, float | None, bytes]:
        """Why it failed, None: it did not; how long the receiver asks to be left alone, None: for good; its answer."""
        try:
            async with asyncio.timeout(self._to.timeout_s):
                response = await self._pool.exchange(request, connect_timeout_s=self._to.timeout_s)
                answer = await response.body(ANSWER_BYTES)
                response.release()
        except TimeoutError:
            return f"no answer within {self._to.timeout_s:g} s", 0.0, b""
        except UpstreamFailure as error:
            return str(error), 0.0, b""
        except BodyTooLarge:
            return "its answer is too large", None, b""
        if 200 <= response.status < 300:
            return None, None, answer
        return f"HTTP {response.status}", self._asked_s(response), b""

    def _asked_s(self, response: Response) -> float | None:
        if response.status not in _RETRYABLE:
            return None
        header = response.header(b"retry-after")
        asked_s = header and retry_after_s(header.decode("latin-1"), self._clock.unix_ms() / 1000)
        return min(asked_s, RETRY_AFTER_S) if asked_s else 0.0

    def _delivered(self, size: int, rejected: int) -> None:
        self.outbox.delivered(size - rejected)
        if rejected:
            self.outbox.drop("Rejected", rejected)
        if self._failing:
            self._failing = False
            log.info("telemetry is delivered again", extra={"signal": self._to.signal})


def _contexts(to: Destination) -> Contexts:
    """Raises OSError."""
    contexts = Contexts()
    contexts.default = _context(to)
    return contexts


def _context(to: Destination) -> ssl.SSLContext | None:
    """None: the system's own roots are enough."""
    if to.ca_file is None and to.certificate is None:
        return None
    context = trust.servers(cafile=to.ca_file)
    if to.certificate is not None:
        context.load_cert_chain(*to.certificate)
    return context

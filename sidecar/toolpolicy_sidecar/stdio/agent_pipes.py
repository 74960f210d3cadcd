"""The agent's end: our own stdin and stdout. They may be pipes, sockets, files or a terminal, and others may hold them
too, so they are left as they are: blocking. What could block is done by a thread."""

import asyncio
import os
import queue
import select
import threading
from collections.abc import Callable

PIECE_BYTES = 64 * 1024


class Input:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._waits = True
        """The event loop can wait for it; for a file it cannot."""

    async def read(self) -> bytes:
        """The next piece, b"" at the end."""
        if self._waits:
            ready: asyncio.Future[None] = self._loop.create_future()
            try:
                self._loop.add_reader(self._descriptor, _settle, ready)
            except PermissionError:
                self._waits = False
            else:
                try:
                    await ready
                finally:
                    self._loop.remove_reader(self._descriptor)
        try:
            return os.read(self._descriptor, PIECE_BYTES)  # what is ready, or from a file: at once
        except OSError:
            return b""


class Output:
    """Whole lines in the order of `write`. It waits as long as nobody reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()
        self._queued = 0
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Done when it is written. Raises ConnectionError when the agent is gone."""
        data = line + b"\n"
        if not self._queued and len(data) <= select.PIPE_BUF and self._room.poll(0):
            try:
                # There is room for so much, or nobody reads: neither blocks.
                left = data[os.write(self._descriptor, data) :]
            except OSError:
                raise BrokenPipeError("the agent reads no more") from None
            if not left:
                return
            data = left
        written: asyncio.Future[None] = self._loop.create_future()
        self._queued += 1
        written.add_done_callback(self._written)
        self._lines.put((data, written))
        await asyncio.shield(written)

    def close(self) -> None:
        """After what was written."""
        self._lines.put(None)

    def _written(self, _: "asyncio.Future[None]") -> None:
        self._queued -= 1

    def _run(self) -> None:
        broken = False
        while (item := self._lines.get()) is not None:
            data, written = item
            left = memoryview(b"" if broken else data)
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except OSError:
                    broken, left = True, memoryview(b"")
            _told(self._loop, _settle, written, broken)
        os.close(self._descriptor)


def _settle(done: "asyncio.Future[None]", broken: bool = False) -> None:  # noqa: FBT001, FBT002 -- of a callback
    if done.done():
        return
    if broken:
        done.set_exception(BrokenPipeError("the agent reads no more"))
        done.exception()  # whoever waited may be gone: then nobody has to be told
    else:
        done.set_result(None)


def _told(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *arguments: object) -> None:
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:  # the loop is closed: the process ends
        return

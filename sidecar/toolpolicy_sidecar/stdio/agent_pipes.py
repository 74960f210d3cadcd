"""The agent's end: our own stdin and stdout. They may be pipes, sockets, files or a terminal, and others may hold them
too, so they are left as they are (blocking) and have a thread each."""

import asyncio
import os
import queue
import threading
from collections.abc import Callable

PIECE_BYTES = 64 * 1024


class Input:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._wanted = threading.Semaphore(1)
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    async def read(self) -> bytes:
        """The next piece, b"" at the end. One piece is read ahead, no more."""
        piece = await self._pieces.get()
        self._wanted.release()
        return piece

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            try:
                piece = os.read(self._descriptor, PIECE_BYTES)
            except OSError:
                piece = b""
            if not _told(self._loop, self._pieces.put_nowait, piece) or not piece:
                return


class Output:
    """Whole lines in the order of `write`. It waits as long as nobody reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Done when it is written. Raises ConnectionError when the agent is gone."""
        written: asyncio.Future[None] = self._loop.create_future()
        self._lines.put((line + b"\n", written))
        await asyncio.shield(written)

    def close(self) -> None:
        """After what was written."""
        self._lines.put(None)

    def _run(self) -> None:
        broken = False
        while (item := self._lines.get()) is not None:
            line, written = item
            left = memoryview(b"" if broken else line)
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except OSError:
                    broken, left = True, memoryview(b"")
            _told(self._loop, _settle, written, broken)
        os.close(self._descriptor)


def _settle(written: "asyncio.Future[None]", broken: bool) -> None:  # noqa: FBT001 -- goes through a callback
    if written.done():
        return
    if broken:
        written.set_exception(BrokenPipeError("the agent reads no more"))
        written.exception()  # whoever waited may be gone: then nobody has to be told
    else:
        written.set_result(None)


def _told(loop: asyncio.AbstractEventLoop, what: Callable[..., None], *arguments: object) -> bool:
    try:
        loop.call_soon_threadsafe(what, *arguments)
    except RuntimeError:  # the loop is closed: the process ends
        return False
    return True

"""Who writes waits for who reads."""

import asyncio


class BackPressure(asyncio.Protocol):
    """The half of a connection's protocol that is told when its peer does not keep up."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._writable: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    @property
    def writing_paused(self) -> bool:
        return self._writable is not None

    async def drained(self) -> None:
        """Until the peer has read enough of what was written, or is gone."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

"""What a connection says in one turn of the event loop leaves at the end of that turn, in one write.

A write wakes whoever waits for it, and to wake a core that sleeps costs more than all rules of a call together. While
many calls are under way the writes of a turn follow each other directly: who is woken by the first is still awake when
the others come. Where a call is alone nobody follows, and it does not wait."""

import asyncio

from toolpolicy_sidecar.in_flight import InFlight

HELD_BYTES = 64 * 1024
"""No more than this waits for the end of the turn: back-pressure has to see what is written."""


class Outgoing:
    """In front of a transport. All that is written to the transport is written here, so that it stays in order."""

    __slots__ = ("_held_bytes", "_in_flight", "_loop", "_pieces", "_transport")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, in_flight: InFlight
    ) -> None:
        """`in_flight`: on this loop."""
        self._transport, self._loop, self._in_flight = transport, loop, in_flight
        if transport.get_extra_info("ssl_object") is None:
            # uvloop would keep what is written to the end of what is ready to run; TLS takes 0 for always full.
            transport.set_write_buffer_limits(0)
        self._pieces: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Who hung up meanwhile does not get it, and the protocol's `connection_lost` says so."""
        size = len(data)
        if self._held_bytes + size > HELD_BYTES:
            self.flush()
            if size > HELD_BYTES:
                if not self._transport.is_closing():
                    self._transport.write(data)
                return
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(bytes(data))
        self._held_bytes += size

    def message(self, head: bytes, body: bytes) -> None:
        """One that is all there."""
        if len(body) > HELD_BYTES:
            self.write(head)
            self.write(body)
        elif self._pieces or self._in_flight.waited_for > 1:
            self.write(head + body)
        elif not self._transport.is_closing():
            self._transport.write(head + body)

    def flush(self) -> None:
        pieces = self._pieces
        if not pieces:
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._held_bytes = 0
        if not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """After what was written."""
        self.flush()
        self._transport.close()

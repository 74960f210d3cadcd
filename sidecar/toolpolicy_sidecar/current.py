"""The snapshot that is in force."""

from collections import Counter
from collections.abc import Callable
from secrets import token_bytes
from typing import Literal

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.plan import InvalidSnapshot
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.runtime import Runtime


class Current:
    """The one Runtime in force; none at a cold start."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        clock: Clock,
        cold_start: Literal["Deny", "Passthrough"] = "Deny",
        secret: bytes | None = None,
    ) -> None:
        """`secret`: 32 random bytes by default; new with every process, so no placeholder outlives it."""
        self.runtime: Runtime | None = None
        self.cold_start = cold_start
        self.in_flight = InFlight()
        self.websockets: Counter[tuple[str, str]] = Counter()
        """Those that are open, by policy and server. What had one once has a 0."""
        self.on_install: list[Callable[[Runtime], None]] = []
        """Asked after each change of what is in force."""
        self._recorder, self._clock = recorder, clock
        self._secret = secret or token_bytes(32)

    def install(self, data: bytes, source: str) -> Runtime:
        """Puts this snapshot in force at once. Raises InvalidSnapshot, and then keeps the one in force."""
        try:
            value = snapshot.decode_snapshot(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSnapshot(str(error)) from None
        self.runtime = Runtime.build(
            value,
            digest=snapshot.sha256(data),
            source=source,
            previous=self.runtime,
            recorder=self._recorder,
            clock=self._clock,
            secret=self._secret,
        )
        for installed in self.on_install:
            installed(self.runtime)
        return self.runtime

"""What waits to be exported: bounded, never waited for. Pure.

Half of the room is only for what is urgent (failed calls), so that a burst of good calls cannot crowd out the ones that
somebody will look for."""

from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

Dropped = Literal["QueueFull", "NotDelivered", "Rejected", "Unencodable"]
"""It came faster than it could leave; the receiver was away, or refused the batch; it took the batch without this;
a bug of ours."""

T = TypeVar("T")


class Outbox(Generic[T]):
    """Sizes are in spans or records; `size` is that of all that has not left, what is being sent included: nothing
    gets lost between `size`, `exported` and `dropped`. `ready` is called when there is a batch."""

    def __init__(self, limit: int, batch: int, ready: Callable[[], None]) -> None:
        self._limit, self._batch, self._ready = limit, batch, ready
        self._waiting: deque[tuple[T, int]] = deque()
        self.size = 0
        self.exported = 0
        self.dropped: Counter[Dropped] = Counter()

    def put(self, item: T, size: int, *, urgent: bool) -> None:
        room = self._limit if urgent else self._limit - self._limit // 2
        if self.size + size > room:
            self.dropped["QueueFull"] += size
            return
        self._waiting.append((item, size))
        self.size += size
        if self.size >= self._batch:
            self._ready()

    def take(self) -> tuple[T, int] | None:
        """The oldest, and its size; it is `delivered` or to `drop` after that."""
        return self._waiting.popleft() if self._waiting else None

    def delivered(self, size: int) -> None:
        self.size -= size
        self.exported += size

    def drop(self, why: Dropped, size: int) -> None:
        self.size -= size
        self.dropped[why] += size

"""What comes out of a redaction."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T", str, bytes)


class Redacted(NamedTuple, Generic[T]):
    """`hits`: detector or pattern → how many. Empty: `value` is what came in."""

    value: T
    hits: Mapping[str, int]


class Unscannable(ValueError):  # noqa: N818 -- a verdict on input
    """What cannot be read cannot be vouched for. The message says why, without the content. Those that are none of the
    kinds below could be read in two ways, or not at all: binary."""


class UnknownEncoding(Unscannable):
    """A Content-Encoding that nobody here can undo."""


class Unparsable(Unscannable):
    """It is not what it says it is: JSON, UTF-8, gzip."""


class TooDeep(Unscannable):
    """There is more in it than is opened."""


class TooLarge(Unscannable):
    """Over the limit. No more than that and one step was ever in memory."""


class TooCostly(Unscannable):
    """The time for it is spent."""


class Blocked(Exception):  # noqa: N818 -- a verdict on input
    """There is something in it with which the policy lets nothing pass. The message names what, without values."""

    def __init__(self, hits: Mapping[str, int]) -> None:
        super().__init__(", ".join(f"{name} ({count})" for name, count in hits.items()))


class InvalidPattern(ValueError):  # noqa: N818 -- a verdict on input
    """A pattern or detector that this sidecar cannot enforce."""

    def __init__(self, name: str, error: str) -> None:
        super().__init__(f"pattern {name!r}: {error}")
        self.name = name

"""What was worked out for a text or headers that a caller chose. Agents ask for the same few again and again, so these
are kept; since they come from agents, no more and no longer ones."""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from toolpolicy_sidecar.upstream.headers import Header

T = TypeVar("T")

TEXTS = 512
CHARACTERS = 256
HEADERS = 64
HEADERS_BYTES = 4096


def remembered(work: Callable[[str], T]) -> Callable[[str], T]:
    """`work`, which always comes to the same for the same text."""
    kept = lru_cache(TEXTS)(work)
    return lambda text: kept(text) if len(text) <= CHARACTERS else work(text)


def remembered_headers(work: Callable[[tuple[Header, ...]], T]) -> Callable[[tuple[Header, ...]], T]:
    """The same for headers. A head that comes again brings the very headers that it had before: to find them by where
    they are takes a tenth of what it takes to compare them."""
    kept: dict[tuple[Header, ...], T] = {}
    by_place: dict[int, tuple[tuple[Header, ...], T]] = {}

    def known(headers: tuple[Header, ...]) -> T:
        same = by_place.get(id(headers))
        if same is not None and same[0] is headers:
            return same[1]
        found = kept.get(headers)
        if found is not None:
            if len(by_place) >= HEADERS:
                del by_place[next(iter(by_place))]
            by_place[id(headers)] = (headers, found)
        else:
            found = work(headers)
            if sum(map(len, chain.from_iterable(headers))) <= HEADERS_BYTES:
                if len(kept) >= HEADERS:
                    del kept[next(iter(kept))]
                kept[headers] = found
        return found

    return known

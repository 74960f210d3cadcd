"""msgspec looks for typing_extensions before it takes the same from `typing`. Loading that is a tenth of the start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unneeded(module: str) -> Iterator[None]:
    """What is loaded meanwhile does not find this module, unless it is there already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment] # this is how Python is told that there is none
    try:
        yield
    finally:
        del sys.modules[module]

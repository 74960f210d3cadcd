"""What libraries load and do not use here takes longer to load than all that is ours."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def unneeded(module: str, **instead: object) -> Iterator[None]:
    """What is loaded meanwhile does not find this module, unless it is there already; or finds one with `instead` in
    it, and no more."""
    if module in sys.modules:
        yield
        return
    found = ModuleType(module) if instead else None
    if found is not None:
        vars(found).update(instead)
    sys.modules[module] = found  # type: ignore[assignment] # None is how Python is told that there is none
    try:
        yield
    finally:
        del sys.modules[module]

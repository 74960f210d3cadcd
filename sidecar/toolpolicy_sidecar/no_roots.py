"""aiohttp reads the system's certificates when it is loaded, twice: for clients that bring none of their own. The only
one here, to the operator, brings its own; reading them takes a tenth of the start, and keeping them some memory.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_roots() -> Iterator[None]:
    """TLS contexts that are made meanwhile trust nobody unless they are told whom."""
    name = ssl.get_default_verify_paths().openssl_cafile_env
    own = os.environ.get(name)
    os.environ[name] = os.devnull
    try:
        yield
    finally:
        if own is None:
            del os.environ[name]
        else:
            os.environ[name] = own

"""Whose sidecar this is."""

from typing import NamedTuple


class Pod(NamedTuple):
    """None where it is not known."""

    agent: str | None = None
    service_account: str | None = None

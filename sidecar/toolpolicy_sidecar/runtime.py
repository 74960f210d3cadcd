"""A snapshot made ready to serve, and the one that is in force."""

from typing import Any, Literal

import msgspec

from toolpolicy_api.channel import ToolReport
from toolpolicy_api.snapshot import Policy, Snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.record import Recorder


class InvalidSnapshot(ValueError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """The message names the field, such as `policies[0].redaction.patterns[1]: …`."""


class UnknownTool(LookupError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """No tool of the policies in force has this name. The message lists those that are."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sidecar takes from the agent and from the tools, whatever the policy says."""

    body_bytes: int = 10 * 1024 * 1024
    """Of a request, and of an answer or event that must be read whole."""
    header_bytes: int = 64 * 1024
    """Of one header line."""
    header_count: int = 128


class Runtime:
    hash: str
    source: str
    policies: tuple[Policy, ...]

    @classmethod
    def build(
        cls,
        snapshot: Snapshot,
        *,
        hash: str,  # noqa: A002 -- the word for it everywhere
        source: str,
        previous: "Runtime | None",
        recorder: Recorder,
        pool: Any,
        limits: Limits,
        clock: Clock,
    ) -> "Runtime":
        """Raises InvalidSnapshot. Circuits and windows of keys that `previous` has too go on as they are."""
        raise NotImplementedError

    def reports(self) -> tuple[ToolReport, ...]:
        """Every circuit as it is now, in the order of the policies."""
        raise NotImplementedError

    def disable(self, tool: str, *, reason: str, for_s: float | None) -> None:
        """Refuses every call of this tool at once, until enabled or `for_s` is over. Raises UnknownTool."""
        raise NotImplementedError

    def enable(self, tool: str) -> None:
        """Takes a `disable` back. Raises UnknownTool."""
        raise NotImplementedError

    def reset(self, tool: str) -> None:
        """Takes a `disable` back and closes the circuit. Raises UnknownTool."""
        raise NotImplementedError


class Current:
    """The one Runtime in force; none at a cold start."""

    runtime: Runtime | None
    in_flight: int
    """Requests being answered now, tool calls or not."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        pool: Any,
        limits: Limits,
        clock: Clock,
        cold_start: Literal["Deny", "Passthrough"] = "Deny",
    ) -> None:
        raise NotImplementedError

    def install(self, snapshot: bytes, source: str) -> Runtime:
        """Puts this snapshot in force at once. Raises InvalidSnapshot, and then keeps the one in force."""
        raise NotImplementedError

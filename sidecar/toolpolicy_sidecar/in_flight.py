"""How many requests are being answered now."""


class InFlight:
    __slots__ = ("pushing", "requests")

    def __init__(self) -> None:
        self.requests = 0
        """Tool calls or not."""
        self.pushing = 0
        """Of those, what ends only when one side wants: event streams of servers, and tunnels."""

    @property
    def waited_for(self) -> int:
        """Requests whose answer somebody waits for."""
        return self.requests - self.pushing

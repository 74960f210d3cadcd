"""Is the share of recent calls that failed, or were slow, at its limit?"""

from toolpolicy_api import snapshot
from toolpolicy_api.duration import render
from toolpolicy_sidecar.resilience.window import CountWindow, TimeWindow


class CallRates:
    """Both shares over one window, once there are enough calls in it to say."""

    __slots__ = ("_config", "_window")

    def __init__(self, config: snapshot.CallRates) -> None:
        self._config = config
        self._window = _window(config)

    def add(self, now: float, *, failed: bool, slow: bool) -> str | None:
        """Counts a call, and says why to open, if there is a reason now."""
        window = self._window
        window.add(now, failed=failed, slow=slow)
        return self._exceeded() if window.failures or window.slow else None

    def counted(self, now: float) -> tuple[int, int, int]:
        """Calls in the window, and of these failures and slow ones."""
        if isinstance(self._window, TimeWindow):
            self._window.advance(now)
        return self._window.calls, self._window.failures, self._window.slow

    def _exceeded(self) -> str | None:
        """Exact: 2 of 3 is 66.67 %, below 67 %."""
        config, window = self._config, self._window
        calls, failures, slow = window.calls, window.failures, window.slow
        if calls < config.minimum_calls:
            return None
        if config.failure_percent is not None and failures * 100 >= config.failure_percent * calls:
            return f"{failures * 100 // calls}% of {calls} calls failed"
        if config.slow_call is not None and slow * 100 >= config.slow_call.percent * calls:
            return f"{slow * 100 // calls}% of {calls} calls took over {render(config.slow_call.over_ms)}"
        return None

    def reconfigure(self, config: snapshot.CallRates) -> None:
        """Keeps the samples, unless a window of calls becomes one of time or the reverse: what was
        counted one way cannot be told the other way. A call that counted as slow stays slow."""
        if isinstance(self._window, CountWindow) and config.calls is not None:
            self._window.resize(config.calls)
        elif isinstance(self._window, TimeWindow) and config.window_ms is not None:
            if config.window_ms != self._config.window_ms:
                self._window = self._window.resized(config.window_ms / 1000)
        else:
            self._window = _window(config)
        self._config = config

    def clear(self) -> None:
        self._window.clear()


def _window(config: snapshot.CallRates) -> CountWindow | TimeWindow:
    if config.calls is not None:
        return CountWindow(config.calls)
    if config.window_ms is None:
        raise ValueError("call rates need calls or window_ms")
    return TimeWindow(config.window_ms / 1000)

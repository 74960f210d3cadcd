"""A process that this one runs around: signals go on to it, and its exit code is ours."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO

_PASSED_ON = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGWINCH,
        signal.SIGCONT,
    }
)
_BY_TERMINAL = 0x80
"""si_code of signals that the kernel sends to every process in a terminal's foreground: the child has got those."""


def hold_signals() -> None:
    """From now on they wait until there is a child. In the main thread, before there are others: those would be
    struck instead."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)


class Child:
    """Running from the start. `ended` is done with the exit code, as shells say it: 128 + n for signal n."""

    def __init__(
        self, command: Sequence[str], *, pipes: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        """`pipes`: to its stdin and stdout; else it has ours, as it has our stderr. Raises OSError. Only once in a
        process, and after `hold_signals`."""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.on_signal: list[asyncio.Event] = []
        """Set when a signal has come that the child gets, too."""
        self._early = signal.sigpending()
        """Signals from before the child was there, which it has not got from the terminal either."""
        pipe = subprocess.PIPE if pipes else None
        self._process = subprocess.Popen(  # noqa: S603 -- what the user asks to be run
            command,
            stdin=pipe,
            stdout=pipe,
            bufsize=0,
            env=env,
            preexec_fn=_as_before,  # noqa: PLW1509 -- takes no lock that another thread could hold
        )
        for work in (self._wait, self._pass_on):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()

    @property
    def stdin(self) -> IO[bytes]:
        if self._process.stdin is None:
            raise RuntimeError("the child was started without pipes")
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        if self._process.stdout is None:
            raise RuntimeError("the child was started without pipes")
        return self._process.stdout

    def send(self, number: int) -> None:
        if not self.ended.done():
            self._process.send_signal(number)

    def _wait(self) -> None:
        code = self._process.wait()
        self._tell(self._ended, 128 - code if code < 0 else code)

    def _ended(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)

    def _pass_on(self) -> None:
        while True:
            info = signal.sigwaitinfo(_PASSED_ON)
            self._tell(self._heard, info.si_signo, info.si_code)

    def _heard(self, number: int, code: int) -> None:
        if code != _BY_TERMINAL or number in self._early:
            self.send(number)
        self._early.discard(signal.Signals(number))
        for event in self.on_signal:
            event.set()

    def _tell(self, what: Callable[..., None], *arguments: int) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed: nobody wants to know
            return


def how_it_ended(code: int) -> str:
    """Half a sentence about a process that ended with this exit code."""
    if code > 128:
        try:
            return f"its process was ended by {signal.Signals(code - 128).name}"
        except ValueError:
            pass
    return f"its process ended with exit code {code}"


def _as_before() -> None:
    """In the child, before it is what it is to be: it takes its signals itself."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)

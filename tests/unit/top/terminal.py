"""A terminal: a real pty, and an emulator that says what is to be seen on it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

from tests.unit.datapath.loopback import HANG_S


class Terminal:
    """With a command in its foreground."""

    def __init__(
        self, command: Sequence[str], columns: int, lines: int, *, env: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        environment = os.environ | {"TERM": "xterm-256color"} | dict(env or {})
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        size = struct.pack("HHHH", lines, columns, 0, 0)
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's job in the background ignores it
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execvpe(command[0], list(command), environment)  # noqa: S606 -- the project's own command

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def type(self, text: bytes) -> None:
        os.write(self._master, text)

    def lines(self) -> list[str]:
        """As they stand on the screen."""
        return [line.rstrip() for line in self._screen.display]

    def until(self, holds: Callable[[list[str]], object]) -> list[str]:
        """Reads what is written, until the screen is so."""
        ends = time.monotonic() + HANG_S
        while not holds(self.lines()):
            left = ends - time.monotonic()
            assert left > 0, "\n".join(self.lines())
            if not self._read(left):
                break
        assert holds(self.lines()), "\n".join(self.lines())
        return self.lines()

    def ended(self) -> int:
        """The exit code; what was written until then is on the screen."""
        while self._read(HANG_S):
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._master)
        return os.waitstatus_to_exitcode(status)

    def _read(self, timeout_s: float) -> bool:
        """False: the command has ended, or wrote nothing in this time."""
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux says so when the other end is closed
            return False
        self._stream.feed(data)
        return bool(data)

"""The last lines of a terminal, kept free for a table while a program writes to the same terminal.

As apt does for its progress bar: the terminal is told to scroll only the lines above (DECSTBM). What the program writes
is not touched, it still writes to the terminal itself, with its colours. Each picture is one write: the kernel lets no
other writer in between."""

import os
from collections.abc import Sequence

_SAVE, _RESTORE = "\x1b7", "\x1b8"
_WHOLE_SCREEN, _CLEAR_BELOW = "\x1b[r", "\x1b[J"


class Footer:
    """On a terminal that somebody else has in the foreground, nothing is drawn."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place: tuple[os.terminal_size, int] | None = None
        """The terminal's size, and how many lines of it are ours."""

    def size(self) -> os.terminal_size:
        return os.get_terminal_size(self._descriptor)

    def draw(self, lines: Sequence[str]) -> None:
        """May wait for the terminal. `lines` are no longer than it is wide."""
        try:
            if os.tcgetpgrp(self._descriptor) != os.getpgrp():
                return
            size = self.size()
            text = "" if self._place == (size, len(lines)) else self._placed(size, len(lines))
            first = size.lines - len(lines) + 1
            text += _SAVE
            text += "".join(f"\x1b[{first + row};1H\x1b[2K{line}" for row, line in enumerate(lines))
            self._write(text + _RESTORE)
        except OSError:  # the terminal is gone
            return

    def close(self) -> None:
        """The terminal is as it was; what the program wrote stays."""
        try:
            if self._place is not None and os.tcgetpgrp(self._descriptor) == os.getpgrp():
                self._write(f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_CLEAR_BELOW}")
        except OSError:
            return
        self._place = None

    def _placed(self, size: os.terminal_size, ours: int) -> str:
        """Room at the bottom, whatever was there; the cursor stays in the line that it is in."""
        self._place = (size, ours)
        old = f"{_SAVE}{_WHOLE_SCREEN}{_RESTORE}{_CLEAR_BELOW}"
        # ESC D goes down and scrolls, but stays in its column, which a line end would not.
        room = "\x1bD" * ours + f"\x1b[{ours}A"
        return f"{old}{room}{_SAVE}\x1b[1;{size.lines - ours}r{_RESTORE}"

    def _write(self, text: str) -> None:
        left = memoryview(text.encode())
        while left:
            left = left[os.write(self._descriptor, left) :]

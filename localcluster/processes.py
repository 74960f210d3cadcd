"""Processes that outlive the command that started them, and are ended only when they are still the same."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TERM_PATIENCE_S = 8.0


class Processes:
    """Those of one state folder: `run/<name>.json` says who it is, `log/<name>.log` what it said."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "run"
        self._logs = folder / "log"

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Nothing happens when the same command runs already."""
        known = self._read(name)
        if known and known["command"] == list(command) and self.alive(name):
            return
        self.stop(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        # It is meant to outlive us: without a return code Python would complain at its own end.
        process.returncode = 0
        record = {"pid": process.pid, "born": born(process.pid), "command": list(command)}
        (self._folder / f"{name}.json").write_text(json.dumps(record))

    def alive(self, name: str) -> bool:
        """A pid is reused sooner or later: the time of birth tells whether it is still ours."""
        known = self._read(name)
        return bool(known) and known["born"] is not None and born(known["pid"]) == known["born"]

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def stop(self, name: str) -> None:
        """TERM, and KILL when that is not heard."""
        if self.alive(name):
            pid = self._read(name)["pid"]
            os.kill(pid, signal.SIGTERM)
            ends = time.monotonic() + TERM_PATIENCE_S
            while self.alive(name) and time.monotonic() < ends:
                _reap(pid)
                time.sleep(0.05)
            if self.alive(name):
                os.kill(pid, signal.SIGKILL)
                _reap(pid, block=True)
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def tail(self, name: str, characters: int = 1500) -> str:
        try:
            return self.log(name).read_text(errors="replace")[-characters:]
        except OSError:
            return "(no log)"

    def _read(self, name: str) -> dict:  # type: ignore[type-arg]  # our own file, read back
        try:
            found: dict[str, object] = json.loads((self._folder / f"{name}.json").read_text())
        except (OSError, ValueError):
            return {}
        return found


def born(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None when there is none (or only its corpse)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _reap(pid: int, *, block: bool = False) -> None:
    """Our own children leave a corpse until they are waited for; others are not ours to wait for."""
    try:
        os.waitpid(pid, 0 if block else os.WNOHANG)
    except ChildProcessError:
        return

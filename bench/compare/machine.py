"""Two cores: one for who is measured, one for everybody else. And what /proc says of a process."""

import os
import socket
import subprocess
import time
from pathlib import Path

MEASURED_CORE = 0
OTHER_CORE = 1
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_WAIT_S = 60.0


def pinned(command: list[str], core: int) -> list[str]:
    """The same command, on this core alone."""
    return ["taskset", "-c", str(core % (os.cpu_count() or 1)), *command]


def anywhere(command: list[str]) -> list[str]:
    """The same command, on every core, wherever we are pinned ourselves."""
    return ["taskset", "-c", f"0-{(os.cpu_count() or 1) - 1}", *command]


def pin(pid: int, core: int) -> None:
    """All threads of a process that runs already."""
    place = str(core % (os.cpu_count() or 1))
    subprocess.run(["taskset", "-a", "-c", "-p", place, str(pid)], check=True, capture_output=True)


def pin_self() -> None:
    os.sched_setaffinity(0, {OTHER_CORE % (os.cpu_count() or 1)})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Raises TimeoutError when nothing listens in time."""
    ends = time.monotonic() + _WAIT_S
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.002)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port} after {_WAIT_S:g} s")


def cpu_s(pid: int) -> float:
    """User and system time of all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

"""Ports for processes that must be told theirs before they start.

Not of the kernel's choice: a port that is given back goes to whoever opens a connection or a server next."""

import random
import socket
from itertools import islice

RANGE = range(24_000, 30_000)
"""Below those that the kernel chooses from (32768 on), and beside what the cluster's own processes have."""
TRIES = 200


def free_ports(count: int) -> list[int]:
    """On loopback, all different. Raises OSError."""
    found = list(islice(filter(_is_free, random.sample(RANGE, TRIES)), count))
    if len(found) < count:
        raise OSError(f"fewer than {count} of {TRIES} ports from {RANGE.start} to {RANGE.stop - 1} are free")
    return found


def free_port() -> int:
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

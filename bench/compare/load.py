"""Two kinds of load: as much as 32 connections can ask for (wrk), and a constant rate that waits for nobody."""

import json
import re
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.compare.machine import OTHER_CORE, pinned
from bench.compare.peers import environment
from bench.compare.work import Call
from localcluster.packages import unpacked

CONNECTIONS = 32
_SPARE_CONNECTIONS = 16
_LAST_ANSWER_S = 5.0


class Wrong(RuntimeError):  # noqa: N818 -- a verdict on an answer
    """What came back is not what must come back: there is nothing to measure."""


def request(port: int, call: Call) -> bytes:
    path, body = call
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nUser-Agent: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def first_answer(port: int, call: Call, expected: bytes) -> None:
    """One call, and an answer of the same JSON as `expected`. Raises Wrong."""
    with socket.create_connection(("127.0.0.1", port), timeout=_LAST_ANSWER_S) as connection:
        connection.sendall(request(port, call))
        answer = b""
        while not _complete(answer):
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    found = answer.partition(b"\r\n\r\n")[2]
    if not answer.startswith(b"HTTP/1.1 200") or json.loads(found) != json.loads(expected):
        raise Wrong(f"not the expected answer: {answer[:300]!r}")


class Flood:
    """wrk, with one thread, on the core that is not measured: the calls in turn."""

    def __init__(self, port: int, calls: list[Call], folder: Path) -> None:
        script = folder / "wrk.lua"
        asked = "\n".join(
            f'asked[{n}] = wrk.format(nil, "{path}", nil, [==[{body.decode()}]==])'
            for n, (path, body) in enumerate(calls)
        )
        script.write_text(
            'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
            'wrk.headers["Accept"] = "application/json, text/event-stream"\n'
            'wrk.headers["User-Agent"] = "bench"\n'
            f"asked, turn = {{}}, 0\nfunction init()\n{asked}\nend\n"
            f"function request() turn = (turn + 1) % {len(calls)}; return asked[turn] end\n"
        )
        binary = shutil.which("wrk") or str(unpacked("wrk") / "usr/bin/wrk")
        flags = ["--threads", "1", "--connections", str(CONNECTIONS), "--script", str(script)]
        self._command = pinned([binary, *flags], OTHER_CORE)
        self._url = f"http://127.0.0.1:{port}/"

    def run(self, seconds: int) -> int:
        """How many calls were answered. Raises Wrong when one was not."""
        command = [*self._command, "--duration", str(seconds), self._url]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise Wrong(done.stdout)
        found = re.search(r"(\d+) requests in", done.stdout)
        if not found:
            raise Wrong(done.stdout)
        return int(found[1])


class Latencies(NamedTuple):
    """Microseconds."""

    p50: float
    p99: float


def steady(port: int, calls: list[Call], *, rate: float, seconds: float) -> Latencies:
    """Calls are due at their times, whatever became of the ones before; each one's time runs from when it was due,
    so that a stall is felt by all that it held up (no coordinated omission)."""
    asked = [request(port, call) for call in calls]
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(_SPARE_CONNECTIONS)]
    for connection in idle:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    busy: dict[socket.socket, tuple[float, bytes]] = {}
    times: list[float] = []
    began = time.perf_counter() + 0.05
    due = [began + number / rate for number in range(int(rate * seconds))]
    sent = 0
    while len(times) < len(due):
        now = time.perf_counter()
        if sent < len(due) and now >= due[sent]:
            connection = idle.pop() if idle else socket.create_connection(("127.0.0.1", port))
            connection.sendall(asked[sent % len(asked)])
            busy[connection] = (due[sent], b"")
            sent += 1
            continue
        wait_s = due[sent] - now if sent < len(due) else _LAST_ANSWER_S
        ready, _, _ = select.select(list(busy), [], [], wait_s)
        if not ready and sent == len(due):
            raise Wrong(f"{len(busy)} calls were not answered")
        for connection in ready:
            at, answer = busy[connection]
            answer += connection.recv(65536)
            if _complete(answer):
                times.append((time.perf_counter() - at) * 1e6)
                del busy[connection]
                idle.append(connection)
            else:
                busy[connection] = (at, answer)
    for connection in idle:
        connection.close()
    times.sort()
    return Latencies(times[len(times) // 2], times[int(len(times) * 0.99)])


def _complete(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    if not blank:
        return False
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")

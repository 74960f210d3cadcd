"""What streams cost in memory: a large body each way, and event streams that only wait.

    python -m bench.streams [--gib 1] [--streams 1000]

The real `toolpolicy sidecar` between a tool server and a client of our own. `+MiB` is how much the sidecar's memory
(RSS) grew over what it was before, at most (bodies) or while all streams are open.
"""

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import uvloop

from bench.compare.machine import free_port, rss_mib, wait_for
from bench.data_path import POLICY, REDACTION, pin, sidecar

PIECE = bytes(256 * 1024)
EVENT = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
GROWTH_MIB = {"body": 8, "streams": 40}
"""What is wanted."""


async def serve_tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """POST: takes a body, however long. GET /bytes/<number>: gives one. Other GETs: one event, and silence."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b" ", 2)
            if method == b"POST":
                left = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                while left:
                    left -= len(await reader.read(min(left, len(PIECE))))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            elif path.startswith(b"/bytes/"):
                left = int(path.rpartition(b"/")[2])
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
                while left:
                    writer.write(PIECE[:left])
                    left -= min(left, len(PIECE))
                    await writer.drain()
            else:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


def tool_server(port: int) -> None:
    pin(1)

    async def main() -> None:
        server = await asyncio.start_server(serve_tool, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    uvloop.run(main())


async def upload(port: int, size_bytes: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/v1/tickets/1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size_bytes)
    left = size_bytes
    while left:
        writer.write(PIECE[:left])
        left -= min(left, len(PIECE))
        await writer.drain()
    await expect_ok(reader)
    writer.close()


async def download(port: int, size_bytes: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/bytes/%d HTTP/1.1\r\nHost: x\r\n\r\n" % size_bytes)
    await expect_ok(reader)
    left = size_bytes
    while left:
        piece = await reader.read(len(PIECE))
        if not piece:
            raise SystemExit("the answer broke off")
        left -= len(piece)
    writer.close()


async def expect_ok(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not the answer that was wanted: {head!r} {await reader.read(2000)!r}")


async def open_streams(port: int, count: int) -> list[asyncio.StreamWriter]:
    """Each has had its first event."""

    async def one() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /kb HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        await expect_ok(reader)
        await reader.readuntil(b"\n\n")
        return writer

    opened: list[asyncio.StreamWriter] = []
    for at in range(0, count, 100):
        opened += await asyncio.gather(*(one() for _ in range(min(100, count - at))))
    return opened


def peak_mib(pid: int) -> float:
    """Since `forget_peak`."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def body(pid: int, name: str, size_bytes: int, moving: Awaitable[None]) -> None:
    forget_peak(pid)
    before, began = rss_mib(pid), time.perf_counter()
    uvloop.run(_awaited(moving))
    took_s = time.perf_counter() - began
    row(name, peak_mib(pid) - before, GROWTH_MIB["body"], f"{size_bytes / 2**20 / took_s:.0f} MiB/s")


async def _awaited(moving: Awaitable[None]) -> None:
    await moving


def streams(pid: int, name: str, port: int, count: int) -> None:
    async def main() -> None:
        warm = await open_streams(port, 10)
        before = rss_mib(pid)
        opened = await open_streams(port, count)
        grown = rss_mib(pid) - before
        row(name, grown, GROWTH_MIB["streams"], f"{grown * 1024 / count:.1f} KiB each")
        for writer in (*warm, *opened):
            writer.transport.abort()

    uvloop.run(main())


def row(name: str, grown_mib: float, wanted_mib: int, more: str) -> None:
    print(f"{name:44} {grown_mib:8.1f} {wanted_mib:8} {more:>16}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gib", type=float, default=1.0)
    parser.add_argument("--streams", type=int, default=1000)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    upstream, size_bytes = free_port(), int(options.gib * 2**30)
    tool = multiprocessing.get_context("spawn").Process(target=tool_server, args=(upstream,), daemon=True)
    tool.start()
    wait_for(upstream)
    pin(1)
    print(f"{'':44} {'+MiB':>8} {'at most':>8}")
    with tempfile.TemporaryDirectory() as folder:
        policies = Path(folder) / "policy.yaml"
        for redaction in ("", REDACTION):
            policies.write_text(
                POLICY.format(port=upstream, redaction=redaction).replace("8s", "10m").replace("3s", "10m")
            )
            reverse = free_port()
            with sidecar(policies, reverse, "--max-body-bytes", str(size_bytes)) as pid:
                uvloop.run(download(reverse, 2**20))
                uvloop.run(upload(reverse, 2**20))
                if not redaction:
                    body(
                        pid,
                        f"a body of {options.gib:g} GiB to the tool",
                        size_bytes,
                        upload(reverse, size_bytes),
                    )
                    body(
                        pid,
                        f"a body of {options.gib:g} GiB from the tool",
                        size_bytes,
                        download(reverse, size_bytes),
                    )
                what = "event streams, redacted" if redaction else "event streams"
                streams(pid, f"{options.streams} {what} that wait", reverse, options.streams)
    tool.terminate()


if __name__ == "__main__":
    main()

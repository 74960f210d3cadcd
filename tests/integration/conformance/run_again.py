"""Runs one script many times without starting Python each time: the suite starts its client forty times at once, and
imports would be all that two cores do.

`run_again.py serve SOCKET SCRIPT` loads the script and what it imports, and says `ready`. For everyone who asks it says
the last argument, waits for a line, and runs the script in a fork. `run_again.py ask SOCKET ARGUMENTS…` asks, with its
own environment and output, and ends as the script does."""

import json
import os
import runpy
import socket
import sys

_SIZE_BYTES = 4
_OUTPUT = (1, 2)
_AT_ONCE = 4
"""More would make each so slow, where two cores have other work, that it gives up on its server."""


def serve(path: str, script: str) -> None:
    runpy.run_path(script, run_name="loaded")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    print("ready", flush=True)
    forks: set[int] = set()
    while True:
        asked, _ = listener.accept()
        size, descriptors, _, _ = socket.recv_fds(asked, _SIZE_BYTES, len(_OUTPUT))
        with asked.makefile("rb") as stream:
            given = json.loads(stream.read(int.from_bytes(size, "big")))
        print(given["arguments"][-1], flush=True)
        sys.stdin.readline()
        if len(forks) >= _AT_ONCE:
            forks.discard(os.wait()[0])
        fork = os.fork()
        if fork == 0:
            listener.close()
            for theirs, ours in zip(descriptors, _OUTPUT, strict=True):
                os.dup2(theirs, ours)
            os.environ.clear()
            os.environ.update(given["environment"])
            sys.argv = [script, *given["arguments"]]
            asked.sendall(bytes([_ended(script)]))
            os._exit(0)
        forks.add(fork)
        for descriptor in descriptors:
            os.close(descriptor)
        asked.close()


def _ended(script: str) -> int:
    """The exit code of one run."""
    code: object = None
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 -- as the interpreter does at its end
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code & 0xFF if isinstance(code, int) else int(code is not None)


def ask(path: str, arguments: list[str]) -> int:
    asked = socket.socket(socket.AF_UNIX)
    asked.connect(path)
    given = json.dumps({"environment": dict(os.environ), "arguments": arguments}).encode()
    socket.send_fds(asked, [len(given).to_bytes(_SIZE_BYTES, "big")], _OUTPUT)
    asked.sendall(given)
    return (asked.recv(1) or b"\x01")[0]


if __name__ == "__main__":
    what, where, *rest = sys.argv[1:]
    if what == "serve":
        serve(where, rest[0])
    else:
        sys.exit(ask(where, rest))

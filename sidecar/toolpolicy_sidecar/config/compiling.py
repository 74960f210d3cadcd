"""Policy files compiled in a process of its own, which ends: what it takes to read them, 15 MB of pydantic and YAML, is
not kept beside the agent, a reload holds up no call, and at start it goes on beside this process's own imports."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from toolpolicy_sidecar.config.files import BadPolicies, content

LOOK_EVERY_S = 0.5


class Compiling:
    """Begins at once, so that nothing else is loaded before it. `found`: the files and what is in them."""

    def __init__(self, found: list[tuple[Path, bytes]]) -> None:
        self.found = found
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "toolpolicy_sidecar.config.compiler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; without us it ends
        )

    async def result(self) -> bytes:
        """Canonical JSON of the snapshot. Raises BadPolicies with every finding."""
        import asyncio  # noqa: PLC0415 -- the process begins before this is loaded

        import msgspec  # noqa: PLC0415 -- the same

        given = msgspec.msgpack.encode([(str(path), data) for path, data in self.found])
        try:
            said, _ = await asyncio.to_thread(self._process.communicate, given)
        except BaseException:
            self._process.kill()
            raise
        if self._process.returncode:
            raise BadPolicies([f"compiling the policies ended with exit code {self._process.returncode}"])
        snapshot, lines = msgspec.msgpack.decode(said, type=tuple[bytes, list[str]])
        if lines:
            raise BadPolicies(lines)
        return snapshot


async def changes(where: Path, known: list[tuple[Path, bytes]]) -> AsyncIterator[bytes | BadPolicies]:
    """After `known`, for ever: each change as a snapshot, or what is wrong with it, which is said once."""
    import asyncio  # noqa: PLC0415 -- see above

    refused: list[str] = []
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            found = content(where)
            if found == known:
                continue
            known = found
            data = await Compiling(found).result()
        except BadPolicies as bad:
            if bad.lines != refused:
                refused = bad.lines
                yield bad
        else:
            refused = []
            yield data

"""The process that compiles policy files. What starts it waits for it: it loads nothing that it does not need."""

import gc
import sys
from pathlib import Path

from toolpolicy_sidecar.unneeded import unneeded


def main() -> None:
    """Files on standard input, a snapshot or what is wrong on standard output. Until EOF."""
    gc.disable()  # a process this short leaves nothing that memory would be short of
    # What takes long is loaded before what to do is known.
    import msgspec  # noqa: PLC0415 -- see above
    import yaml  # noqa: F401, PLC0415 -- the same

    # pydantic would look through everything that is installed for plugins of its own.
    with unneeded("importlib.metadata", entry_points=lambda **_: ()):
        from toolpolicy_api import check  # noqa: F401, PLC0415 -- the same
    from toolpolicy_sidecar.config.files import BadPolicies, compile_files  # noqa: PLC0415 -- the same

    given = sys.stdin.buffer.read()
    if not given:  # who asked is gone
        return
    found = [(Path(path), data) for path, data in msgspec.msgpack.decode(given, type=list[tuple[str, bytes]])]
    said: tuple[bytes, list[str]]
    try:
        said = (compile_files(found), [])
    except BadPolicies as bad:
        said = (b"", bad.lines)
    sys.stdout.buffer.write(msgspec.msgpack.encode(said))


if __name__ == "__main__":
    main()

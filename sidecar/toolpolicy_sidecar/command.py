"""`toolpolicy sidecar`."""

import gc
import resource
import sys

from toolpolicy_sidecar.unneeded import unneeded


def run(argv: list[str]) -> int:
    """Until TERM. Exit 0 after TERM, 2 when the command line or the policies are wrong."""
    gc.disable()  # until it serves: hardly anything that is loaded goes again
    from toolpolicy_sidecar.settings import parse  # noqa: PLC0415 -- other verbs need not load it

    settings = parse(argv)

    from toolpolicy_sidecar.config import files  # noqa: PLC0415 -- `--help` need not load it
    from toolpolicy_sidecar.config.compiling import Compiling  # noqa: PLC0415 -- the same

    try:
        # Policies are compiled on another core while this one loads the rest.
        compiling = Compiling(files.content(settings.policies)) if settings.policies else None

        with unneeded("typing_extensions"):
            import msgspec  # noqa: F401, PLC0415 -- see above
        import asyncio  # noqa: PLC0415 -- the same

        import uvloop  # noqa: PLC0415 -- the same

        from toolpolicy_sidecar.aside import SWITCH_S  # noqa: PLC0415 -- the same
        from toolpolicy_sidecar.log import configure  # noqa: PLC0415 -- the same
        from toolpolicy_sidecar.process import serve  # noqa: PLC0415 -- the same

        configure(settings.log_level)
        sys.setswitchinterval(SWITCH_S)
        take_all_files()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(serve(settings, compiling))
    except files.BadPolicies as bad:
        print(bad, file=sys.stderr)  # noqa: T201 -- a command line tool prints
        return 2
    except OSError as error:
        print(f"toolpolicy sidecar: {error}", file=sys.stderr)  # noqa: T201 -- the same
        return 1


def take_all_files() -> None:
    """Two sockets for each stream: the soft limit of 1,024, kept for programs that still use select(), is soon over."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

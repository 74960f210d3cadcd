import os
import resource
import subprocess
import sys
from pathlib import Path

from toolpolicy_sidecar.command import take_all_files


def test_streams_are_not_limited_by_what_a_shell_gives() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        take_all_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


POLICIES = Path(__file__).parents[3] / "examples/policies"


def test_without_the_c_parser_nothing_is_served() -> None:
    """The Python one of aiohttp takes requests that smuggle others."""
    command = [sys.executable, "-m", "toolpolicy_api.command", "sidecar", "--policies", str(POLICIES)]
    addresses = [f"--{name}=127.0.0.1:0" for name in ("reverse", "admin", "metrics")]
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"}
    ended = subprocess.run(
        [*command, *addresses], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "aiohttp's C extensions are missing" in ended.stderr
    assert "Traceback" not in ended.stderr

"""The example on the page of `toolpolicy stdio` does what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

TEXT = (Path(__file__).parents[3] / "docs" / "stdio.md").read_text(encoding="utf-8")


def test_the_call_by_hand(tmp_path: Path) -> None:
    (policy,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
    ((command, shown),) = re.findall(r"```console\n\$ (.*?\n> .*?)\n(.*?)```", TEXT, re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S602 -- the page's own words, for a shell
        command.replace("\n> ", "\n"),
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (shown, 3), done.stderr

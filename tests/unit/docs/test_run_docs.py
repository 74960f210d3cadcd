"""The example on the page of `toolpolicy run` does what the page shows."""

import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parents[3] / "docs" / "run.md").read_text(encoding="utf-8")


class Broken(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def test_the_worked_example(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    text = TEXT.replace("8080", str(server.server_port))
    (policy,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
    ((command, shown),) = re.findall(r"```console\n\$ (.*?)\n(.*?)```", text, re.DOTALL)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S602 -- the page's own words, for a shell
        f"{command} 2>&1; code=$?; echo '$ echo $?'; echo $code",
        shell=True,
        cwd=tmp_path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    server.shutdown()
    server.server_close()
    printed, expected = (re.sub(r"[0-9.]+ m?s ", "5 ms ", text).split() for text in (done.stdout, shown))
    assert printed == expected

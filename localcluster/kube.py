"""kubectl and helm against one cluster, as functions."""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

TIMEOUT_S = 180.0
WEBHOOK_PATIENCE_S = 5.0
"""kube-proxy learns of a ready pod a little after everybody else."""
T = TypeVar("T")


class CommandFailed(RuntimeError):  # noqa: N818 -- says what happened
    """The command's own words, last lines first to read."""


class Kube(NamedTuple):
    """One cluster: its kubeconfig and context, and the binaries to talk to it with."""

    kubeconfig: Path
    context: str
    kubectl_path: str = "kubectl"
    helm_path: str = "helm"

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
        """Standard output. Raises CommandFailed with standard error."""
        where = ("--kubeconfig", str(self.kubeconfig), "--context", self.context)
        return run([self.kubectl_path, *where, *arguments], stdin=stdin, timeout_s=timeout_s)

    def helm(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        where = ("--kubeconfig", str(self.kubeconfig), "--kube-context", self.context)
        return run([self.helm_path, *where, *arguments], timeout_s=timeout_s)

    def get(self, kind: str, name: str = "", namespace: str = "", **selectors: str) -> Any:
        """The object, or the list's `items` when no name is given."""
        arguments = ["get", kind, *([name] if name else []), "-o", "json"]
        if namespace:
            arguments += ["-n", namespace]
        for flag, value in selectors.items():
            arguments.append(f"--{flag.replace('_', '-')}={value}")
        found = json.loads(self.kubectl(*arguments))
        return found if name else found["items"]

    def apply(self, document: str | Mapping[str, Any]) -> str:
        """YAML text or one object. A webhook that was ready a moment ago may not be reachable yet: tried again."""
        text = document if isinstance(document, str) else json.dumps(document)
        ends = time.monotonic() + WEBHOOK_PATIENCE_S
        while True:
            try:
                return self.kubectl("apply", "-f", "-", stdin=text)
            except CommandFailed as failed:
                if "failed to call webhook" not in str(failed) or time.monotonic() > ends:
                    raise
            time.sleep(0.5)


def run(command: Sequence[str], *, stdin: str | None = None, timeout_s: float = TIMEOUT_S) -> str:
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join([command[0], *command[5:]])}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def wait_until(probe: Callable[[], T], *, seconds: float, what: str, every_s: float = 0.1) -> T:
    """Asks `probe` until it says something true; raises TimeoutError naming `what` and the last answer."""
    ends = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > ends:
            raise TimeoutError(f"after {seconds:g} s not yet: {what} (last answer: {answer!r})")
        time.sleep(every_s)

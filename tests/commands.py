"""The commands of runbooks and of docs/operating.md, as someone would copy them, and where a test runs them.

What no test runs has no kind, and that fails a test (tests/unit/runbook)."""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from toolpolicy_api.check import parse
from toolpolicy_operator.runbook.page import pages

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "operating.md", *sorted((ROOT / "docs" / "runbooks").glob("*.md"))]
"""A runbook takes back what the first one has switched off."""
POLICIES = [*sorted((ROOT / "examples" / "policies").glob("*.yaml")), ROOT / "examples/demo/policy.yaml"]

Kind = Literal["cluster", "node", "promql", "alertmanager", "toolpolicy"]
"""cluster: a real API server is enough (tests/integration). node: needs a running pod (tests/e2e). promql:
Prometheus. alertmanager: amtool. toolpolicy: the command line alone."""

WITHIN_S = 30
_PROGRAMS = ("kubectl", "helm", "amtool", "toolpolicy")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4,}(?! *[-*|])(\S.*)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`\n]+)`")
_METRIC = re.compile(r"\btoolpolicy_\w+")


class Command(NamedTuple):
    """`kind` None: no test runs it. `page` is where it stands."""

    text: str
    kind: Kind | None
    page: str


def kind(text: str) -> Kind | None:
    program = text.split(maxsplit=1)[0]
    if text.startswith("POD=") or program in {"kubectl", "helm"}:
        return "node" if re.match(r"kubectl (exec|logs|port-forward) ", text) else "cluster"
    if program == "amtool":
        return "alertmanager"
    if program == "toolpolicy":
        return "toolpolicy"
    if _METRIC.search(text):
        return "promql"
    return None


def commands(markdown: str, page: str) -> list[Command]:
    """Each line of a block of commands, and what stands in a sentence and begins with a program: but `kubectl
    describe` and the like are names."""
    found: list[str] = []
    for language, block in _FENCED.findall(markdown):
        if language != "yaml":
            found += block.splitlines()
    rest = _FENCED.sub("", markdown)
    found += _INDENTED.findall(rest)
    found += [
        text for text in _INLINE.findall(rest) if text.split()[0] in _PROGRAMS and len(text.split()) > 2
    ]
    return [Command(text, kind(text), page) for text in found]


def of_docs() -> list[Command]:
    """Of these pages. Those of one page that are the same are one."""
    return [
        each
        for path in PAGES
        for each in dict.fromkeys(commands(path.read_text(encoding="utf-8"), path.stem))
    ]


def of_policy(path: Path) -> list[Command]:
    """Of the pages that `toolpolicy runbook` makes of a file."""
    found = [
        (page, str(document["metadata"]["name"]))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        for page in pages(parse(document))
    ]
    return [each for page, name in found for each in commands(page, name)]


def failures(
    found: Iterable[Command], names: Mapping[str, str], environment: Mapping[str, str], folder: Path = ROOT
) -> list[str]:
    """Runs them in bash, one after the other; what fails, with its words. `names`: what is put in for NS, NAME and so
    on."""
    failed = []
    for each in dict.fromkeys(each.text for each in found):
        text = each
        for name, value in names.items():
            text = re.sub(rf"(?<![\w$]){re.escape(name)}(?![\w=])", value.replace("\\", r"\\"), text)
        if text.startswith("POD="):
            text += '; test -n "$POD"'
        try:
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", text],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            failed.append(f"{text}\n  not within {WITHIN_S} s")
            continue
        nothing_found = done.returncode == 1 and "grep" in text and not done.stderr
        if done.returncode and not nothing_found:
            failed.append(f"{text}\n  {done.returncode}: {done.stderr or done.stdout}")
    return failed

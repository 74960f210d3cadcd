"""`toolpolicy redact` and `toolpolicy detectors`."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes
from typing import BinaryIO

import msgspec

from toolpolicy_sidecar.config.files import BadPolicies
from toolpolicy_sidecar.filter.choice import EVERYTHING, NoChoice, redaction
from toolpolicy_sidecar.filter.explain import Explainer
from toolpolicy_sidecar.filter.lines import Lines, Outcome
from toolpolicy_sidecar.redact.detectors import DETECTORS
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor

MAX_LINE_BYTES = 64 * 1024 * 1024
_TOO_LONG = f"a line over {MAX_LINE_BYTES} bytes"
_WITHHELD = 3


class Report:
    """What was done, for standard error: counts, never values."""

    def __init__(self) -> None:
        self.lines = self.documents = self.changed = self.withheld = 0
        self.hits = Counter[str]()

    def add(self, outcome: Outcome) -> None:
        self.lines += 1
        self.documents += outcome.is_json
        self.changed += bool(outcome.hits)
        self.withheld += outcome.withheld is not None
        self.hits.update(outcome.hits)

    def text(self) -> str:
        taken = f"{self.hits.total()} texts taken out of {self.changed} lines"
        said = [f"{self.lines} lines ({self.documents} JSON): {taken}, {self.withheld} lines withheld"]
        for name, count in sorted(self.hits.items(), key=lambda item: (-item[1], item[0])):
            confidence = DETECTORS[name].confidence if name in DETECTORS else "of the policy"
            said.append(f"  {name:28} {confidence:14} {count:>8}")
        return "\n".join(said)


def run(argv: list[str]) -> int:
    """Exit 0: done. 2: the command line, a file or the policy is wrong. 3: lines were withheld, because they could
    not be read or hold what the policy blocks. 130: interrupted."""
    given = _parser().parse_args(argv)
    try:
        rules = EVERYTHING if given.policies is None else redaction(given.policies, given.policy, given.tool)
        redactor = Redactor.compile(rules, token_bytes(32))
    except (BadPolicies, NoChoice, InvalidPattern) as wrong:
        return _complain(str(wrong))
    explainer = Explainer(rules) if given.explain else None
    report = Report()
    try:
        for name in given.files or ["-"]:
            if name == "-":
                _filter(sys.stdin.buffer, "-", Lines(redactor), report, explainer)
            else:
                with Path(name).open("rb") as source:
                    _filter(source, name, Lines(redactor), report, explainer)
    except BrokenPipeError:  # whoever reads has enough; nothing is left for the interpreter to flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(f"{error.filename or 'standard input'}: {error.strerror}")
    except KeyboardInterrupt:
        return 130
    if not given.quiet:
        _complain(report.text())
    return _WITHHELD if report.withheld else 0


def detectors(argv: list[str]) -> int:
    """`toolpolicy detectors`."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy detectors", description="Everything that redaction can look for, by name."
    )
    parser.add_argument("--json", action="store_true", help="one JSON document a line, with sources")
    as_json = parser.parse_args(argv).json
    for each in DETECTORS.values():
        groups = [group for group in each.groups if group != each.name]
        if as_json:
            row = {"name": each.name, "groups": groups, "confidence": each.confidence}
            line = msgspec.json.encode(
                row | {"description": each.description, "source": each.source}
            ).decode()
        else:
            line = f"{each.name:28} {each.confidence:7} {','.join(groups):18} {each.description}"
        print(line)  # noqa: T201 -- a command line tool prints
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toolpolicy redact",
        description="The sidecar's redaction as a filter. Each line that is a JSON document is redacted as one and"
        " stays one line; other lines are text. What was done is reported on standard error, without values.",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", help="default, and `-`: standard input")
    parser.add_argument(
        "--policies",
        type=Path,
        metavar="F",
        help="a file or folder of ToolPolicies; default: all detectors, Mask",
    )
    parser.add_argument("--policy", metavar="NAME", help="which of them, where several redact")
    parser.add_argument("--tool", metavar="NAME", help="as for calls of this tool")
    parser.add_argument("--explain", action="store_true", help="why each hit was one, on standard error")
    parser.add_argument("--quiet", action="store_true", help="no report")
    return parser


def _filter(source: BinaryIO, name: str, lines: Lines, report: Report, explainer: Explainer | None) -> None:
    """Each line leaves as soon as it is redacted."""
    out = sys.stdout.buffer
    for number, (line, end) in enumerate(_lines(source), 1):
        if len(line) > MAX_LINE_BYTES:
            outcome = Outcome(f"[withheld: {_TOO_LONG}]".encode(), {}, is_json=False, withheld=_TOO_LONG)
        else:
            outcome = lines.redact(line)
        out.write(outcome.value + end)
        out.flush()
        report.add(outcome)
        if explainer is None:
            continue
        if outcome.withheld is not None:
            _complain(f"{name}:{number}: withheld: {outcome.withheld}")
        if outcome.hits:
            for reason in explainer.reasons(line, is_json=outcome.is_json):
                _complain(f"{name}:{number}: {reason}")


def _lines(source: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    r"""Each with its end, `\n` or `\r\n` or nothing. Of one that is too long, no more than one byte over the limit."""
    while line := source.readline(MAX_LINE_BYTES + 1):
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = source.readline(MAX_LINE_BYTES + 1)
        end = b"\r\n" if rest.endswith(b"\r\n") else b"\n" if rest.endswith(b"\n") else b""
        yield (line[: len(line) - len(end)] if rest is line else line), end


def _complain(text: str) -> int:
    print(text, file=sys.stderr)  # noqa: T201 -- a command line tool prints
    return 2

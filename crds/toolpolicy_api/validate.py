"""`toolpolicy validate FILE…`: says before `kubectl apply` what the cluster would say."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from toolpolicy_api.check import Finding, check


def documents(text: str) -> Iterator[Any]:
    """The non-empty YAML documents of a file. Raises yaml.YAMLError."""
    yield from (document for document in yaml.safe_load_all(text) if document is not None)


def run(argv: list[str]) -> int:
    """Exit 0: all good. 1: findings, one a line. 2: a file could not be read."""
    parser = argparse.ArgumentParser(prog="toolpolicy validate", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="ToolPolicies as YAML")
    code = 0
    for path in parser.parse_args(argv).files:
        try:
            found = list(documents(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            _say(f"{path}: cannot be read: {' '.join(str(error).split())}", error=True)
            code = 2
            continue
        if not found:
            _say(f"{path}: holds no ToolPolicy", error=True)
            code = max(code, 1)
        for document in found:
            name = _name(document)
            findings: list[Finding] = check(document)
            for finding in findings:
                _say(f"{path}: {name}: {finding}", error=True)
            if findings:
                code = max(code, 1)
            else:
                _say(f"{path}: {name}: valid")
    return code


def print_crd(argv: list[str]) -> int:
    """`toolpolicy crd`: the CustomResourceDefinition as YAML."""
    from toolpolicy_api.crd import text  # noqa: PLC0415 -- builds every schema; no other verb needs it

    argparse.ArgumentParser(prog="toolpolicy crd", description=print_crd.__doc__).parse_args(argv)
    sys.stdout.write(text())
    return 0


def _name(document: Any) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) else "(no name)"


def _say(line: str, *, error: bool = False) -> None:
    print(line, file=sys.stderr if error else sys.stdout)

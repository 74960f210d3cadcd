"""`toolpolicy runbook`: the pages of a policy's tools, on standard output."""

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

import yaml

from toolpolicy_api.check import Invalid, parse
from toolpolicy_api.policy import ToolPolicy
from toolpolicy_api.validate import documents
from toolpolicy_operator.runbook.page import pages


class NoPolicy(Exception):  # noqa: N818 -- a verdict on input
    """The message says where nothing was found, and what to do."""


def run(argv: list[str]) -> int:
    """Exit 0: written. 1: there is no such policy, or it is invalid. 2: the command line is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy runbook",
        description="Writes a page of Markdown for each tool of a policy: what it needs, what breaks with it, checks,"
        " and how to take it out of use.",
    )
    parser.add_argument(
        "policy", nargs="?", metavar="NAMESPACE/NAME", help="of the cluster that kubectl talks to, or of FILE"
    )
    parser.add_argument("--policies", type=Path, metavar="FILE", help="read ToolPolicies from here")
    given = parser.parse_args(argv)
    namespace, _, name = (given.policy or "").partition("/")
    if given.policy and not (namespace and name):
        parser.error(f"{given.policy!r} is no NAMESPACE/NAME")
    if not (given.policy or given.policies):
        parser.error("say NAMESPACE/NAME, or --policies FILE")
    try:
        found = (
            _of_file(given.policies, given.policy)
            if given.policies
            else [parse(_of_cluster(namespace, name))]
        )
    except NoPolicy as none:
        return _complain(str(none))
    except Invalid as invalid:
        what = given.policy or given.policies
        return _complain("\n".join(f"{what}: {finding}" for finding in invalid.findings))
    text = "\n".join(page for policy in found for page in pages(policy))
    if not text:
        return _complain(
            f"{given.policy or given.policies}: no tool is listed, so there is nothing to say of any"
        )
    sys.stdout.write(text)
    return 0


def _of_file(path: Path, wanted: str | None) -> list[ToolPolicy]:
    """Raises NoPolicy, Invalid."""
    try:
        read = [parse(each) for each in documents(path.read_text(encoding="utf-8"))]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NoPolicy(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    found = [each for each in read if wanted in {None, f"{each.metadata.namespace}/{each.metadata.name}"}]
    if not found:
        raise NoPolicy(f"{path}: holds no ToolPolicy{f' {wanted}' if wanted else ''}")
    return found


def _of_cluster(namespace: str, name: str) -> Any:
    """Raises NoPolicy."""
    try:
        from kubernetes.config import ConfigException  # noqa: PLC0415 -- --policies needs none of it

        from toolpolicy_operator.api import Api, ApiError, policy_path  # noqa: PLC0415 -- the same
    except ModuleNotFoundError as missing:
        raise NoPolicy(
            f"{missing.name} is not installed; pip install 'toolpolicy[operator]', or use --policies FILE"
        ) from None
    try:
        api = Api(threads=1)
    except ConfigException as error:
        raise NoPolicy(f"no cluster is configured: {error}; or use --policies FILE") from None
    try:
        return asyncio.run(api.get(policy_path(namespace, name)))
    except ApiError as error:
        if error.status == 404:
            raise NoPolicy(f"{namespace}/{name}: the cluster has no such ToolPolicy") from None
        raise NoPolicy(f"{namespace}/{name}: cannot be read from the cluster: {error}") from None
    finally:
        api.close()


def _complain(text: str) -> int:
    print("\n".join(f"toolpolicy runbook: {line}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201 -- a command line tool prints
    return 1

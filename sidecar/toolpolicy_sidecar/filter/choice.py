"""Which redaction a filter applies: everything there is, or that of a policy or of one of its tools."""

from pathlib import Path

from toolpolicy_api import snapshot
from toolpolicy_sidecar.config.files import compile_files, content

EVERYTHING = snapshot.Redaction(detectors=("Secrets", "PII", "Financial"))


class NoChoice(ValueError):  # noqa: N818 -- a verdict on input
    """The files do not say which redaction is meant. The message says what to add."""


def redaction(policies: Path, policy: str | None, tool: str | None) -> snapshot.Redaction:
    """Of the only policy that redacts anything, or of the one named; `tool`: as for calls of this tool. Raises
    BadPolicies, NoChoice."""
    found = snapshot.decode_snapshot(compile_files(content(policies))).policies
    named = [each for each in found if policy in {None, each.name, each.key}]
    if tool is not None:
        named = [each for each in named if any(own.name == tool for own in each.tools)]
    given = [(each, _of(each, tool)) for each in named]
    redacting = [(each, own) for each, own in given if own is not None and not own.idle]
    if not redacting:
        what = "policy" if policy is None else f"policy {policy!r}"
        with_tool = "" if tool is None else f" with a tool {tool!r}"
        raise NoChoice(f"{policies}: no {what}{with_tool} redacts anything")
    if len(redacting) > 1:
        names = ", ".join(each.key for each, _ in redacting)
        raise NoChoice(f"{policies}: several policies redact ({names}); name one with --policy")
    return redacting[0][1]


def _of(policy: snapshot.Policy, tool: str | None) -> snapshot.Redaction | None:
    own = next((each.redaction for each in policy.tools if each.name == tool), None)
    return policy.redaction if own is None else own

"""Standalone: ToolPolicies as YAML files. Selectors are not asked: the one process here is the agent."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolpolicy_api.check import Finding


class BadPolicies(ValueError):  # noqa: N818 -- a verdict on input
    """One line for each thing that is wrong: file, policy, field, remedy."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def content(where: Path) -> list[tuple[Path, bytes]]:
    """The files as they are now, in order of their names. Raises BadPolicies."""
    paths = sorted([*where.glob("*.yaml"), *where.glob("*.yml")]) if where.is_dir() else [where]
    try:
        found = [(path, path.read_bytes()) for path in paths]
    except OSError as error:
        raise BadPolicies([f"{error.filename or where}: {error.strerror}"]) from None
    if not found:
        raise BadPolicies([f"{where}: no *.yaml in this folder"])
    return found


def compile_files(found: list[tuple[Path, bytes]]) -> bytes:
    """Canonical JSON of the snapshot. Raises BadPolicies with every finding."""
    # pydantic and yaml cost 15 MB: only who compiles pays for them. What is here is loaded before the compiler runs.
    import msgspec  # noqa: PLC0415 -- see above
    import yaml  # noqa: PLC0415 -- the same

    from toolpolicy_api import snapshot  # noqa: PLC0415 -- the same
    from toolpolicy_api.check import Finding, Invalid, parse  # noqa: PLC0415 -- see above
    from toolpolicy_api.compile import compile_policy  # noqa: PLC0415 -- see above
    from toolpolicy_api.resolve import resolve  # noqa: PLC0415 -- the same

    lines: list[str] = []
    policies: list[snapshot.Policy] = []

    def complain(path: Path, name: object, findings: "list[Finding]") -> None:
        lines.extend(f"{path}: {name}: {finding}" for finding in findings)

    for order, (path, data) in enumerate(found):
        try:
            documents = [document for document in yaml.safe_load_all(data) if document is not None]
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            lines.append(f"{path}: no YAML: {' '.join(str(error).split())}")
            continue
        for document in documents:
            metadata = document.get("metadata") if isinstance(document, dict) else None
            name = metadata.get("name") if isinstance(metadata, dict) else "(no name)"
            try:
                policy = compile_policy(parse(document))
            except Invalid as invalid:
                complain(path, name, invalid.findings)
                continue
            # The order of the files stands for the age of the policies.
            everything = snapshot.Selector()
            policies.append(msgspec.structs.replace(policy, created=f"{order:06}", selector=everything))
    resolution = resolve(policies, {})
    for conflict in resolution.conflicts:
        text = (
            f"{conflict.kind.lower()} {conflict.name!r} is already claimed by {conflict.winner}; rename one"
        )
        complain(Path(conflict.loser), conflict.kind, [Finding("spec", text)])
    if not policies and not lines:
        lines.append("no ToolPolicy found")
    if lines:
        raise BadPolicies(lines)
    return snapshot.encode(resolution.snapshot)

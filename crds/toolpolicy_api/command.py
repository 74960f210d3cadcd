"""`toolpolicy`: one command, each verb loaded only when it is asked for."""

import sys
from importlib import import_module

VERBS = {
    "sidecar": ("toolpolicy_sidecar.command:run", "the proxy beside an agent"),
    "stdio": ("toolpolicy_sidecar.stdio.command:run", "the same for an MCP server that speaks over pipes"),
    "run": ("toolpolicy_sidecar.run.command:run", "runs a command with a sidecar around it"),
    "operator": (
        "toolpolicy_operator.command:operator",
        "turns ToolPolicies into the sidecars' configuration",
    ),
    "webhook": ("toolpolicy_operator.command:webhook", "injects sidecars, validates ToolPolicies"),
    "redirect": (
        "toolpolicy_sidecar.redirect:run",
        "leads a pod's outbound connections to its sidecar (root, once)",
    ),
    "simulate": ("toolpolicy_sidecar.simulate.command:run", "shows what policies would do in an incident"),
    "redact": (
        "toolpolicy_sidecar.filter.command:run",
        "takes secrets and personal data out of files and pipes",
    ),
    "detectors": ("toolpolicy_sidecar.filter.command:detectors", "lists what redaction can look for"),
    "top": (
        "toolpolicy_sidecar.top.command:run",
        "shows a sidecar's circuits and failing calls in a terminal",
    ),
    "switch": (
        "toolpolicy_sidecar.switch:run",
        "takes a tool out of use in one sidecar, or lets its calls pass",
    ),
    "runbook": (
        "toolpolicy_operator.runbook.command:run",
        "writes what to do when a tool of a policy breaks",
    ),
    "validate": ("toolpolicy_api.validate:run", "checks policy files as the cluster would"),
    "crd": ("toolpolicy_api.validate:print_crd", "prints the CustomResourceDefinition"),
}


def usage() -> str:
    lines = [f"  {verb:<10} {text}" for verb, (_, text) in VERBS.items()]
    return (
        "usage: toolpolicy VERB [OPTION…]\n\n" + "\n".join(lines) + "\n\n`toolpolicy VERB --help` tells more."
    )


def main(argv: list[str] | None = None) -> int:
    """Runs one verb; returns its exit code. Exit 2: the command line was wrong."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())  # noqa: T201 -- a command line tool prints
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version  # noqa: PLC0415 -- costs start-up time that no other verb needs

        print(f"toolpolicy {version('toolpolicy')}")  # noqa: T201 -- a command line tool prints
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        print(f"toolpolicy: no verb {verb!r}\n{usage()}", file=sys.stderr)  # noqa: T201 -- the same
        return 2
    module_name, function_name = VERBS[verb][0].split(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as missing:
        package = "rich" if missing.name == "rich" else module_name.split(".")[0]
        extra = {
            "toolpolicy_sidecar": "sidecar",
            "toolpolicy_operator": "operator",
            "rich": "cli",
        }.get(package)
        if extra is None or (missing.name or "").startswith("toolpolicy_"):
            raise
        print(  # noqa: T201 -- the same
            f"toolpolicy {verb}: {missing.name} is not installed; pip install 'toolpolicy[{extra}]'",
            file=sys.stderr,
        )
        return 2
    return int(getattr(module, function_name)(rest))


if __name__ == "__main__":
    sys.exit(main())

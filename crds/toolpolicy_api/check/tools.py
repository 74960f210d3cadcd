"""Which calls are calls of which tool."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from toolpolicy_api import policy as written
from toolpolicy_api.check.fallback import check_other_tools
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.check.retry import check_keys_over_pipes
from toolpolicy_api.check.rules import check_rules
from toolpolicy_api.check.slo import check_slo

_AMBIGUOUS = ("//", ";", "\\", "%2f", "%5c", "%00", "%2e")
"""In a path these can be read in two ways: the sidecar refuses such requests, so no tool may wait for them."""


def check_tools(spec: written.Spec) -> Iterator[Finding]:
    protocols = {server.name: server.protocol for server in spec.servers}
    names: dict[str, int] = {}
    for index, tool in enumerate(spec.tools):
        field = f"spec.tools[{index}]"
        if names.setdefault(tool.name, index) != index:
            yield Finding(
                f"{field}.name",
                f"{tool.name!r} is already spec.tools[{names[tool.name]}]; give it a name of its own",
            )
        protocol = protocols.get(tool.server)
        if protocol is None:
            known = ", ".join(sorted(protocols))
            yield Finding(f"{field}.server", f"no server {tool.server!r} in spec.servers; known: {known}")
        else:
            yield from _match(tool.match, protocol, field)
        yield from check_rules(tool, spec.defaults, field)
        if tool.slo:
            yield from check_slo(tool.slo, f"{field}.slo")
    if sum(tool.slo is not None for tool in spec.tools) > written.SLO_TOOLS:
        yield Finding("spec.tools", f"at most {written.SLO_TOOLS} tools of a policy can have an slo")
    yield from _unreachable(spec)
    yield from check_other_tools(spec)
    yield from check_keys_over_pipes(spec)


def _match(match: written.Match | None, protocol: str, field: str) -> Iterator[Finding]:
    if match is None:
        if protocol == "HTTP":
            yield Finding(
                f"{field}.match", "an HTTP tool needs a path, such as {methods: [POST], path: /v1/tickets}"
            )
        return
    if (match.tool is None) == (match.path is None):
        yield Finding(f"{field}.match", "set one of tool (MCP) and path (HTTP)")
    elif protocol == "HTTP" and match.tool is not None:
        yield Finding(f"{field}.match.tool", "its server speaks HTTP; use path and methods")
    elif protocol == "MCP" and match.path is not None:
        yield Finding(f"{field}.match.path", "its server speaks MCP; use tool")
    if match.methods and match.path is None:
        yield Finding(f"{field}.match.methods", "needs a path")
    ambiguous = next((part for part in _AMBIGUOUS if part in (match.path or "").lower()), None)
    if ambiguous:
        yield Finding(
            f"{field}.match.path", f"no request with {ambiguous!r} in its path is let through; remove it"
        )
    for segment in (match.path or "").split("/"):
        inner = segment[1:-1]
        whole = segment.startswith("{") and segment.endswith("}") and inner.isidentifier()
        if ("{" in segment or "}" in segment) and not whole:
            yield Finding(
                f"{field}.match.path", f"{segment!r}: a placeholder is one whole segment, such as {{id}}"
            )
        if segment in {".", ".."}:
            yield Finding(
                f"{field}.match.path", "has a dot segment, which no request keeps; write the path without"
            )


def _unreachable(spec: written.Spec) -> Iterator[Finding]:
    """A tool that an earlier one covers gets no call: its rules would be accepted and not enforced."""
    for index, tool in enumerate(spec.tools):
        for earlier in spec.tools[:index]:
            if earlier.server == tool.server and earlier.name != tool.name and _covers(earlier, tool):
                yield Finding(
                    f"spec.tools[{index}].match",
                    f"every call of {tool.name!r} matches {earlier.name!r} first; move it above",
                )
                break


def _covers(earlier: written.Tool, later: written.Tool) -> bool:
    first, second = earlier.match or written.Match(), later.match or written.Match()
    if first.path is not None or second.path is not None:
        methods, wanted = set(first.methods or ()), set(second.methods or ())
        covers_methods = not methods or (bool(wanted) and wanted <= methods)
        return first.path == second.path and covers_methods
    ours = second.tool or later.name
    theirs = first.tool or earlier.name
    return ours == theirs or (not set(ours) & set("*?[") and fnmatchcase(ours, theirs))

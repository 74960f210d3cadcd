"""What the schema cannot say, section by section."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.check.redaction import check_redaction
from toolpolicy_api.check.rules import check_rules
from toolpolicy_api.check.selector import check_selector
from toolpolicy_api.check.servers import check_servers
from toolpolicy_api.check.tools import check_tools
from toolpolicy_api.check.upgrades import check_upgrades


def findings_in(spec: written.Spec) -> Iterator[Finding]:
    yield from check_selector(spec.selector)
    yield from check_servers(spec.servers)
    if spec.defaults:
        yield from check_rules(spec.defaults, None, "spec.defaults")
        if spec.defaults.fallback and spec.defaults.fallback.tool:
            text = "set it tool by tool: this tool would fall back on itself"
            yield Finding("spec.defaults.fallback.tool", text)
    yield from check_tools(spec)
    yield from check_redaction(spec)
    yield from check_upgrades(spec)

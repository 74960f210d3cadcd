"""Which pods."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding


def check_selector(selector: written.Selector) -> Iterator[Finding]:
    for index, item in enumerate(selector.match_expressions):
        field = f"spec.selector.matchExpressions[{index}].values"
        if item.operator in {"In", "NotIn"} and not item.values:
            yield Finding(field, f"{item.operator} needs at least one value")
        if item.operator in {"Exists", "DoesNotExist"} and item.values:
            yield Finding(field, f"{item.operator} takes no values; remove them")

"""What is taken out of a text, and what is put in its place."""

from collections import Counter
from collections.abc import Sequence
from copy import copy
from operator import itemgetter

from toolpolicy_sidecar.redact.placeholder import Placeholders, mask
from toolpolicy_sidecar.redact.rule import Rule
from toolpolicy_sidecar.redact.spans import Region, let_go
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.redact.views import unescape

_ORDER = itemgetter(2)
_COUNTED_AT_ONCE = 8192
"""To count more would hold up every other thread."""


class Replacements:
    """By the order of rules."""

    def __init__(self, rules: Sequence[Rule], placeholders: Placeholders, *, tokenizes: bool) -> None:
        self._rules, self._placeholders, self._tokenizes = rules, placeholders, tokenizes
        self._session: Session | None = None
        self._fixed = [rule.replacement for rule in rules]

    def of(self, session: Session | None) -> "Replacements":
        """The same, with tokens of this session; None: nobody could put them back, so it masks."""
        replacements = copy(self)
        replacements._session = session  # noqa: SLF001 -- our own
        return replacements

    def put(self, text: bytes, regions: list[Region], hits: dict[str, int]) -> bytes:
        """Every region replaced, and counted under its name in `hits`. Of many regions none is left."""
        if len(regions) == 1:
            ((start, end, order),) = regions
            return text[:start] + self.one(order, text[start:end], hits) + text[end:]
        left = bytearray()  # to join so many pieces at once would hold up every other thread
        at, fixed = 0, self._fixed
        for start, end, order in regions:
            left += text[at:start]
            left += fixed[order] or self._kept(order, text[start:end])
            at = end
        left += text[at:]
        counts = Counter[int]()
        for begin in range(0, len(regions), _COUNTED_AT_ONCE):
            counts.update(map(_ORDER, regions[begin : begin + _COUNTED_AT_ONCE]))
        for order, count in counts.items():
            name = self._rules[order].name
            hits[name] = hits.get(name, 0) + count
        let_go(regions)
        return bytes(left)

    def one(self, order: int, value: bytes, hits: dict[str, int]) -> bytes:
        """What stands for this value, which the rule of this order has hit; counted in `hits`."""
        name = self._rules[order].name
        hits[name] = hits.get(name, 0) + 1
        return self._fixed[order] or self._kept(order, value)

    def _kept(self, order: int, value: bytes) -> bytes:
        """The same, where it may tell values apart."""
        rule = self._rules[order]
        if rule.replacement is not None:
            return rule.replacement
        value = unescape(value) if b"\\" in value else value
        if not self._tokenizes:
            return self._placeholders.keyed(rule.name, value)
        if self._session is None:
            return mask(rule.name)
        token = self._placeholders.keyed(rule.name, value, self._session.salt)
        self._session.keep(token, value)
        return token

"""What is taken out of a text, and what is put in its place."""

from collections.abc import Iterable, Sequence
from copy import copy
from io import BytesIO

from toolpolicy_sidecar.redact.pieces import PIECE_BYTES, copy_to
from toolpolicy_sidecar.redact.placeholder import Placeholders, mask
from toolpolicy_sidecar.redact.rule import Rule
from toolpolicy_sidecar.redact.spans import Region
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.redact.views import unescape


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

    def put(self, text: bytes, regions: Iterable[Region], hits: dict[str, int]) -> bytes:
        """Every region replaced, and counted under its name in `hits`; this very text if there is none."""
        if isinstance(regions, list) and len(regions) == 1:
            ((start, end, order),) = regions
            return text[:start] + self.one(order, text[start:end], hits) + text[end:]
        left = BytesIO()  # to join so many pieces at once would hold up every other thread
        write, fixed, counts = left.write, self._fixed, [0] * len(self._rules)
        at = 0
        for start, end, order in regions:
            if start - at > PIECE_BYTES:
                copy_to(left, text, at, start)
            else:
                write(text[at:start])
            write(fixed[order] or self._kept(order, text[start:end]))
            counts[order] += 1
            at = end
        if not at and not any(counts):
            return text
        copy_to(left, text, at, len(text))
        for rule, count in zip(self._rules, counts, strict=True):
            if count:
                hits[rule.name] = hits.get(rule.name, 0) + count
        return left.getvalue()

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

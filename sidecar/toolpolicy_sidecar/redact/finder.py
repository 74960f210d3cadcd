"""What rules find, each by itself: in one text, or in many short ones together."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice

from toolpolicy_sidecar.redact import binary
from toolpolicy_sidecar.redact.allowed import Allowed
from toolpolicy_sidecar.redact.expression import Others
from toolpolicy_sidecar.redact.patience import CHECKED_MATCHES, Patience, Patiences
from toolpolicy_sidecar.redact.rule import Rule
from toolpolicy_sidecar.redact.spans import PART_BITS, Found, Span, Values, spans_in, whole_characters
from toolpolicy_sidecar.redact.together import Together

_AT_ONCE = 16 * CHECKED_MATCHES


class Finder:
    """Rules are known by their order: those of `patterns` are the policy's own, which must see each text by itself; all
    others are detectors. `cpu_s`: what this thread has used, in seconds.

    Several rules look for names. A value that one of them has found is found: the others, which come later in the
    order, need not prove it once more."""

    def __init__(
        self, rules: Sequence[Rule], patterns: range, allowed: Allowed, cpu_s: Callable[[], float]
    ) -> None:
        self._rules, self._patterns = rules, patterns
        self._allowed, self._cpu_s = allowed or None, cpu_s

    def patience(self, size_bytes: int) -> Patience:
        """For the work on a text of this size."""
        return Patience(self._cpu_s, size_bytes)

    def patiences(self, size_bytes: int) -> Patiences:
        """For all rules, on a text of this size."""
        return Patiences(self._cpu_s, size_bytes)

    def found(self, text: bytes, orders: Iterable[int]) -> Found:
        spans, values = spans_in(text), Values()
        for order in orders:
            rule, own, patience = self._rules[order], order in self._patterns, None
            if rule.every is not None and len(text) > binary.LEAST_BYTES and text.isascii():
                for part in self._every(text, order, self.patiences(len(text)), values):
                    spans.extend(part)
                continue
            validator, allowed = rule.validator, self._allowed
            for number, (start, end) in enumerate(rule.expression().each(text), 1):
                if number % CHECKED_MATCHES == 0:
                    patience = patience or self.patience(len(text))
                    patience.check()
                if rule.keyed and (start, end) in values[start >> PART_BITS]:
                    continue
                for begin, stop in validator(text, start, end) if validator else ((start, end),):
                    if begin != stop and (allowed is None or text[begin:stop] not in allowed):
                        if own:
                            begin, stop = whole_characters(text, begin, stop)  # noqa: PLW2901 -- of a pattern
                        spans.append((begin, -stop, order))
                        if rule.keyed:
                            values[begin >> PART_BITS].add((begin, stop))
        values.free()
        return spans

    def _every(self, text: bytes, order: int, patiences: Patiences, values: Values) -> Iterator[list[Span]]:
        """In ASCII, where the rule knows how to find all at once: some, and some more."""
        rule, allowed = self._rules[order], self._allowed
        found = iter(rule.every(text, Others(rule.expression(), values.has)) if rule.every else ())
        while part := [*islice(found, _AT_ONCE)]:
            patiences[order].check()
            if rule.keyed:
                for bounds in part:
                    values[bounds[0] >> PART_BITS].add(bounds)
            if allowed is not None:
                part = [(start, end) for start, end in part if text[start:end] not in allowed]
            yield [(start, -end, order) for start, end in part]

    def found_in_each(self, whole: Together, orders: Iterable[int], spans: list[list[Span]]) -> None:
        """What `found` finds in each text."""
        values = Values()
        all_at_once = len(whole.text) > binary.LEAST_BYTES and whole.is_ascii()
        for order in orders:
            if all_at_once and self._rules[order].every is not None:
                parts = self._every(whole.text, order, self.patiences(len(whole.text)), values)
                for start, minus_end, _ in chain.from_iterable(parts):
                    index = whole.holder(start)
                    at = whole.starts[index]
                    spans[index].append((start - at, minus_end + at, order))
            elif order not in self._patterns:
                for index, begin, end in self._detected(whole, order, values):
                    spans[index].append((begin, -end, order))
            elif self._may_find(whole.text, order):
                patience = self.patience(len(whole.text))
                for text, found in zip(whole.texts, spans, strict=True):
                    patience.spend()
                    found.extend(self.found(text, (order,)))
        values.free()

    def found_together(self, whole: Together, orders: Iterable[int], patiences: Patiences) -> Found | None:
        """What is found in short texts, as places in the whole. None: a pattern may find something."""
        spans, values = spans_in(whole.text), Values()
        starts = whole.starts
        for order in orders:
            if order in self._patterns:
                if self._may_find(whole.text, order):
                    return None
            elif self._rules[order].every is not None and whole.is_ascii():
                for part in self._every(whole.text, order, patiences, values):
                    spans.extend(part)
            else:
                for index, begin, end in self._detected(whole, order, values, patiences):
                    at = starts[index]
                    spans.append((at + begin, -at - end, order))
        values.free()
        return spans

    def _may_find(self, text: bytes, order: int) -> bool:
        rule = self._rules[order]
        return rule.anchored or rule.expression().first(text) is not None

    def _detected(
        self, whole: Together, order: int, values: Values, patiences: Patiences | None = None
    ) -> list[tuple[int, int, int]]:
        """The index of a text, and from where to where in it. No detector's match reaches from one into the next.
        `values`: where in the whole rules have found them that look for names. `patiences` None: those of this text
        alone."""
        rule, found = self._rules[order], list[tuple[int, int, int]]()
        validator, allowed = rule.validator, self._allowed
        texts, starts = whole.texts, whole.starts
        text, index, at, after = b"", -1, 0, 0
        for number, (start, end) in enumerate(rule.expression().each(whole.text), 1):
            if number % CHECKED_MATCHES == 0:
                if patiences is None:
                    patiences = self.patiences(len(whole.text))
                patiences[order].check()
            if rule.keyed and (start, end) in values[start >> PART_BITS]:
                continue
            if start >= after:
                index = bisect_right(starts, start, index + 1) - 1
                text, at = texts[index], starts[index]
                after = at + len(text) + 1
            for begin, stop in (
                validator(text, start - at, end - at) if validator else ((start - at, end - at),)
            ):
                if begin != stop and (allowed is None or text[begin:stop] not in allowed):
                    found.append((index, begin, stop))
                    if rule.keyed:
                        values[at + begin >> PART_BITS].add((at + begin, at + stop))
        return found

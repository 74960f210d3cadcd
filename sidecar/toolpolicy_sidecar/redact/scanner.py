"""Finds and masks in one plain text, whatever it stood in. Texts are bytes of UTF-8.

Hits that overlap are one region, masked whole: the leftmost gives it its name, of those that begin
together the longest, of those the first in the policy's order.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import NamedTuple

import re2

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.allowed import Allowed
from toolpolicy_sidecar.redact.detectors import DETECTORS, chosen
from toolpolicy_sidecar.redact.detectors.detector import Detector, Validator
from toolpolicy_sidecar.redact.document import LONG_EXPONENT
from toolpolicy_sidecar.redact.expression import AUTOMATON_BYTES, compiled, options
from toolpolicy_sidecar.redact.placeholder import FIELD, Placeholders, mask
from toolpolicy_sidecar.redact.verdict import InvalidPattern, Unscannable
from toolpolicy_sidecar.redact.views import unescape, views

BUDGET_S = 5.0
BUDGET_S_PER_BYTE = 5e-6
LEAST_BUDGET_S = 0.1
"""Of CPU time, for all matches of a pattern in one text. Patterns with a match every few bytes need a tenth of it."""
CHECKED_MATCHES = 16


_UNQUOTED = bytes.maketrans(b'"\\', b"^^")
"""A value under a key ends where its string ends."""


class Rule(NamedTuple):
    """`anchored`: whether it hits may depend on where the text begins and ends. `sign` stands in every hit.
    `replacement` None: a placeholder that tells values apart."""

    name: str
    sign: str
    expression: Callable[[], re2._Regexp]
    replacement: bytes | None
    anchored: bool = False
    validator: Validator | None = None
    keyed: bool = False


class Span(NamedTuple):
    """Orders as regions are named."""

    start: int
    minus_end: int
    order: int


class Scanner:
    """`anchored`: some rule must see each value by itself; no search over a whole document rules it out.
    `keyed`: some rule wants to know under which key a value stands."""

    def __init__(
        self,
        patterns: list[Rule],
        detectors: list[Rule],
        allowed: Allowed,
        key: bytes,
        cpu_s: Callable[[], float],
    ) -> None:
        self._cpu_s, self._allowed = cpu_s, allowed
        self._rules = rules = patterns + detectors
        self._patterns = range(len(patterns))
        self.anchored = any(rule.anchored for rule in rules)
        self.keyed = any(rule.keyed for rule in rules)
        self._anchored = [rule.expression() for rule in rules if rule.anchored]
        self._union = _union(dict.fromkeys(rule.sign for rule in rules if not rule.anchored))
        by_sign: dict[str, list[int]] = {}
        for order, rule in enumerate(detectors, len(patterns)):
            by_sign.setdefault(rule.sign, []).append(order)
        self._signs, self._of_signs = _signs(tuple(by_sign)), list(by_sign.values())
        self._keyed = frozenset(order for order, rule in enumerate(rules) if rule.keyed)
        self.placeholders = Placeholders(
            key,
            {FIELD} | {rule.name for rule in rules} | DETECTORS.keys(),
            {rule.replacement for rule in patterns if rule.replacement is not None},
        )

    @classmethod
    def compile(
        cls, redaction: snapshot.Redaction, key: bytes, cpu_s: Callable[[], float] = time.thread_time
    ) -> "Scanner":
        """`key`: of the placeholders that tell values apart. `cpu_s`: what this thread has used, in seconds.
        Patterns come before detectors in the order. Raises InvalidPattern."""
        patterns = [
            _pattern(pattern, compiled(pattern.name, pattern.regex)) for pattern in redaction.patterns
        ]
        try:
            detectors = chosen(redaction.detectors, redaction.min_confidence)
        except LookupError as error:
            raise InvalidPattern(error.args[0], "this sidecar has no such detector") from None
        rules = [_rule(detector, redaction.action) for detector in detectors]
        return cls(patterns, rules, Allowed(redaction.allow), key, cpu_s)

    def may_hit(self, text: bytes) -> bool:
        """False: no rule hits this text, and no rule that is not anchored hits a part of it that stands
        between quotes or separators (to RE2 these are no part of a word, like the end of the text)."""
        if self._union is None or self._union.search(text) is not None:
            return True
        return any(expression.search(text) is not None for expression in self._anchored)

    def suspects(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Spans, in order, that touch every string and number of a JSON document that a rule may hit,
        except those with escapes. A match may reach over several of them, and none begins unseen: a match
        found in its stead would cover its first byte."""
        if self._union is None or self.anchored:
            yield 0, len(data)
        else:
            for match in self._in_time(self._union.finditer(data), len(data)):
                start, end = match.span()
                yield start, max(end, start + 1)  # an empty match may stand before another rule's hit

    def redact(self, text: bytes, hits: Counter[str], key: bytes = b"") -> bytes:
        """One pass: every region replaced, and counted under its name in `hits`. `key`: the name under which
        the text stands, in JSON."""
        regions = self._regions(text, key)
        if not regions:
            return text
        pieces, at = [], 0
        for start, end, order in regions:
            rule = self._rules[order]
            pieces += [text[at:start], self._replacement(rule, text[start:end])]
            hits[rule.name] += 1
            at = end
        pieces.append(text[at:])
        return b"".join(pieces)

    def _replacement(self, rule: Rule, value: bytes) -> bytes:
        if rule.replacement is not None:
            return rule.replacement
        return self.placeholders.keyed(rule.name, unescape(value) if b"\\" in value else value)

    def _regions(self, text: bytes, key: bytes) -> list[tuple[int, int, int]]:
        spans = list(self._spans(text, self._suspected(text)))
        if key:
            spans += self._under_key(text, key)
        for view in views(text):
            for span in self._spans(view.text, self._suspected(view.text)):
                start, end = view.source_span(span.start, -span.minus_end)
                spans.append(Span(start, -end, span.order))
        if not spans:
            return []
        regions: list[tuple[int, int, int]] = []
        for start, minus_end, order in self._outside_placeholders(text, sorted(spans)):
            if regions and start < regions[-1][1]:
                begin, end, first = regions[-1]
                regions[-1] = (begin, max(end, -minus_end), first)
            else:
                regions.append((start, -minus_end, order))
        return regions

    def _suspected(self, text: bytes) -> list[int]:
        """The orders of all rules that may hit: every pattern, and the detectors whose sign is there."""
        orders = [*self._patterns]
        for index in (self._signs.Match(text) or ()) if self._signs else ():
            orders += self._of_signs[index]
        return orders

    def _under_key(self, text: bytes, key: bytes) -> Iterator[Span]:
        """What rules find that look for a name and its value, read as `key="text"`."""
        before = len(key) + 2
        joined = b'%b="%b"' % (key, text.translate(_UNQUOTED))
        for start, minus_end, order in self._spans(joined, self._keyed.intersection(self._suspected(joined))):
            if start >= before:
                yield Span(start - before, max(minus_end + before, -len(text)), order)

    def _spans(self, text: bytes, orders: Iterable[int]) -> Iterator[Span]:
        for order in orders:
            rule = self._rules[order]
            matches = rule.expression().finditer(text)
            for match in self._in_time(matches, len(text)) if order in self._patterns else matches:
                start, end = match.span(match.lastindex or 0)
                if start == end:
                    continue
                found = rule.validator(text, start, end) if rule.validator else ((start, end),)
                for begin, stop in found:
                    if self._allowed and text[begin:stop] in self._allowed:
                        continue
                    yield Span(*_whole_characters(text, begin, stop), order)

    def _in_time(self, matches: Iterator[re2._Match], size_bytes: int) -> Iterator[re2._Match]:
        """One search is linear, but a pattern such as `a.*b|a` looks to the end of the text for each of its matches.
        Raises Unscannable."""
        ends_s = 0.0
        for count, match in enumerate(matches, 1):
            if count == CHECKED_MATCHES:
                ends_s = self._cpu_s() + min(BUDGET_S, LEAST_BUDGET_S + size_bytes * BUDGET_S_PER_BYTE)
            elif count % CHECKED_MATCHES == 0 and self._cpu_s() > ends_s:
                raise Unscannable("the policy's patterns take too long on it")
            yield match

    def _outside_placeholders(self, text: bytes, spans: list[Span]) -> Iterator[Span]:
        """A span within a placeholder is no hit: its text is the policy's own."""
        placeholders = self.placeholders.spans(text)
        index = 0
        for span in spans:
            while index < len(placeholders) and placeholders[index][1] <= span.start:
                index += 1
            if index < len(placeholders):
                start, end = placeholders[index]
                if start <= span.start and -span.minus_end <= end:
                    continue
            yield span


def is_anchored(expression: str) -> bool:
    r"""Whether an RE2 expression may ask where its text begins or ends. Errs on the side of yes: `\Q…\E`
    can hide anything, and `^` counts even inside of a class, unless it opens it."""
    if re.search(r"\\[AzZQ]", expression):
        return True
    return re.search(r"[$^]", re.sub(r"\\.", "", expression, flags=re.DOTALL).replace("[^", "[")) is not None


def _whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    r"""`\C` matches single bytes: no mask may leave half a character behind."""
    while start and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, -end


def _pattern(pattern: snapshot.Pattern, expression: re2._Regexp) -> Rule:
    replacement = None if pattern.replace is None else pattern.replace.encode()
    anchored = is_anchored(pattern.regex)
    return Rule(pattern.name, pattern.regex, lambda: expression, replacement, anchored)


def _rule(detector: Detector, action: snapshot.Action) -> Rule:
    return Rule(
        detector.name,
        detector.trigger,
        partial(_expression, detector.expression),
        {"Hash": None, "Drop": b""}.get(action, mask(detector.name)),
        validator=detector.validator,
        keyed=detector.keyed,
    )


@cache
def _expression(expression: str) -> re2._Regexp:
    """A detector's, compiled when its trigger is first met: most never are."""
    return re2.compile(expression, options(captures="(" in expression.replace("(?", "")))


def _union(expressions: Iterable[str]) -> re2._Regexp | None:
    """What stands in everything that any rule hits, and what must be written out to see whether one does. None
    when it would be too large: then every text may hit."""
    try:
        return re2.compile(
            "|".join(f"(?:{expression})" for expression in [*expressions, LONG_EXPONENT]),
            options(most_bytes=AUTOMATON_BYTES),
        )
    except re2.error:
        return None


@cache
def _signs(triggers: tuple[str, ...]) -> re2.Set | None:
    """Finds which of the triggers stand in a text, in one go. None: there are none."""
    if not triggers:
        return None
    signs = re2.Set.SearchSet(options(most_bytes=AUTOMATON_BYTES))
    for trigger in triggers:
        signs.Add(trigger)
    signs.Compile()
    return signs

"""Finds and masks in one plain text, whatever it stood in. Texts are bytes of UTF-8.

Hits that overlap are one region, masked whole: the leftmost gives it its name, of those that begin
together the longest, of those the first in the policy's order.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import islice

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import wrapped
from toolpolicy_sidecar.redact.allowed import Allowed
from toolpolicy_sidecar.redact.columns import cells_under
from toolpolicy_sidecar.redact.expression import Bounds, Expression
from toolpolicy_sidecar.redact.finder import Finder
from toolpolicy_sidecar.redact.patience import Patiences
from toolpolicy_sidecar.redact.placeholder import FIELD, Placeholders
from toolpolicy_sidecar.redact.replacements import Replacements
from toolpolicy_sidecar.redact.rule import Rule, chosen_detectors, of_detector, of_pattern
from toolpolicy_sidecar.redact.spans import Found, Region, Span, behind, outside, regions_of, under
from toolpolicy_sidecar.redact.together import Together
from toolpolicy_sidecar.redact.tokens import Session
from toolpolicy_sidecar.redact.triggers import signs, union
from toolpolicy_sidecar.redact.views import views

SMALL_BYTES = 4 * 1024
"""Beyond, two searches with an automaton each are better than one with the product of both."""
DISGUISE = rf"[\x00\\%&+]|[^\x00-\x7f]|{wrapped.EXPRESSION}"
"""RE2: what begins where a text reads otherwise when it is decoded."""
DISGUISED = Expression(DISGUISE)
VALUE_BYTES = 4096
BESIDE_BYTES = 64
"""No rule that wants to know the name of a value looks farther behind the value."""
SHORT_BYTES = 1024
"""In a longer text it is cheaper to ask first whether any sign is there at all, and then which."""
NOWHERE = (sys.maxsize, sys.maxsize)
ANYWHERE = (0, 0)
_OUTSIDE = b"[]{}:, \t\r\n0123456789.+-eEtrufalsn"
"""What a valid JSON document may have outside of its strings, but for quotes."""

_UNESCAPED = re.compile(rb"[ !#-\[\]-~]*")
"""What JSON writes as it is."""
_ANY_VALUE = b"A" * 16
_CELLS = 1024
"""Work on more of them at once would hold up every other thread."""
_NOTHING: list[Region] = []


def _anywhere(_text: bytes, _at: int) -> Bounds:
    return ANYWHERE


class Scanner:
    """`anchored`: some rule must see each value by itself; no search over a whole document rules it out.
    `keyed`: some rule wants to know under which key a value stands.
    `in_place`: no rule looks at more than its match, and no replacement changes how what is around it is read.
    `alone`: that is so, and there is one rule, which does not even ask what stands beside its match.
    `untold`: a match with any other character than these stands in a string, if it stands in JSON and has no quote, and
    is no part of a placeholder.
    `search`: as `remarkable` from a place on, in a text that is ASCII."""

    def __init__(
        self,
        patterns: list[Rule],
        detectors: list[Rule],
        allowed: Allowed,
        key: bytes,
        cpu_s: Callable[[], float],
        *,
        tokenizes: bool,
        names: Iterable[str] = (),
    ) -> None:
        self.tokenizes = tokenizes
        self._rules = rules = patterns + detectors
        self._patterns = range(len(patterns))
        self._finder = Finder(rules, self._patterns, allowed, cpu_s)
        self.patience, self.patiences = self._finder.patience, self._finder.patiences
        self.anchored = any(rule.anchored for rule in rules)
        self.keyed = any(rule.keyed for rule in rules)
        self._anchored = [rule.expression() for rule in rules if rule.anchored]
        triggers = dict.fromkeys(rule.sign for rule in rules if not rule.anchored)
        self._union = union(triggers)
        if self.anchored or self._union is None:
            remarkable = None
        else:
            remarkable = self._union.and_also(DISGUISED) if detectors else union([*triggers, DISGUISE])
        self.search: Callable[[bytes, int], Bounds | None] = remarkable.first if remarkable else _anywhere
        by_sign: dict[str, list[int]] = {}
        for order, rule in enumerate(detectors, len(patterns)):
            by_sign.setdefault(rule.sign, []).append(order)
        self._signs, self._of_signs = signs(tuple(by_sign)), list(by_sign.values())
        self.in_place = not (detectors or self.anchored or allowed or tokenizes) and all(
            rule.replacement is None or _UNESCAPED.fullmatch(rule.replacement) for rule in patterns
        )
        self.alone = self.in_place and len(rules) == 1 and not rules[0].asks_beside
        self._keyed = frozenset(order for order, rule in enumerate(rules) if rule.keyed)
        self.placeholders = Placeholders(
            key,
            {FIELD, *names} | {rule.name for rule in rules},
            {rule.replacement for rule in patterns if rule.replacement is not None},
        )
        self.replacements = Replacements(rules, self.placeholders, tokenizes=tokenizes)
        self.untold = _OUTSIDE + self.placeholders.characters

    @classmethod
    def compile(
        cls, redaction: snapshot.Redaction, key: bytes, cpu_s: Callable[[], float] = time.thread_time
    ) -> "Scanner":
        """`key`: of the placeholders that tell values apart. `cpu_s`: what this thread has used, in seconds.
        Patterns come before detectors in the order. Raises InvalidPattern."""
        patterns = [of_pattern(pattern) for pattern in redaction.patterns]
        detectors, names = chosen_detectors(redaction) if redaction.detectors else ((), ())
        rules = [of_detector(detector, redaction.action) for detector in detectors]
        tokenizes = redaction.action == "Tokenize"
        return cls(patterns, rules, Allowed(redaction.allow), key, cpu_s, tokenizes=tokenizes, names=names)

    def of(self, session: Session | None) -> "Scanner":
        """The same, with tokens of this session; None: nobody could put them back, so it masks."""
        scanner = copy(self)
        scanner.replacements = self.replacements.of(session)
        return scanner

    def unremarkable(self, text: bytes) -> bool:
        """True: nothing is hit in this text or in a part of it that stands between quotes or separators, and nothing
        in it reads otherwise when it is decoded. One search, for the many small texts of which that is true."""
        return self.remarkable(text) is None

    def remarkable(self, text: bytes) -> Bounds | None:
        """None: it is unremarkable. Otherwise no hit begins before these bounds, and nothing there reads
        otherwise; they are ANYWHERE where nobody has looked."""
        if len(text) > SMALL_BYTES or not text.isascii():
            return ANYWHERE
        return self.search(text, 0)

    def may_hit(self, text: bytes) -> bool:
        """False: no rule hits this text, and no rule that is not anchored hits a part of it that stands
        between quotes or separators (to RE2 these are no part of a word, like the end of the text)."""
        if self._union is None or self._union.stands_in(text):
            return True
        return any(expression.first(text) is not None for expression in self._anchored)

    def suspects_in(self, data: bytes) -> Callable[[int], Bounds]:
        """Gives the first span from a place on, which is behind the last one, that touches strings and numbers of a
        JSON document that a rule may hit, except those with escapes. A match may reach over several of them, and none
        begins unseen: a match found in its stead would cover its first byte."""
        if self._union is None or self.anchored:
            return lambda at: (at, len(data))
        first = self._union.walk(data)

        def suspect(at: int) -> Bounds:
            start, end = first(at) or NOWHERE
            return start, max(end, start + 1)  # an empty match may stand before another rule's hit

        return suspect

    def regions(
        self, text: bytes, key: bytes = b"", *, opened: bool = False, plain: bool = False
    ) -> Iterable[Region]:
        """What is hit, in order, none overlapping. `key`: the name under which the text stands, in JSON. `opened`: it
        is a document that was redacted value by value, and only what looks at it as a whole is left. `plain`: it
        reads in no other way."""
        whole = self._patterns if opened else None
        spans = self._finder.found(text, self._suspected(text) if whole is None else whole)
        if key:
            spans.extend(self._under_key(text, key))
        if whole is None:
            spans.extend(self._in_tables(text))
        if not plain and (whole is None or whole):
            for view in views(text):
                orders = self._suspected(view.text) if whole is None else whole
                spans.extend(view.in_source(self._finder.found(view.text, orders)))
        return self._found_regions(text, spans)

    def regions_of_each(
        self, texts: Sequence[bytes], keys: Sequence[bytes], *, plain: bool
    ) -> list[list[Region]]:
        """What `regions` gives for each of many short texts, in a few searches over all of them together."""
        spans: list[list[Span]] = [[] for _ in texts]
        whole = Together.of(texts)
        self._finder.found_in_each(whole, self._suspected(whole.text), spans)
        if self.keyed:
            self._under_keys(texts, keys, spans)
        if self.keyed and b"\n" in whole.text:
            for text, of_one in zip(texts, spans, strict=True):
                of_one.extend(self._in_tables(text))
        if not plain:
            for view in views(whole.text):
                found: list[list[Span]] = [[] for _ in texts]
                read = Together.read(view.text)
                self._finder.found_in_each(read, self._suspected(view.text), found)
                for index, of_one in enumerate(found):
                    at, origin = read.starts[index], whole.starts[index]
                    in_view = ((start + at, minus_end - at, order) for start, minus_end, order in of_one)
                    for begin, minus_stop, order in view.in_source(in_view):
                        spans[index].append((begin - origin, minus_stop + origin, order))
        bare = not self.placeholders.may_stand_in(whole.text)
        return [
            [(found[0][0], -found[0][1], found[0][2])]
            if bare and len(found) == 1
            else self._regions(text, found)
            if found
            else _NOTHING
            for text, found in zip(texts, spans, strict=True)
        ]

    def regions_together(
        self, whole: Together, patiences: Patiences, *, plain: bool
    ) -> Iterable[Region] | None:
        """What is hit in short texts of ASCII that stand under no telling name, as places in the whole. `plain`: they
        read in no other way. None: a pattern of the policy must see each text by itself."""
        spans = self._finder.found_together(whole, self._suspected(whole.text), patiences)
        if spans is None:
            return None
        for view in () if plain else views(whole.text):
            found = self._finder.found_together(
                Together.read(view.text), self._suspected(view.text), patiences
            )
            if found is None:
                return None
            spans.extend(view.in_source(found))
        return self._found_regions(whole.text, spans)

    def tells(self, key: bytes) -> bool:
        """False: no rule that wants to know names finds anything under this one."""
        return self.keyed and (self._union is None or self._union.stands_in(b'%b": "%b' % (key, _ANY_VALUE)))

    def few_regions(self, text: bytes, at: int, most: int) -> list[Region]:
        """The same where `in_place` holds, for an ASCII text that reads in no other way. Nothing for more than `most`
        matches."""
        spans: list[Span] = []
        for order, rule in enumerate(self._rules):
            first = rule.expression().first  # as `each`, whose generator is dear beside so small a text
            found = first(text, at)
            while found is not None:
                start, end = found
                if start != end:
                    spans.append((start, -end, order))
                    if len(spans) > most:
                        return []
                found = first(text, max(end, start + 1))
        if len(spans) == 1 and self.placeholders.none_near(text, spans[0][0], -spans[0][1]):
            return [(spans[0][0], -spans[0][1], spans[0][2])]
        return self._regions(text, spans)

    def _regions(self, text: bytes, spans: list[Span]) -> list[Region]:
        if not spans:
            return _NOTHING
        return [*regions_of(self._outside_placeholders(text, sorted(spans)))]

    def _found_regions(self, text: bytes, spans: Found) -> Iterable[Region]:
        """Of many one after the other."""
        if isinstance(spans, list):
            return self._regions(text, spans)
        return regions_of(self._outside_placeholders(text, spans))

    def _suspected(self, text: bytes) -> Sequence[int]:
        """The orders of all rules that may hit: every pattern, and the detectors whose sign is there."""
        if not self._of_signs:
            return self._patterns
        kinds = self._union.kinds_in(text) if len(text) > SHORT_BYTES and self._union else None
        if kinds == []:
            return self._patterns if self.anchored else ()
        orders = [*self._patterns]
        for index in self._signs(text, kinds):
            orders += self._of_signs[index]
        orders.sort()
        return orders

    def _under_key(self, text: bytes, key: bytes) -> list[Span]:
        """What rules find that look for a name and its value, read as `key="text"`. The value begins where the text
        does; that it may reach far is seen from its beginning."""
        begun = text[:VALUE_BYTES]
        spans = self._with_key(begun, key)
        if len(text) > VALUE_BYTES and any(
            -minus_end > VALUE_BYTES - BESIDE_BYTES for _, minus_end, _ in spans
        ):
            return self._with_key(text, key)
        return spans

    def _with_key(self, text: bytes, key: bytes) -> list[Span]:
        joined = under(key, text)
        orders = sorted(self._keyed.intersection(self._suspected(joined)))
        return behind(self._finder.found(joined, orders), key, text)

    def _under_keys(self, texts: Sequence[bytes], keys: Sequence[bytes], spans: list[list[Span]]) -> None:
        """What `_under_key` finds under each key."""
        named = [index for index, key in enumerate(keys) if key]
        if not named:
            return
        whole = Together.of([under(keys[index], texts[index]) for index in named])
        found: list[list[Span]] = [[] for _ in named]
        orders = sorted(self._keyed.intersection(self._suspected(whole.text)))
        self._finder.found_in_each(whole, orders, found)
        for index, of_one in zip(named, found, strict=True):
            spans[index] += behind(of_one, keys[index], texts[index])

    def _in_tables(self, text: bytes) -> Iterator[Span]:
        """What is found under the heads of columns."""
        cells = cells_under(text, self.tells) if self.keyed and b"\n" in text else iter(())
        while some := [*islice(cells, _CELLS)]:
            found: list[list[Span]] = [[] for _ in some]
            self._under_keys(
                [text[cell.start : cell.end] for cell in some], [cell.name for cell in some], found
            )
            for cell, of_one in zip(some, found, strict=True):
                yield from (
                    (start + cell.start, minus_end - cell.start, order) for start, minus_end, order in of_one
                )

    def _outside_placeholders(self, text: bytes, spans: Iterable[Span]) -> Iterable[Span]:
        """A span within a placeholder is no hit: its text is the policy's own."""
        if not self.placeholders.may_stand_in(text):
            return spans
        return outside(self.placeholders.spans(text), spans)

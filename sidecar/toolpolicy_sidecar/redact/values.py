"""Texts and JSON documents, and what they hold in other documents and encodings: each value opened, scanned, and
scanned again until it is at rest.

Everything here returns its very argument when nothing is hit.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import compress
from operator import ne
from typing import NamedTuple

from toolpolicy_sidecar.redact import binary, document, full, wrapped
from toolpolicy_sidecar.redact.document import Tokens
from toolpolicy_sidecar.redact.patience import Patiences
from toolpolicy_sidecar.redact.pieces import copy_to
from toolpolicy_sidecar.redact.placeholder import mask
from toolpolicy_sidecar.redact.scanner import Scanner
from toolpolicy_sidecar.redact.suspects import MANY, Found, suspects
from toolpolicy_sidecar.redact.together import Together
from toolpolicy_sidecar.redact.verdict import TooDeep
from toolpolicy_sidecar.redact.views import narrow, rereadings, unescape

NESTED = 3
"""JSON in a JSON string, base64 and hexadecimal are opened this deep. Deeper, with more of it left that could hide
something, it is Unscannable."""
SHORT_BYTES = full.SHORT_BYTES
"""Shorter texts are searched many at once."""
_FEW = 3
"""So few texts are sooner searched one by one."""
_PART_BYTES = 64 * 1024
"""Of a document that is. No step on so much holds up other threads."""
_BEGINNING_BYTES = 2 * 1024
_NO_HITS: Mapping[str, int] = {}
_PASSES = 4
_TOO_WRAPPED = f"base64 or hexadecimal, more than {NESTED} deep"


class _Left(NamedTuple):
    """What is left of a text. `hits` empty: it is that very text."""

    text: bytes
    hits: Mapping[str, int]


class Values:
    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner

    def document(self, data: bytes, hits: Counter[str], depth: int = 0) -> bytes:
        """Of valid JSON, with everything that is hit replaced. `depth`: in how many strings it stood."""
        scanner = self._scanner
        if not scanner.anchored and not self._document_may_hit(data, NESTED + 2 - depth):
            return data
        tokens, patiences = Tokens(data), scanner.patiences(len(data))
        full_from = 0 if full.may_be(data) else len(data)
        out = BytesIO()
        put = at = 0
        while at < len(data):
            for found, to in suspects(scanner, data, tokens, at, full_from=full_from):
                at = to
                for start, end, left in self._changed(found, hits, depth):
                    copy_to(out, data, put, start)
                    out.write(left)
                    put = end
            while at < len(data):
                end = tokens.pass_over(at + _PART_BYTES)
                count = hits.total()
                part = self._full(data[at:end], hits, depth, patiences)
                if part is None:
                    full_from = end
                    tokens.begin(at)
                    break
                copy_to(out, data, put, at)
                out.write(part)
                put = at = end
                if hits.total() - count < MANY:
                    break
        if not put or not hits:
            return data
        copy_to(out, data, put, len(data))
        return out.getvalue()

    def _changed(
        self, found: Sequence[Found], hits: Counter[str], depth: int
    ) -> Iterator[tuple[int, int, bytes]]:
        """From where to where a string or number goes, and what stands in its place."""
        lefts = self._each([each for each in found if not each.number], depth)
        of_numbers = self._each([each for each in found if each.number], 0)
        strings, numbers = iter(lefts), iter(of_numbers)
        for each in found:
            left = next(numbers if each.number else strings)
            value = left.text
            if left.hits:
                for name, count in left.hits.items():
                    hits[name] += count
            elif each.number:
                value = self._written_out(value, hits)
            if value is not each.text:
                yield each.start, each.end, document.string_token(value)

    def _full(self, part: bytes, hits: Counter[str], depth: int, patiences: Patiences) -> bytes | None:
        """Of a part of a document that is full of what is looked for. None: it must be looked at value by value."""
        pieces = part.split(b'"')
        alone = full.alone(self._scanner, pieces)
        if alone is None:
            return None
        strings = pieces[1::2]
        if not strings:
            return part
        texts = [b"" if index in alone else text for index, text in enumerate(strings)] if alone else strings
        lefts = self._searched(texts, hits, depth, patiences)
        if lefts is None:
            return None
        changed = {*compress(lefts, map(ne, lefts, texts))}
        written = {left: document.string_token(left)[1:-1] for left in changed}
        pieces[1::2] = [written.get(left, left) for left in lefts]
        found = [Found(2 * index + 1, 0, strings[index], *of_one) for index, of_one in alone.items()]
        for place in alone:
            pieces[2 * place + 1] = strings[place]
        for place, _, token in self._changed(found, hits, depth):
            pieces[place] = token[1:-1]
        return b'"'.join(pieces)

    def _searched(
        self, texts: Sequence[bytes], hits: Counter[str], depth: int, patiences: Patiences
    ) -> Sequence[bytes] | None:
        """What is left of many short texts of ASCII that are no documents and stand under no telling name. None: each
        must be looked at by itself."""
        whole = Together.of(texts)
        plain = b"\\" not in whole.text and not full.reads_otherwise(whole)
        regions = self._scanner.regions_together(whole, patiences, plain=plain)
        if regions is None:
            return None
        lefts = self._opened(
            self._scanner.replacements.put(whole.text, regions, hits), hits, depth, patiences
        )
        remains = Counter(compress(lefts, map(ne, lefts, texts)))
        settled: dict[bytes, bytes] = {}
        for remain, left in zip(remains, self._settled([*remains], depth), strict=True):
            if left.hits:
                settled[remain] = left.text
                for name, count in left.hits.items():
                    hits[name] += count * remains[remain]
        return [settled.get(left, left) for left in lefts] if settled else lefts

    def _opened(self, text: bytes, hits: Counter[str], depth: int, patiences: Patiences) -> Sequence[bytes]:
        """Of texts in one, each with what stands in it in base64 and hexadecimal redacted."""
        runs = list(wrapped.runs(text))
        texts = Together.read(text).texts
        if not runs:
            return texts
        if depth == NESTED:
            raise TooDeep(_TOO_WRAPPED)
        contents = [run.content for run in runs]
        alike = max(map(len, contents)) < SHORT_BYTES and not document.any_looks_like_one(contents)
        lefts = self._searched(contents, hits, depth + 1, patiences) if alike else None
        if lefts is None:
            unwrapped = self._unwrapped([_Left(each, _NO_HITS) for each in texts], depth)
            for each in unwrapped:
                for name, count in each.hits.items():
                    hits[name] += count
            return [each.text for each in unwrapped]
        pieces: list[bytes] = []
        put = 0
        for run, content, left in zip(runs, contents, lefts, strict=True):
            if left != content:
                pieces += (text[put : run.start], run.wrap(left))
                put = run.end
        return Together.read(b"".join([*pieces, text[put:]])).texts

    def value(
        self, text: bytes, hits: Counter[str], key: bytes = b"", depth: int = 0, passes: int = _PASSES
    ) -> bytes:
        """One text: opened if it is JSON, then scanned as it is, and with its key. Again until nothing is hit,
        since what is left may come together anew; a text that does not come to rest in so many passes is masked
        whole."""
        name = ""
        opened = binary.opened(text) if depth < NESTED else None
        if opened is not None:
            return opened.redacted(lambda run: self.value(run, hits, depth=depth + 1))
        for _ in range(passes):
            found = Counter[str]()
            left = self._once(text, depth, found, key)
            if left is text:
                return text
            hits.update(found)
            text, name = left, next(iter(found))
        hits[name] += 1
        return mask(name)

    def _each(self, found: Sequence[Found], depth: int) -> list[_Left]:
        """Of each what `value` leaves. What comes again is looked at once, and short texts all together."""
        lefts: dict[tuple[bytes, bytes], _Left] = {}
        short: dict[tuple[bytes, bytes], Found] = {}
        many = len(found) > _FEW
        for each in found:
            place = text, _ = each.text, each.key
            if many and len(text) < SHORT_BYTES and not document.looks_like_one(text):
                short.setdefault(place, each)
            elif place not in lefts:
                lefts[place] = self._alone(text, each.key, depth, plain=each.plain)
        for plain in (True, False):
            places = [place for place, each in short.items() if each.plain is plain]
            if places:
                texts, keys = zip(*places, strict=True)
                lefts.update(zip(places, self._together(texts, keys, depth, plain=plain), strict=True))
        every = (lefts[each.text, each.key] for each in found)
        return [
            left if left.hits else _Left(each.text, left.hits)
            for each, left in zip(found, every, strict=True)
        ]

    def _alone(self, text: bytes, key: bytes, depth: int, *, plain: bool) -> _Left:
        hits, passes = Counter[str](), _PASSES
        if plain and not document.looks_like_one(text):
            left = self._scanner.replacements.put(text, self._scanner.regions(text, key, plain=True), hits)
            if not hits:
                return _Left(text, hits)
            text, passes = left, _PASSES - 1
        return _Left(self.value(text, hits, key, depth, passes), hits)

    def _together(
        self, texts: Sequence[bytes], keys: Sequence[bytes], depth: int, *, plain: bool
    ) -> list[_Left]:
        """In two searches: of the texts, and of what is left of those that were hit. What is not at rest then goes its
        own way."""
        lefts = self._once_each(texts, keys, depth, plain=plain)
        changed = [index for index, left in enumerate(lefts) if left.hits]
        settled = self._settled(
            [lefts[index].text for index in changed], depth, [keys[index] for index in changed]
        )
        for index, left in zip(changed, settled, strict=True):
            if left.hits:
                lefts[index] = _Left(left.text, _both(lefts[index].hits, left.hits))
        return lefts

    def _settled(
        self, remains: Sequence[bytes], depth: int, keys: Sequence[bytes] | None = None
    ) -> list[_Left]:
        """What is left of texts that were hit, when nothing more is hit in it."""
        keys = keys or [b""] * len(remains)
        if not remains:
            return []
        places = dict.fromkeys(zip(remains, keys, strict=True))  # most are a placeholder and nothing else
        lefts = self._once_each([text for text, _ in places], [key for _, key in places], depth, plain=False)
        settled = dict(zip(places, lefts, strict=True))
        for (remain, key), left in settled.items():
            if left.hits or document.is_one(remain):
                hits = Counter[str]()
                settled[remain, key] = _Left(self.value(remain, hits, key, depth, _PASSES - 1), hits)
        return [settled[place] for place in zip(remains, keys, strict=True)]

    def _once_each(
        self, texts: Sequence[bytes], keys: Sequence[bytes], depth: int, *, plain: bool
    ) -> list[_Left]:
        scanner = self._scanner
        lefts: list[_Left] = []
        for text, regions in zip(texts, scanner.regions_of_each(texts, keys, plain=plain), strict=True):
            if regions:
                hits: dict[str, int] = {}
                lefts.append(_Left(scanner.replacements.put(text, regions, hits), hits))
            else:
                lefts.append(_Left(text, _NO_HITS))
        return lefts if plain else self._unwrapped(lefts, depth)

    def _once(self, text: bytes, depth: int, hits: Counter[str], key: bytes) -> bytes:
        if not key and self._scanner.unremarkable(text):
            return text
        opened = document.is_one(text)
        if opened and depth == NESTED:
            if b"\\" in text:
                raise TooDeep(f"JSON in strings of JSON, more than {NESTED} deep")
            opened = False
        if opened:
            text = self.document(text, hits, depth + 1)
        regions = self._scanner.regions(text, key, opened=opened)
        text = self._scanner.replacements.put(text, regions, hits)
        if opened:
            return text
        (left,) = self._unwrapped([_Left(text, _NO_HITS)], depth)
        hits.update(left.hits)
        return left.text

    def _unwrapped(self, texts: list[_Left], depth: int) -> list[_Left]:
        """What stands in them in base64 and hexadecimal is redacted, and written in the same way again."""
        whole = Together.of([left.text for left in texts])
        runs = list(wrapped.runs(whole.text))
        if not runs:
            return texts
        if depth == NESTED:
            raise TooDeep(_TOO_WRAPPED)
        contents = self._each([Found(run.start, run.end, run.content) for run in runs], depth + 1)
        out = BytesIO()
        changed: dict[int, Mapping[str, int]] = {}
        put = 0
        for run, content in zip(runs, contents, strict=True):
            if content.hits:
                copy_to(out, whole.text, put, run.start)
                out.write(run.wrap(content.text))
                put = run.end
                index = whole.holder(run.start)
                changed[index] = _both(changed.get(index) or texts[index].hits, content.hits)
        if not changed:
            return texts
        copy_to(out, whole.text, put, len(whole.text))
        left = Together.read(out.getvalue()).texts
        for index, hits in changed.items():
            texts[index] = _Left(left[index], hits)
        return texts

    def _written_out(self, number: bytes, hits: Counter[str]) -> bytes:
        plain = document.written_out(number)
        if plain is None:
            return number
        found = self.value(plain, hits)
        return number if found is plain else found

    def _document_may_hit(self, data: bytes, readings: int) -> bool:
        """False: nothing in this document is hit. What its strings say is asked, and not how they are written; only
        where much is hit the beginning tells sooner."""
        if b"\\" not in data:
            return self._may_hit(data, readings)
        return self._scanner.may_hit(data[:_BEGINNING_BYTES]) or self._may_hit(unescape(data), readings - 1)

    def _may_hit(self, text: bytes, readings: int) -> bool:
        """False: nothing in this text is hit, however often it is decoded. Every value of a document stands in
        one of its readings, between quotes."""
        for _ in range(readings):
            narrowed = narrow(text)
            if self._scanner.may_hit(text) or any(map(self._scanner.may_hit, rereadings(text))):
                return True
            if narrowed is not text and self._may_hit(narrowed, readings - 1):
                return True
            contents = wrapped.contents(text)
            if contents and (self._scanner.anchored or self._may_hit(contents, readings - 1)):
                return True
            if b"\\" not in text:
                return False
            text = unescape(text)
        return True


def _both(hits: Mapping[str, int], others: Mapping[str, int]) -> Mapping[str, int]:
    return {**hits, **{name: hits.get(name, 0) + count for name, count in others.items()}} if hits else others

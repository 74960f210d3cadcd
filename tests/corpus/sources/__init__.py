"""Secrets as two dozen other sources write them: forms, one a line, by source, with values made here.

Both files were written down before they were first measured, with nothing tuned on them. `first.txt`: recall was then
0.709, and what was missed has been looked at since. `second.txt` came later, from other sources: 0.667, both without
and with the mends that the first one had led to. It holds passwords that are words and options of made-up commands,
many of which are left alone on purpose; what was general of it has been looked at since, too.

`<<...>>` is a secret: what it looks like, as a plain regular expression, or a name of `_NAMED`. A text that is JSON is
a document, and a string in one, as tools answer; any other text stands alone, and is a string in a document.
"""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from tests.corpus.redaction import Sample

_SOURCE = re.compile(r"\[([a-z][a-z -]+)\]")
_SECTIONS = frozenset({"[pypi]", "[repo]", "[global]", "[default]", "[credential]", "[client]"})
"""Of the configuration files themselves."""
_SECRET = re.compile(r"<<(.*?)>>(?!>)")
_PART = re.compile(
    r"(?:\[(?P<set>[^\]]+)\]|\((?P<either>[^)]*)\)|\\?(?P<letter>.))(?:\{(?P<least>\d+)(?:,(?P<most>\d+))?\})?"
)
_NAMED = {
    "R": "[A-Z][a-z]{2}[A-Z][a-z][0-9][A-Z][a-z]",
    "S": "[A-Za-z0-9]{9}[!@#$%&*?][A-Z]7",
    "W": "(sunshine|dragon|blink|trustno|grape|kingpin|letmein|qwerty|monkey|shadow)[1-9][0-9]{1,3}",
    "U": "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
}


def _letters(characters: str) -> str:
    return re.sub(
        r"(.)-(.)", lambda ends: "".join(map(chr, range(ord(ends[1]), ord(ends[2]) + 1))), characters
    )


def _value(form: str, chance: random.Random) -> str:
    value = ""
    for part in _PART.finditer(_NAMED.get(form, form)):
        least = int(part["least"] or 1)
        for _ in range(chance.randint(least, int(part["most"] or least))):
            if part["set"]:
                value += chance.choice(_letters(part["set"]))
            else:
                value += chance.choice(part["either"].split("|")) if part["either"] else part["letter"]
    return value


def _forms(file: str) -> Iterator[tuple[str, str]]:
    source = ""
    for line in (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines():
        begun = _SOURCE.fullmatch(line)
        if begun and line not in _SECTIONS:
            source = begun[1]
        else:
            yield source, line


def _in_json(text: str) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "result": {"content": [{"type": "text", "text": text}]}})


def secrets(file: str, seed: int, each: int) -> Iterator[Sample]:
    """`each` of every form of a file, in both ways."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    for source, form in _forms(file):
        is_json = form.startswith('{"')
        for _ in range(each):
            values = [_value(of, chance) for of in _SECRET.findall(form)]
            plain = _SECRET.split(form)[::2]
            text = plain[0] + "".join(value + after for value, after in zip(values, plain[1:], strict=True))
            if not is_json:
                text = text.replace("\\n", "\n").replace("\\\\", "\\")
            for value in values:
                yield Sample(source, text, value, is_json)
                yield Sample(source, _in_json(text), value, is_json=True)

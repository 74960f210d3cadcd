"""Characters that a reader, or a model, takes for ASCII ones, and characters that nobody sees."""

import unicodedata

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0001\U000e007f\U000e0100-\U000e01ef\u0300-\u036f"
)
"""Soft hyphens, zero-width and direction marks, variation selectors, and accents that stand alone."""

_COMPATIBLE = (
    "\u00a0\u00aa\u00b2\u00b3\u00b9\u00ba\u2000-\u200a\u2024-\u2026\u202f\u205f\u2070-\u209c\u2100-\u214f\u2460-\u2473"
    "\u24b6-\u24ea\u3000\ufb00-\ufb06\ufe50-\ufe6b\uff01-\uff5e\U0001d400-\U0001d7ff\U0001f130-\U0001f149"
)
"""Where Unicode's compatibility forms (NFKC) of ASCII are: full width, mathematical, raised, in circles."""

_DIGITS = "\u0660-\u0669\u06f0-\u06f9\u07c0-\u07c9\u0966-\u096f\u09e6-\u09ef\u0e50-\u0e59"

_ALIKE = (
    ("\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u0455\u0442", "acdehijlopst"),  # Cyrillic
    ("\u03c5\u051b\u051d\u0445\u0443\u0433\u043a\u043c\u044c\u050d\u0475", "uqwxyrkmbgv"),
    (
        "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405",
        "ABCEHIJKMOPS",
    ),  # Cyrillic, upper case
    ("\u0422\u0425\u0423\u051c\u04ae\u050c", "TXYWYG"),
    ("\u03b1\u03b9\u03ba\u03bf\u03c1\u03c4\u03bd\u03c9\u03b3\u0391\u0392\u0395", "aikoptvwyABE"),  # Greek
    ("\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7", "ZHIKMNOPTYX"),
    (
        "\u0585\u057d\u0581\u0570\u0566\u0578\u0251\u0261\u0131\u0269\u217c\u1d20",
        "oughqnagiilv",
    ),  # Armenian and Latin
    ("\u1d21\u1d22", "wz"),
    (
        "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2043\u2024\u3002\uff61\u06d4",
        "--------....",
    ),  # Punctuation
    ("\u2044\u2215\ua789\u2236\u02d0\u066a\u2018\u2019\u201c\u201d", "//:::%''\"\""),
)
"""After Unicode's confusables.txt: those with which secrets and addresses can be written."""

_TAGS = range(0xE0020, 0xE007F)
"""A second ASCII that nobody sees and models read."""


def _of(ranges: str) -> list[str]:
    """`a-c` stands for three characters."""
    found: list[str] = []
    characters = iter(ranges)
    for character in characters:
        if character == "-":
            found += map(chr, range(ord(found[-1]) + 1, ord(next(characters)) + 1))
        else:
            found.append(character)
    return found


def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for character in _of(_COMPATIBLE):
        plain = unicodedata.normalize("NFKC", character)
        if plain.isascii():
            table[ord(character)] = plain
    table |= {ord(digit): str(unicodedata.decimal(digit)) for digit in _of(_DIGITS)}
    table |= {code: chr(code - 0xE0000) for code in _TAGS}
    for alike, plain in _ALIKE:
        table |= dict(zip(map(ord, alike), plain, strict=True))
    return table | dict.fromkeys(map(ord, _of(_INVISIBLE)), "")


_PLAIN = _table()
LOOKALIKES = "".join(map(chr, sorted(_PLAIN)))
"""All of them."""


def plain(text: str) -> str:
    """Each character as the ASCII that it looks like, if it looks like any. Nothing more in a second pass."""
    return text.translate(_PLAIN)

"""Ways to write a text so that a scan of the raw bytes does not see what is in it, each with the way back."""

import base64
import html
import json
from collections.abc import Callable
from unicodedata import normalize
from urllib.parse import quote, quote_plus, unquote, unquote_plus

_CYRILLIC = str.maketrans("aceopxy", "\u0430\u0441\u0435\u043e\u0440\u0445\u0443")
_LATIN = {after: before for before, after in _CYRILLIC.items()}

Way = Callable[[str], str]

EVASIONS: dict[str, tuple[Way, Way]] = {
    "JSON in JSON": (
        lambda text: json.dumps({"v": json.dumps({"t": text})}),
        lambda text: json.loads(json.loads(text)["v"])["t"],
    ),
    "JSON in JSON in JSON": (
        lambda text: json.dumps({"v": json.dumps({"w": json.dumps({"t": text})})}),
        lambda text: json.loads(json.loads(json.loads(text)["v"])["w"])["t"],
    ),
    "form": (lambda text: f"a=1&v={quote_plus(text)}", lambda text: unquote_plus(text.removeprefix("a=1&v="))),
    "\\u": (
        lambda text: '{"t": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}',
        lambda text: json.loads(text)["t"],
    ),
    "percent": (lambda text: "".join(f"%{byte:02X}" for byte in text.encode()), unquote),
    "percent, twice": (lambda text: quote(quote(text, safe=""), safe=""), lambda text: unquote(unquote(text))),
    "base64": (
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.b64decode(text, validate=False).decode(errors="replace"),
    ),
    "hexadecimal": (lambda text: text.encode().hex(), lambda text: bytes.fromhex(text).decode()),
    "HTML entities": (lambda text: "".join(f"&#{ord(c)};" for c in text), html.unescape),
    "full width": (
        lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
        lambda text: normalize("NFKC", text),
    ),
    "zero width": ("\u200b".join, lambda text: text.replace("\u200b", "")),
    "homoglyphs": (lambda text: text.translate(_CYRILLIC), lambda text: text.translate(_LATIN)),
}  # fmt: skip
"""Name → (written so, read again). The text that is redacted may be read again in the same way."""

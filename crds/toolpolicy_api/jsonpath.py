"""JSONPath (RFC 9535), the part of it that says which fields: names, indices and wildcards, also at any depth.

Slices, filters, lists of selectors and indices from the end are refused by name: they depend on more than the way
from the root to a value.
"""

import re
from typing import NamedTuple

import msgspec

# Letters, digits, underscores and everything beyond ASCII. Written as what they are not, which compiles at once.
_SHORT = re.compile(r"[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*")
_BRACKET = re.compile(
    r"""\[[ \t\n\r]*(?:(?P<any>\*)|(?P<index>0|[1-9][0-9]{0,8})"""
    r"""|'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)")[ \t\n\r]*\]"""
)
_ESCAPE = re.compile(r"\\(.)|\"", re.DOTALL)


class Segment(NamedTuple):
    """`selector`: a name, an index, or None for every child. `anywhere`: of the value reached so far and of everything
    in it."""

    selector: str | int | None
    anywhere: bool = False


Path = tuple[Segment, ...]


def parse(text: str) -> Path:
    """Raises ValueError, with a message that says what is wrong and what would be right."""
    if not text.startswith("$"):
        raise ValueError("must begin with $, as in $.customer.ssn")
    segments: list[Segment] = []
    at = 1
    while at < len(text):
        anywhere = text.startswith("..", at)
        at += 2 * anywhere
        if text.startswith("[", at):
            selector, at = _bracketed(text, at)
        else:
            if not anywhere:
                if text[at] != ".":
                    raise ValueError(f"{text[at]!r} is not understood; go on with .name, ..name or [")
                at += 1
            if text.startswith("*", at):
                selector, at = None, at + 1
            elif match := _SHORT.match(text, at):
                selector, at = match[0], match.end()
            else:
                raise ValueError("a dot needs a name or * after it; write other names as ['a name']")
        segments.append(Segment(selector, anywhere))
    if not segments:
        raise ValueError("names the whole document; name a field of it, as in $.customer.ssn")
    return tuple(segments)


def _bracketed(text: str, at: int) -> tuple[str | int | None, int]:
    match = _BRACKET.match(text, at)
    if match is None:
        raise ValueError(_why_not(text[at:]))
    if match["any"]:
        return None, match.end()
    if match["index"]:
        return int(match["index"]), match.end()
    if match["single"] is not None:
        return _name(match["single"], "'"), match.end()
    return _name(match["double"], '"'), match.end()


def _name(quoted: str, quote: str) -> str:
    """A string of JSONPath is one of JSON, but for the quotes."""

    def in_json(match: re.Match[str]) -> str:
        if match[0] == '"':
            return r"\""
        return quote if match[1] == quote == "'" else match[0]

    try:
        return msgspec.json.decode(f'"{_ESCAPE.sub(in_json, quoted)}"', type=str)
    except ValueError:
        raise ValueError(f"{quote}{quoted}{quote} is no string") from None


def _why_not(rest: str) -> str:
    inside = re.split(r"\]", rest[1:], maxsplit=1)[0].strip()
    if inside.startswith("?"):
        return "filters are not supported; name the field, or use [*]"
    if inside.startswith("-"):
        return "indices from the end are not supported; use [*]"
    if "," in inside:
        return "several selectors in one bracket are not supported; write one path for each"
    if ":" in inside:
        return "slices are not supported; use [*]"
    return "a bracket needs a 'name', an index or *, and its end"

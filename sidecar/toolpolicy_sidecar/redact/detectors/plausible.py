"""Does it look like a secret? What stands beside a telling name, or behind a scheme, may be anything."""

import base64
import binascii
import json
import math
import re
from collections import Counter
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.detector import varied
from toolpolicy_sidecar.redact.detectors.naming import Naming, meaning, name_before, nearest_name


def json_header(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The first part of a JWT is JSON with `alg` or `enc` in it (RFC 7515, RFC 7516)."""
    header, payload = text[start:end].split(b".", 2)[:2]
    if (
        payload.startswith(b"eyJ") and len(payload) >= _LONG
    ):  # two objects side by side: nothing else looks so
        yield start, end
        return
    try:
        decoded = json.loads(base64.urlsafe_b64decode(header + b"=" * (-len(header) % 4)))
    except (ValueError, binascii.Error):
        return
    if isinstance(decoded, dict) and decoded.keys() & {"alg", "enc", "typ"}:
        yield start, end


_OF_HEADER = re.compile(rb"(?i)authorization\W{1,6}basic $")


def basic_credentials(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """`user:password` in base64 (RFC 7617)."""
    try:
        decoded = base64.b64decode(text[start:end], validate=True)
    except binascii.Error:
        return
    if b":" in decoded and decoded.isascii():
        yield start, end
    elif end - start >= _LONG and _OF_HEADER.search(text, max(0, start - 30), start):
        yield from credential(text, start, end)


_STAND_IN = re.compile(
    rb"(?i)(?:"
    rb"[$%@#]?[{(<\[]{1,2}[^})>\]]*[})>\]]{0,2}(?:</.*)?|\$[A-Za-z_]\w*|%\w{1,20}%?|[*x.#_?-]+|(.)\1*"
    rb"|(?:your|process|os|env|environ|config|conf|settings|self|this|args|input|props|options|params|req|request|var"
    rb"|local|data|module|secrets?|steps|inputs|github|context|ctx|app|std|system|user)[._-].*"
    rb"|(?:my|the|an?|some|new|old|test|insert|enter|put|add|replace)[._-][a-z._-]*"
    rb"|none|null|nil|undefined|true|false|yes|no|on|off|string|text|number|integer|int|boolean|bool|object|array|any"
    rb"|bytes|user_?name|str|varchar|optional\[?str\]?|secretstr|password|passwd|passphrase|passwort|secret|token|api_?key|key"
    rb"|required|optional|example|change_?me|change_?it|redacted|masked|hidden|removed|encrypted|placeholder|default"
    rb"|(?:in)?correct|(?:in)?valid|expired|missing|unknown|unset|empty|disabled|enabled|reset|forgotten|bearer|basic"
    rb"|(?:my|confirm|current|new|old|forgot|show|hide|weak|strong|your|example|sample|plain)[_-]?password|pass|pwd|field|input|hash(?:ed)?|plain(?:text)?"
    rb"|[\^~v]?[0-9]+(?:\.[0-9]+){1,3}|(?:[a-z]+[_-]){1,3}(?:password|passwd|passphrase)"
    rb"|[0-9]{1,3} ?(?:-|\xe2\x80\x93) ?[0-9]{1,3}|\{[0-9a-z]{0,12}\} .*|your"
    rb"|!(?:vault|unsafe|ref|sub|getatt|importvalue|reference|env|secret)"
    rb"|fehlt|erforderlich|ung\xc3\xbcltig|falsch|requise?|absent|aucune?|nessuna|richiesta|mancante|assente|ninguna"
    rb"|requerid[ao]|obligatori[ao]|inv(?:a|\xc3\xa1)lid[ao]|vac\xc3\xada|obrigat\xc3\xb3ri[ao]|vazia|nenhuma"
    rb"|vereist|verplicht|gerekli|zorunlu|obbligatori[ao]|puuttuu|kailangan|obave?zno|saknas|mangler|brak|pakollinen|wymagane|povinn\xc3\xa9"
    rb"|(?:[a-z]+[ -])?(?:adgangskode|palavra-passe|wachtwoord|passord|lozinka|geslo|heslo|haslo|parole?|salasana"
    rb"|senha|clave)"
    rb")[.,;:!]?"
)
"""What stands where a secret would: words of forms and of error messages."""
_WITH_A_VARIABLE = re.compile(rb".*\$[{(]?[A-Za-z_].*")
_VARIABLE = re.compile(rb"\$(?:[{(].*|[A-Za-z_]\w*)")
_SHELL_VARIABLE = re.compile(rb"\$\{?PWD\W*$")
_TITLE = re.compile(rb"[A-Z][a-z]+|[^\x00-\x7f]+[ *:!?.]*")
_MEMBER = re.compile(rb"[A-Za-z_$][\w$]*+(?:(?:\.|->|::)[A-Za-z_$][\w$]*+)+")
_SELECTOR = re.compile(rb"[#/.][A-Za-z][A-Za-z_/.-]*|https?://.*|arn:aws[a-z-]*:.*")
_PHRASE = re.compile(
    rb"[A-Za-z\x80-\xff][A-Za-z\x80-\xff '().,:;!?*/-]*|.*(?:\xe3\x80[\x81\x82]|\xef\xbc\x8c).*"
)
"""Where there are other letters than those of ASCII: the word for a password, or what is said about one."""
_SENTENCE = re.compile(
    rb"(?i)^[^0-9]*\b(?:your?|enter|please|must|should|is|are|was|has|have|be|been|not?|to|can|will|required|invalid|wrong"
    rb"|incorrect|expired|forgot(?:ten)?|reset|change|confirm|new|current|old|least|characters|password|field|with|and|or)\b"
    rb"|(?: [^ ]+){5}|(?-i:^[A-Z][^0-9]*$)"
)
_MOST_PASSED = 5
"""Digits: so many tests may pass."""
_NAME = re.compile(rb"[A-Za-z_][\w.-]*+:")
_NEXT_LINE = re.compile(rb">\s*\n\s*\Z")
"""Behind what stands in for a password, `<PASSWORD>`, the next name."""
_GOES_ON_AS_PROSE = re.compile(rb"[.,]? +(?:[a-z]+(?:[\s,.!?'`]|$)|[0-9]+ (?:and|or|to) )")
_TEST = re.compile(rb"\bPASS(?:ED)?\W*$")
_NAMES_OF_FILES = re.compile(rb"[A-Za-z0-9]+(?:[-_./][A-Za-z0-9]+)+")
_TYPE = re.compile(
    rb"(?:[A-Z][a-z]+)+(?:Keys?|Password|Secret|Token|String|Str|Input|Field|Hash|Type|Props|Schema|Config|Credentials?"
    rb"|Options?|Value|Info|Policy|Provider|Validator|Form|Control)"
)
"""Of a parameter or a member in code."""


def _is_stand_in(value: bytes) -> bool:
    if (
        value.find(b"$") >= 0
        and _WITH_A_VARIABLE.fullmatch(value)
        and not _is_mixed(_VARIABLE.sub(b"", value))
    ):
        return True
    return _STAND_IN.fullmatch(value) is not None


def _is_mixed(value: bytes) -> bool:
    """Of letters, both small and capital, and digits: no text into which a variable is put."""
    return len(value) >= _LEAST_MIXED_WITH_A_SIGN and _MIXED.match(value) is not None


_LEAST_MIXED_WITH_A_SIGN = 6
_MIXED = re.compile(rb"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")


def password(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Anything, but for variables, words of forms, code, and sentences about passwords."""
    value = text[start:end]
    quoted = text[start - 1 : start] in {b'"', b"'", b"`"} and start > 0
    if _is_stand_in(value) or _SHELL_VARIABLE.search(text, max(0, start - 8), start):
        return
    if (
        _SELECTOR.fullmatch(value)
        or _TITLE.fullmatch(value)
        or (not value.isascii() and _PHRASE.fullmatch(value))
    ):
        return
    if not quoted and (text[end : end + 1] in {b"(", b"["} or _is_member(value)):
        return
    if value.isdigit() and len(value) <= _MOST_PASSED and nearest_name(text, start).lower() == b"pass":
        return
    if not quoted and _TYPE.fullmatch(value) and text[end : end + 1] in _BEHIND_A_TYPE:
        return
    if not quoted and _NAMES_OF_FILES.fullmatch(value) and _TEST.search(text, max(0, start - 8), start):
        return
    if not quoted and _NAME.fullmatch(value) and _NEXT_LINE.search(text, max(0, start - 48), start):
        return
    if not quoted and value.isalpha() and text[start - 1 : start] == b"(":  # a variable, or a remark
        return
    before = text[max(0, start - 16) : start].lower()
    in_a_sentence = _GOES_ON_AS_PROSE.match(text, end) or before.endswith((b" is ", b" was ", b" to "))
    in_a_sentence = in_a_sentence or (value.endswith(b".") and before.endswith((b"password ", b"-psk ")))
    if not quoted and in_a_sentence and value.rstrip(b".,;:!").isalpha():
        return
    if value.find(b" ") >= 0 and _SENTENCE.search(value):
        return
    yield start, end


_BEHIND_A_TYPE = frozenset((b",", b";", b")", b"|", b">", b"?"))


def no_word(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A password where the place alone says that it may be one: then it is no word, no number, no name in code."""
    value = text[start:end]
    if not value.isalpha() and not value.isdigit() and not _NAMES.fullmatch(value):
        yield from password(text, start, end)


def of_setting(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As before, unless the name is that of something known about a password, such as `TOKEN_TTL`."""
    if meaning(nearest_name(text, start)) is not Naming.OTHER:
        yield from no_word(text, start, end)


def in_a_statement(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As before, but no marks around something that a document speaks of."""
    if text[start : start + 1] not in {b"<", b"*"}:
        yield from no_word(text, start, end)


_NAMES = re.compile(rb"-.*|[A-Za-z]+(?:[-_./: ][A-Za-z]+)*[.,;:!?]?|[a-z]+://.*")


def of_signs(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Random, and with signs that words and addresses do not have between their letters."""
    value = text[start:end]
    signs = _SIGN.findall(value)
    if (
        len(signs) > 1
        and b"://" not in value
        and not _TEMPLATE.search(value)
        and has_entropy(value, LEAST_BITS_OF_SIGNS)
    ):
        yield start, end


_SIGN = re.compile(rb"[^A-Za-z0-9_./:-]")
_TEMPLATE = re.compile(rb"\$\{|\{\{|<[a-z]|%\(|\)\.|\(\)|\]\(|\\")
LEAST_BITS_OF_SIGNS = 4.0


def of_seed(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As many words as BIP 39 has them, and hardly one twice."""
    words = list(_SEED_WORD.finditer(text, start, end))
    size = max((size for size in (12, 15, 18, 21, 24) if size <= len(words)), default=0)
    kinds = {word[0] for word in words[:size]}
    if size and 2 * len(kinds) >= size and not _PROSE & kinds:
        yield start, words[size - 1].end()


_SEED_WORD = re.compile(rb"[a-z]+")
_PROSE = frozenset(b"the and you your for with not are this from will that have".split())
"""In no list of BIP 39's words."""

LEAST_BITS = 2.8
"""Shannon entropy per character of a random value of 16 characters is above 3; of words it is mostly below."""
LEAST_BITS_OF_LETTERS = 4.0
"""Without a digit, which few random values lack and most names do."""
LEAST_BITS_OF_DIGITS = 2.5
LEAST_BITS_BESIDE_A_PROVIDER = 3.0
_LONG = 16
_LEAST_BITS_OF_SHORT = 2.5
_LEAST_MIXED = 5
"""So many letters and digits, and nothing else, are no word and nothing that stands in for a value."""
_DIGIT = re.compile(rb"[0-9]")
_LETTER = re.compile(rb"[A-Za-z]")
_LETTERS = re.compile(rb"[A-Za-z+/_-]+=*")
_PIECE = rb"(?:[A-Z]{2,}|[A-Z]?[a-z]{2,}|[0-9]{1,4}|v[0-9]{1,2})"
_WORDS = re.compile(_PIECE + rb"(?:[-_./:@ ]" + _PIECE + rb")*")
_CONSONANTS = re.compile(rb"(?i)[bcdfghjklmnpqrstvwxz]{5}")
_TURN = re.compile(rb"(?=[a-z][A-Z]|[A-Z][a-z]|[A-Za-z][0-9]|[0-9][A-Za-z])")


def random(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside a name that means a secret."""
    if text[end : end + 1] in {b"$", b"{"}:  # something is put in here
        return
    if _PUBLIC.fullmatch(text, start, end) or _CHECKSUM.search(text, max(0, start - 64), start):
        return
    if name_before(text, start) is Naming.TELLING and is_random(text[start:end]):
        yield start, end


_PUBLIC = re.compile(rb".*@sha256:[0-9a-f]{64}|0x[0-9a-fA-F]{40}")
"""An image behind a name with a tag; the address of an account or a contract, which is no key: keys have 64 digits."""
_CHECKSUM = re.compile(rb"checksum/[\w.-]*\W{1,6}\Z")
"""As Helm notes it, to restart what reads a secret."""


def of_key(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside a name that ends in key. A name that is no more than that is one in code and in queries, not in JSON,
    where it says which of many."""
    name = nearest_name(text, start)
    if name == b"key":
        at = text.rfind(name, 0, start)
        said = _SAID.search(text, max(0, at - _LONG), start)
        if said:
            name = said[1] + b"_key"
        elif at == 0 or text.find(b"=", at, start) < 0:
            return
    if meaning(name) is Naming.TELLING and is_random(text[start:end]):
        yield start, end


_SAID = re.compile(
    rb"(?!(?:the|this|that|an?|each|its|their|whose|which) )\b([A-Za-z0-9]{3,}) key (?:is|was)\W+\Z"
)
"""Whose key it is, not just some key."""


def of_provider(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Beside the name of a provider: letters and digits, not few, for the name alone is no proof."""
    value = text[start:end]
    if (
        _DIGIT.search(value)
        and has_entropy(value, LEAST_BITS_BESIDE_A_PROVIDER)
        and meaning(nearest_name(text, start)) is not Naming.OTHER
        and is_random(value)
    ):
        yield start, end


def with_digits(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the name of a method."""
    if len(re.findall(rb"[0-9]", text[start:end])) > 1:
        yield start, end


_OF_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]")


def whole(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not a part of a longer run of base64, in which any few characters stand somewhere, and not a path of words."""
    part = _OF_BASE64.match(text, end) or (start and _OF_BASE64.match(text, start - 1))
    if not part and _DIGIT.search(text, start, end):
        yield start, end


_HASH = re.compile(rb"(?:[0-9]+-)?[0-9a-f]*")


def no_hash(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of letters of all kinds, and not hexadecimal, as names of files are that say what is in them."""
    if not _HASH.fullmatch(text, start, end):
        yield from varied(text, start, end)


def of_prefix(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Behind letters of somebody's own: of every kind of character, and no part of anything longer."""
    if _is_mixed(text[text.rfind(b"_", start, end) + 1 : end]):
        yield from alone(text, start, end)


def alone(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Letters of both kinds and digits, and no part of anything longer."""
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    value = text[start:end]
    if not _PART_OF_MORE.search(around) and _is_mixed(value) and has_entropy(value, LEAST_BITS_ALONE):
        yield start, end


LEAST_BITS_ALONE = 3.7
_PART_OF_MORE = re.compile(rb"[A-Za-z0-9+/_-]")
_MORE_OF_BASE64 = re.compile(rb"[A-Za-z0-9+/=]")


def ended(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the beginning of a longer run of base64, nor a stand-in."""
    if not _MORE_OF_BASE64.match(text, end):
        yield from varied(text, start, end)


def credential(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Behind a scheme."""
    if is_random(text[start:end]):
        yield start, end


_HEAD = re.compile(rb"(?:[A-Za-z0-9]{1,32}[_-]){0,3}\Z")
_FIRST_OF_PREFIXED = re.compile(rb"(?:[A-Za-z]{2,10}[_-])?[a-z]{2,6}(?=[_-])")


def prefixed(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the key of a cache, or of anything else that says which one of many."""
    goes_on = text[start - 1 : start] in {b"_", b"-"}
    head = _HEAD.search(text, max(0, start - 32), start) if goes_on else None
    first = _FIRST_OF_PREFIXED.match(text, start, end)
    name = (head[0] if head else b"") + (first[0] if first else b"")
    if meaning(name) is not Naming.OTHER:
        yield from credential(text, start, end)


def is_random(value: bytes) -> bool:
    """Rather than words, a path, a date or a variable's name."""
    mixed = value.isalnum() and not value.isalpha() and not value.isdigit()  # then it is nothing of all this
    if mixed and len(value) >= _LEAST_MIXED:
        return not _COUNTED.fullmatch(value) and has_entropy(
            value, LEAST_BITS if len(value) >= _LONG else _LEAST_BITS_OF_SHORT
        )
    if not value.isdigit() or len(value) < _LEAST_MIXED:
        if _is_stand_in(value) or _WORDS.fullmatch(value) or _is_member(value):
            return False
        if _is_made_of_words(value) or value.endswith(b":"):  # the latter is a name itself
            return False
        if value.find(b"/") >= 0 and (value.find(b"://") >= 0 or value == value.lower()):
            return False  # a path: base64 of this length has capitals
    if not _LETTER.search(value):
        return len(value) >= _LONG and has_entropy(value, LEAST_BITS_OF_DIGITS)
    if _DIGIT.search(value):
        return has_entropy(value, LEAST_BITS if len(value) >= _LONG else _LEAST_BITS_OF_SHORT)
    if len(value) < _LONG or not _LETTERS.fullmatch(value):
        return False
    if value.isalpha() and _is_camel_case(value):
        return False
    if value.isalpha() and (
        (len(value) >= 24 and has_entropy(value, LEAST_BITS_OF_LETTERS))
        or _CONSONANTS.search(value) is not None
    ):
        return True
    capitals = sum(map(str.isupper, value.decode()))
    return 3 * len(_TURN.findall(value)) >= len(value) and 0.3 <= capitals / len(value) <= 0.7


_COUNTED = re.compile(rb"(?i)(?:0?1234?5?6?7?8?9?0?|abcd?e?f?g?h?|qwe(?:rty)?|asdf)+")
"""What people type who need any value, as `123456abcdef`."""
_CAMEL_CASE = re.compile(
    rb"(?:[a-z]++|(?=[A-Z]))(?:[A-Z]{1,4}[a-z]{2,}+|(?:Of|By|To|In|On|Or|At|Is|Id)(?=[A-Z]|\Z))+"
)
_VOWEL = re.compile(rb"[aeiouAEIOU]")
_LEAST_VOWELS = 0.28
"""Of random letters there are hardly ever so many: on average 0.19."""
_LEAST_WORD = 5
"""Letters, on average. Of random letters every fourth is small before a capital."""


def _is_camel_case(value: bytes) -> bool:
    """Words of a name in code, as `ModelCardExportJobSummaries`."""
    size = len(value)
    return (
        _CAMEL_CASE.fullmatch(value) is not None
        and len(_TURN_TO_CAPITAL.findall(value)) * _LEAST_WORD <= size
        and len(_VOWEL.findall(value)) >= size * _LEAST_VOWELS
    )


_TURN_TO_CAPITAL = re.compile(rb"[a-z][A-Z]")
_WORD = re.compile(rb"[a-z]{3,}|[A-Z]{3,}|[A-Z][a-z]{2,}")
_SEPARATOR = re.compile(rb"[-_.:]")
_SHORT = 10
_GROUPS = re.compile(
    rb"(?=.*[0-9])(?:[A-Z0-9]{7}(?:-[A-Z0-9]{7}){3}|[A-Z0-9]{8}(?:-[A-Z0-9]{8}){3}|[A-Z0-9]{5}(?:-[A-Z0-9]{5}){3,5}"
    rb"|[a-z0-9]{8}(?:-[a-z0-9]{4}){3}-[a-z0-9]{12})"
)
"""As keys of licences and universal identifiers are written, of whatever letters: words are not of one length."""


def _is_made_of_words(value: bytes) -> bool:
    """With a suffix that tells many apart, as `coredns-5d78c9869d-x7x4q`: a name, and what it names may be known."""
    if _GROUPS.fullmatch(value):
        return False
    pieces = _SEPARATOR.split(value)
    others = [piece for piece in pieces if not _WORD.fullmatch(piece)]
    words = len(pieces) - len(others)
    return words >= 1 and max(map(len, others), default=0) <= _SHORT


_OF_NAMES = re.compile(rb"\.|->|::")
_HASHED = re.compile(rb"(?:[A-Za-z]*[0-9]){4,}[A-Za-z]*")
_LEAST_HASHED = 12


def _is_member(value: bytes) -> bool:
    """Of something in code, as `os.environ`; but nobody calls anything `k3yid8Xw2Lq90ab1`."""
    return _MEMBER.fullmatch(value) is not None and not any(
        len(name) >= _LEAST_HASHED and _HASHED.fullmatch(name) for name in _OF_NAMES.split(value)
    )


def has_entropy(value: bytes, least_bits: float) -> bool:
    """Shannon's, per character."""
    size, kinds = len(value), len(set(value))
    if size < len(_OF_COUNT) and _SIZE_BITS[size] - _OF_COUNT[size - kinds + 1] / size >= least_bits:
        return True  # even where one of them comes again and again, and each other once
    weighted = map(_of_count, Counter(value).values())
    return math.log2(size) - sum(weighted) / size >= least_bits


def _of_count(count: int) -> float:
    return count * math.log2(count)


_OF_COUNT = [0.0, *map(_of_count, range(1, 512))]
_SIZE_BITS = [0.0, *map(math.log2, range(1, 512))]

"""How to reach a person: e-mail, telephone, network address."""

import ipaddress
import re
from collections.abc import Iterable, Iterator

from toolpolicy_sidecar.redact.detectors import telephone, telephone_national
from toolpolicy_sidecar.redact.detectors.detector import AT, Detector, beside
from toolpolicy_sidecar.redact.expression import Bounds, Expression

_FILE_SUFFIXES = frozenset(
    {b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp", b"css", b"js", b"json", b"html"}
)


def email(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Not the name of a file for high-resolution screens, `logo@2x.png`."""
    if text[start:end].rpartition(b".")[2].lower() not in _FILE_SUFFIXES:
        yield start, end


_WORD_OR_EMAIL = re.compile(
    rb"[A-Za-z0-9_][A-Za-z0-9._%+'-]*+(?:@(?:[A-Za-z0-9][A-Za-z0-9-]*+\.)+(xn--[A-Za-z0-9-]+|[A-Za-z]{2,}))?"
)
"""Of each word no more than one beginning is tried, which is what makes it linear."""


def every_email(text: bytes, candidate: Expression) -> Iterable[Bounds]:
    if candidate.first(text) is None:
        return ()
    return (
        word.span()
        for word in _WORD_OR_EMAIL.finditer(text)
        if word[1] is not None and word[1].lower() not in _FILE_SUFFIXES
    )


_VERSION_BEFORE = re.compile(
    rb"(?i)(?:[a-z]/|\bv(?:er(?:sions?)?)?[\s.:=\"']{0,4}|version\W{1,4}|[a-z0-9]\.)$"
)
_LETTER_BEFORE = 5
"""No farther before a version does its last letter stand."""


def _networks(*written: str) -> frozenset[int]:
    """The upper halves of the addresses in them."""
    networks = map(ipaddress.IPv4Network, written)
    return frozenset(
        half
        for network in networks
        for half in range(int(network.network_address) >> 16, (int(network.broadcast_address) >> 16) + 1)
    )


_OCTETS = {b"%d" % octet: octet for octet in range(256)}
"""As they are written: with a zero in front they are octal to some, and a number of something else to most."""
_NOBODY = _networks("127.0.0.0/8", "0.0.0.0/8", "255.0.0.0/8", "169.254.0.0/16")
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


def ip_address(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of a host that may be somebody's: not of a private network."""
    if text.find(b":", start, end) >= 0:
        if _is_ipv6_host(text[start:end]):
            yield start, end
        return
    address = _ipv4_host(text, start, end)
    if address is not None and address >> 16 not in _PRIVATE:
        yield start, end


def private_address(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of a host in a private network (RFC 1918), where millions have the same."""
    address = _ipv4_host(text, start, end)
    if address is not None and address >> 16 in _PRIVATE:
        yield start, end


def _is_ipv6_host(written: bytes) -> bool:
    try:
        address = ipaddress.IPv6Address(written.decode())
    except ValueError:
        return False
    return len(written) >= 6 and not address.is_loopback and not address.is_unspecified


def _ipv4_host(text: bytes, start: int, end: int) -> int | None:
    """Its number. Not a mask, not a network, not this machine's own, not the version of a browser."""
    first, second, third, last = map(_OCTETS.get, text[start:end].split(b"."))
    if first is None or second is None or third is None or last is None:
        return None
    address = first << 24 | second << 16 | third << 8 | last
    behind = text[end : end + 2]
    if behind and ((behind[:1] == b"." and behind[1:].isdigit()) or (behind[:1] == b"/" and not last)):
        return None
    if address >> 16 in _NOBODY or not address & 0xFFFFFF:
        return None
    return None if start and _is_version(text, start) else address


def _is_version(text: bytes, start: int) -> bool:
    """Of software, by what stands before it: mostly no letter and no dot is near, and no search needed."""
    near = text[max(0, start - _LETTER_BEFORE) : start]
    if near == near.swapcase() and not near.endswith(b"."):
        return False
    return _VERSION_BEFORE.search(text, max(0, start - 16), start) is not None


_ASCII_TELEPHONE = (
    r"phone|\btel\b|\btel[._:-]|mobile|\bcell|\bfax|telefon|telephone|whatsapp|\bcall\b|\bsms\b"
    r"|handy|\b(?:my|our|his|her|their|your) number\b|\breach (?:me|us|him|her|them)\b|\bdial\b"
    r"|\b(?:ring|text|contact) (?:me|us|him|her|them)\b|\banswering (?:at|on)\b|\bcelular|\bmovil|\bgsm\b|\bph[.:#]"
)
_TELEPHONE = (
    f"(?i:{_ASCII_TELEPHONE}|contact.?n|t[ée]l[éeè](?:ph|f)on|\\bm[óo]vil"
    "|电话|手机|電話|携帯|전화|휴대폰|тел(?:ефон)?)"
)
"""What stands before a number that is a telephone's."""
_ITS_NUMBER = (
    r"(?i:[a-z_ .#-]{0,20})[\"'\\]{0,2}[\t\n\f\r ]{0,2}[:=#>]{0,2}[\t\n\f\r ]{0,2}[\"'\\(]{0,2}"
    r"(\(?[0-9](?:[ ().\-/]{0,3}[0-9]){6,14})"
)
_FIRST_DIGITS = re.compile(rb"[^0-9]*+(?<=[^0-9(])([0-9].*)", re.DOTALL)
"""Names have no digits. A bracket before them may belong to the name, or to the number."""
_HEX4 = "[0-9A-Fa-f]{1,4}"
_ADDRESS = (
    r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"
    rf"|\b(?:{_HEX4}:){{7}}{_HEX4}\b|\b(?:{_HEX4}:){{1,6}}(?::{_HEX4}){{1,6}}\b"
)
_SEPARATED_DIGIT = r"(?:[ ().\-/]{0,2}[0-9])"
_EXTENSION = r"(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_FROM_A_PLUS = rf"\+[ (]?[0-9]{_SEPARATED_DIGIT}{{6,16}}{_EXTENSION}"
_NUMBER = (
    r"(?i:[a-z_ .#-]{0,20})[\"'\\]{0,2}[\t\n\f\r ]{0,2}[:=#>]{0,2}[\t\n\f\r ]{0,2}[\"'\\(]{0,2}"
    r"(\(?[0-9](?:[ ().\-/]{0,3}[0-9]){6,14})"
)
_FIRST_DIGITS = re.compile(rb"[^0-9]*+(?<=[^0-9(])([0-9].*)", re.DOTALL)
"""Names have no digits. A bracket before them may belong to the name, or to the number."""
_HEX4 = "[0-9A-Fa-f]{1,4}"
_ADDRESS = (
    r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"
    rf"|\b(?:{_HEX4}:){{7}}{_HEX4}\b|\b(?:{_HEX4}:){{1,6}}(?::{_HEX4}){{1,6}}\b"
)
_SEPARATED_DIGIT = r"(?:[ ().\-/]{0,2}[0-9])"
_EXTENSION = r"(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_FROM_A_PLUS = rf"\+[ (]?[0-9]{_SEPARATED_DIGIT}{{6,16}}{_EXTENSION}"
_NATIONAL = (
    r"\(?\b0[1-9][0-9]{0,3}\)?[ /-]{1,3}[0-9]{2,8}(?:[ -][0-9]{2,8}){0,4}\b"
    r"|\b0[1-9](?:\.[0-9]{2}){4}\b"
    r"|\([1-9][0-9]{1,2}\) ?[0-9]{3,5}-[0-9]{2,4}(?:-[0-9]{2})?\b"
    r"|\b1[3-9][0-9][ -][0-9]{4}[ -][0-9]{4}\b"
)
"""With separators: from the digit on that is dialled before an area's code, with that code in brackets, mobile in
China."""
_NUMBER = (
    rf"{_FROM_A_PLUS}|\b00[1-9]{_SEPARATED_DIGIT}{{7,14}}{_EXTENSION}"
    rf"|(?:\b1[ .-])?\(?\b[2-9][0-9]{{2}}(?:\) ?|[. -])[2-9][0-9]{{2}}[. -][0-9]{{4}}{_EXTENSION}"
    rf"|{telephone_national.FORM}"
)
# As `beside`; in these nothing that has matched is ever matched in another way.
_BESIDE_A_NUMBER = re.compile(rb"[ -'),-/:-@\xff]{0,8}+(%b)" % _FROM_A_PLUS.replace("}", "}+").encode())
_BESIDE_A_NAMED_NUMBER = re.compile(
    rb"[ -@\xff]{0,8}+(?i:%b)%b" % (_ASCII_TELEPHONE.encode(), _ITS_NUMBER.replace("}", "}+").encode())
)
_PRIVATE_ADDRESS = r"\b1(?:0|00|72|92)\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"

PEOPLE: tuple[Detector, ...] = (
    Detector(
        name="Email",
        groups=("PII",),
        description="E-mail addresses: the dotted and plus forms that are in use, international ones too.",
        source="RFC 5321, RFC 6531",
        confidence="High",
        trigger=AT,
        expression=r"[\pL\pN_][\pL\pM\pN._%+'-]*@(?:[\pL\pN][\pL\pM\pN-]*\.)+(?:xn--[A-Za-z0-9-]+|\pL[\pL\pM]+)",
        examples=(
            "jane.doe@example.com",
            "a+b@mail.example.co.uk",
            "o'neil@example.org",
            "_jane@example.com",
            "JANE@EXAMPLE.COM",
            "jörg@müller.de",
            "jane@xn--mller-kva.xn--p1ai",
            "1@2.museum",
        ),
        others=(
            "jane at example.com",
            "@example.com",
            "jane@",
            "user@localhost",
            "a@b",
            "left-pad@1.3.0",
            "logo@2x.png",
            "@media (min-width: 3em)",
        ),
        validator=email,
        every=every_email,
    ),
    Detector(
        name="Phone",
        groups=("PII",),
        description="Telephone numbers: international ones, North America's written with separators.",
        source="ITU-T E.164; libphonenumber's metadata; the North American numbering plan",
        confidence="Medium",
        trigger=r"\+[ (]?[0-9][ ().-]{0,2}[0-9]|[). -][0-9]{3}[. -][0-9]{4}|-[0-9]{4}-[0-9]{4}|\b00[1-9]"
        r"|\b0[1-9][0-9]{0,3}[)/ -]{1,3}[0-9]{3,4}[ -]?[0-9]{2}|\b0[1-9](?:[ .-][0-9]{2}){4}"
        r"|\b0[1-9][0-9]{1,3}[)/ -]{1,3}[0-9]{2}[ -][0-9]{2}[ -][0-9]{2}"
        r"|\) ?[0-9]{3,5}-[0-9]{2}|\b1[3-9][0-9] [0-9]{4} [0-9]{4}",
        expression=_NUMBER,
        examples=(
            "+49 1511 2345678",
            "+14155552671",
            "+44 (0)20 7946 0958",
            "(415) 555-2671",
            "415-555-2671",
            "415.555.2671",
            "415-555-2671x123",
            "001-415-555-2671",
            "1-415-555-2671",
            "+7 (914) 177-76-31",
            "090-1234-5678",
            "02-312-3456",
            "030/123456",
            "0151 / 23 45 67 89",
            "07700 900123",
            "(020) 7946 0123",
            "01.23.45.67.89",
            "06-12345678",
            "0412 345 678",
            "(11) 91234-5678",
            "138 0013 8000",
            "+45 789 227 879",
            "+52570113648",
        ),
        others=(
            "+1",
            "1-2-3",
            "2026-11-21",
            "123-45",
            "+00 000 000 00",
            "+1234567",
            "192.168.100.1",
            "3.14159265358979",
            "100-200-3000",
            "order 415-555-26719",
            "0012345678905",
            "02139-4307",
            "07000 - 07899",
            "04-1234567",
            "01-02-2026 1030",
            "2026-01-02 10 30 15 99",
            "045-1234567-1234567",
            "0412-3456-7890-abcd",
            "01 02 03 04 05",
            "0399 0308 0301",
            "12 0412 345 678",
            "(11) 2019-2020",
            "+999 123 456 789",
            "+0123456789",
        ),
        validator=telephone.written_for_the_world,
        every=telephone.every_for_the_world,
        near=_BESIDE_A_NUMBER,
    ),
    Detector(
        name="NationalPhone",
        groups=("PII", "Phone"),
        description="Telephone numbers in a country's own form, beside a name that says so.",
        source="libphonenumber's metadata",
        confidence="Medium",
        trigger=_TELEPHONE,
        expression=_TELEPHONE + _ITS_NUMBER,
        examples=(
            "phone: 020 7946 0958",
            "tel. 030 901820",
            "mobile_number=4155552671",
            "call me at 4155552671",
            "Fax: 0151 12345678",
            "my number is 0151 12345678",
            "reach us on 020 7946 0958",
            "text me at 612 34 56 78",
            "celular: 91234-5678",
            "móvil 612345678",
            "<phone>612345678</phone>",
            "phone: 905012345678",
        ),
        others=(
            "phone: 0",
            "mobile 2026",
            "cell A12",
            "phone_id=1234567890123456",
            "call 20261121100000",
            "sms-2016-10-24",
            "phone_seen_at: 1763807112345",
        ),
        validator=telephone.of_some_country,
        every=telephone.every_of_some_country,
        keyed=True,
        value=_FIRST_DIGITS,
        near=_BESIDE_A_NAMED_NUMBER,
    ),
    Detector(
        name="IPAddress",
        groups=("PII",),
        description="Addresses of hosts, IPv4 and IPv6.",
        source="RFC 791, RFC 4291",
        confidence="Medium",
        trigger=rf"[0-9]\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]|(?::{_HEX4}){{5}}:|[0-9A-Fa-f]::[0-9A-Fa-f]|::[0-9A-Fa-f]{{1,4}}:",
        expression=_ADDRESS,
        examples=(
            "203.0.113.7",
            "8.8.8.8",
            "2001:db8::8a2e:370:7334",
            "2001:0db8:0000:0000:0000:8a2e:0370:7334",
            "fe80::1ff:fe23:4567:890a",
        ),
        others=(
            "203.0.113.0/24",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.0",
            "Chrome/120.0.0.1",
            "v1.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "aurora.2.10.0.1",
            "169.254.169.254",
            "300.1.1.1",
            "10:20:30",
            "::1",
            "a::b",
            "std::map",
            "00:1b:44:11:3a:b7",
        ),
        validator=ip_address,
        near=beside(f"({_ADDRESS})"),
    ),
    Detector(
        name="PrivateIPAddress",
        groups=("PII", "IPAddress"),
        description="Addresses of hosts in private networks, which say nothing outside of them.",
        source="RFC 1918, RFC 6598",
        confidence="Low",
        trigger=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        expression=_PRIVATE_ADDRESS,
        examples=("10.1.2.3", "192.168.100.1", "172.31.255.254", "100.64.1.1"),
        others=("203.0.113.7", "127.0.0.1", "10.0.0.0/8", "172.32.1.1", "10.96.0.0/12", "v10.1.2.3"),
        validator=private_address,
        near=beside(f"({_PRIVATE_ADDRESS})"),
    ),
)

"""Payment cards and bank accounts."""

import re
import string
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.card_lanes import every_card
from toolpolicy_sidecar.redact.detectors.cards import payment_card
from toolpolicy_sidecar.redact.detectors.detector import Detector

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Country → characters (SWIFT's IBAN registry)."""
_COUNTRIES = "|".join(
    f"{first}[{''.join(sorted(country[1] for country in IBAN_LENGTHS if country[0] == first))}]"
    for first in sorted({country[0] for country in IBAN_LENGTHS})
)


def iban(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """As long as its country's are, give or take one as it happens to typists and to makers of test data, with the
    remainder 1 modulo 97 (ISO 13616). A candidate may run on into the next word."""
    length = IBAN_LENGTHS[text[start : start + 2].decode().upper()]
    at = start
    seen = bytearray()
    dashed = text.find(b"-", start, end) >= 0
    while at < end and len(seen) <= length:
        if text[at] not in b" -":
            seen.append(text[at])
            ends_here = not text[at + 1 : at + 2].isalnum() and not (dashed and text[at + 1 : at + 2] == b"-")
            if length - 1 <= len(seen) <= length + 1 and ends_here and is_iban(bytes(seen)):
                yield start, at + 1
                return
        at += 1


def is_iban(compact: bytes) -> bool:
    """Without spaces. No id of a trace or an object either: behind letters of
    hexadecimal these countries have digits."""
    return (
        not _HEXADECIMAL.fullmatch(compact)
        and int(b"".join([_AS_DIGITS[character] for character in compact[4:] + compact[:4]])) % 97 == 1
    )


_HEXADECIMAL = re.compile(rb"(?:ae|ba|be|de|ee)[0-9a-f]*[a-f][0-9a-f]*|ad[0-9]{2}(?![0-9]{8})[0-9a-f]*")
_AS_DIGITS = {character: b"%d" % int(chr(character), 36) for character in string.ascii_letters.encode()} | {
    digit: bytes([digit]) for digit in string.digits.encode()
}


MONEY: tuple[Detector, ...] = (
    Detector(
        name="CreditCard",
        groups=("Financial",),
        description="Payment card numbers: issuer's range, length and check digit, spaces or dashes between.",
        source="ISO/IEC 7812; the issuers' public ranges",
        confidence="High",
        trigger=r"(?:\b|_)(?:[2-6]|1800)(?:[ -]?[0-9]){11}",
        expression=r"(?:[2-6]|1800)(?:[ -]?[0-9]){11,}",
        examples=(
            "4111111111111111",
            "4111 1111 1111 1111",
            "4222222222222",
            "5500-0000-0000-0004",
            "2223003122003222",
            "378282246310005",
            "3782 822463 10005",
            "30569309025904",
            "3056 930902 5904",
            "6011111111111117",
            "3530111333300000",
            "6200000000000005",
            "6759649826438453",
            "2200000000000004",
        ),
        others=(
            "4111111111111112",
            "1234567890123456",
            "4444444444444444",
            "41111111",
            "2026-11-21 10:00:00",
            "0.4111111111111111",
            "a4111111111111111",
            "4111111111111111f",
            "41111111111111114111111111111111",
            "4111  1111  1111  1111",
            "1700000000000",
            "+49 1511 2345678",
            "11111111-2222-3333-4444-555555555555",
        ),
        validator=payment_card,
        every=every_card,
    ),
    Detector(
        name="IBAN",
        groups=("Financial",),
        description="International bank account numbers: the country's length, and the checksum.",
        source="ISO 13616; SWIFT, IBAN registry",
        confidence="High",
        trigger=rf"(?:{_COUNTRIES})[0-9]{{2}}[ -]?[0-9A-Z]{{2}}"
        rf"|\b(?i:{_COUNTRIES})[0-9]{{2}}[ -]?[0-9a-z]{{2}}[ -]?[0-9a-z]{{2}}",
        expression=rf"\b(?i:{_COUNTRIES})[0-9]{{2}}(?:[ -]?[0-9A-Za-z]){{11,30}}",
        examples=(
            "DE89370400440532013000",
            "DE89 3704 0044 0532 0130 00",
            "GB29 NWBK 6016 1331 9268 19",
            "NO9386011117947",
            "MT84MALT011000012345MTLCAST001S",
            "FR14 2004 1010 0505 0001 3M02 606",
            "de89 3704 0044 0532 0130 00",
            "gb29nwbk60161331926819",
        ),
        others=(
            "DE89370400440532013001",
            "DE8937040044053201300",
            "XX89370400440532013000",
            "DE89370400440532013000A1",
            "IS2600000000",
            "ee92fd6f-e0f7-4391-85fd-4b50921b973f",
            "be97f099057bfb0b",
            "ae782fc39b1e1f40fd943d9a",
        ),
        validator=iban,
    ),
)

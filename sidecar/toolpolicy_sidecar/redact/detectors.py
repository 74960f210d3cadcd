"""What is looked for, as data. A detector is an RE2 expression, and a check where the form alone does not tell."""

from collections.abc import Callable
from typing import NamedTuple


def luhn(text: str) -> bool:
    """The check digit of ISO/IEC 7812-1, over the digits of the text."""
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [
        digit if index % 2 == 0 else digit * 2 - 9 * (digit > 4)
        for index, digit in enumerate(reversed(digits))
    ]
    return sum(doubled) % 10 == 0


_LENGTHS = {"4": (13, 16, 19), "5": (16,), "2": (16,), "6": (16, 17, 18, 19), "3": (14, 15, 16)}


def payment_card(text: str) -> bool:
    """An issuer's leading digit, its length, and the check digit; not one digit repeated."""
    digits = "".join(character for character in text if character.isdigit())
    return len(digits) in _LENGTHS.get(digits[0], ()) and len(set(digits)) > 1 and luhn(digits)


class Detector(NamedTuple):
    """`examples` must hit as a whole, `others` must not hit at all."""

    name: str
    description: str
    regex: str
    examples: tuple[str, ...]
    others: tuple[str, ...]
    check: Callable[[str], bool] | None = None


DETECTORS = {
    detector.name: detector
    for detector in (
        Detector(
            name="Email",
            description="E-mail addresses (RFC 5321, the forms that are in use).",
            regex=r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+[A-Za-z]{2,24}",
            examples=("jane.doe@example.com", "a+b@mail.example.co.uk", "o'neil@example.org"),
            others=("jane at example.com", "@example.com", "user@localhost", "a@b", "git@github"),
        ),
        Detector(
            name="CreditCard",
            description="Payment card numbers: issuer's form, length and check digit (ISO/IEC 7812).",
            regex=r"\b[2-6](?:[ -]?[0-9]){12,18}\b",
            examples=("4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"),
            others=(
                "4111111111111112",
                "1234567890123456",
                "4444444444444444",
                "41111111",
                "2026-11-21 10:00:00",
            ),
            check=payment_card,
        ),
    )
}

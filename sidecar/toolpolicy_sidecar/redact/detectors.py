"""What is looked for, as data. Tests read the examples from here: a new detector is a new entry."""

from typing import NamedTuple

from toolpolicy_sidecar.redact import validators
from toolpolicy_sidecar.redact.validators import Validator


class Detector(NamedTuple):
    """`expression` is RE2 without anchors, so that one search over a whole document can rule it out.

    Each of `examples` must be hit as a whole, in `others` nothing must be hit.
    """

    name: str
    description: str
    expression: str
    examples: tuple[str, ...]
    others: tuple[str, ...]
    validator: Validator | None = None


_ALL = (
    Detector(
        name="Email",
        description="E-mail addresses: the dotted and plus forms that are in use, international ones too.",
        expression=r"[\pL\pN_][\pL\pN._%+'-]*@(?:[\pL\pN][\pL\pN-]*\.)+(?:xn--[A-Za-z0-9-]+|\pL\pL+)",
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
        validator=validators.email,
    ),
    Detector(
        name="CreditCard",
        description="Payment card numbers: issuer's range, length and check digit, spaces or dashes between.",
        expression=r"[2-6](?:[ -]?[0-9]){12,}",
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
        ),
        validator=validators.payment_card,
    ),
)

DETECTORS = {detector.name: detector for detector in _ALL}

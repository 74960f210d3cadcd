"""How to reach a person: e-mail and telephone."""

import re

from toolpolicy_sidecar.redact.detectors import mail, telephone
from toolpolicy_sidecar.redact.detectors.detector import AT, Detector

_ASCII_TELEPHONE = (
    r"phone|\btel\b|\btel[._:-]|mobile|\bcell|\bfax|telefon|telephone|whatsapp|\bcall\b|\bsms\b"
    r"|handy|\b(?:my|our|his|her|their|your) number\b|\breach (?:me|us|him|her|them)\b|\bdial\b"
    r"|\bring (?:me|us)\b"
)
_TELEPHONE = (
    f"(?i:{_ASCII_TELEPHONE}|contact.?n|t[ée]l[ée]phone|电话|手机|電話|携帯|전화|휴대폰|тел(?:ефон)?)"
)
"""What stands before a number that is a telephone's."""
_ITS_NUMBER = (
    r"(?i:[a-z_ .#-]{0,20})[\"'\\]{0,2}[\t\n\f\r ]{0,2}[:=#]{0,2}[\t\n\f\r ]{0,2}[\"'\\(]{0,2}"
    r"(\(?[0-9](?:[ ().\-/]{0,2}[0-9]){6,11})"
)
_FIRST_DIGITS = re.compile(rb"[^0-9]*+(?<=[^0-9(])([0-9].*)", re.DOTALL)
"""Names have no digits. A bracket before them may belong to the name, or to the number."""
_SEPARATED_DIGIT = r"(?:[ ().\-/]{0,2}[0-9])"
_EXTENSION = r"(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_FROM_A_PLUS = rf"\+[ (]?[0-9]{_SEPARATED_DIGIT}{{6,16}}{_EXTENSION}"
_NUMBER = (
    rf"{_FROM_A_PLUS}|\b00[1-9]{_SEPARATED_DIGIT}{{7,14}}{_EXTENSION}|\b0[1-9][0-9]{{0,2}}-[0-9]{{3,4}}-[0-9]{{4}}\b"
    rf"|(?:\b1[ .-])?\(?\b[2-9][0-9]{{2}}(?:\) ?|[. -])[2-9][0-9]{{2}}[. -][0-9]{{4}}{_EXTENSION}"
)
# As `beside`; in these nothing that has matched is ever matched in another way.
_BESIDE_A_NUMBER = re.compile(rb"[ -'),-/:-@\xff]{0,8}+(%b)" % _FROM_A_PLUS.replace("}", "}+").encode())
_BESIDE_A_NAMED_NUMBER = re.compile(
    rb"[ -@\xff]{0,8}+(?i:%b)%b" % (_ASCII_TELEPHONE.encode(), _ITS_NUMBER.replace("}", "}+").encode())
)

PEOPLE: tuple[Detector, ...] = (
    Detector(
        name="Email",
        groups=("PII",),
        description="E-mail addresses: the dotted and plus forms that are in use, international ones too.",
        source="RFC 5321, RFC 6531",
        confidence="High",
        trigger=AT,
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
            "git@example.com",
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
            "git@example.com:team/app.git",
            "git+ssh://git@example.com/team/app.git",
            "members@odata.type",
            "react@19.0.0-rc.canary",
            "https://user:password@example.com",
        ),
        validator=mail.email,
        every=mail.every_email,
    ),
    Detector(
        name="Phone",
        groups=("PII",),
        description="Telephone numbers: international ones, North America's written with separators.",
        source="ITU-T E.164; libphonenumber's metadata; the North American numbering plan",
        confidence="Medium",
        trigger=r"\+[ (]?[0-9][ ().-]{0,2}[0-9]|[). -][0-9]{3}[. -][0-9]{4}|-[0-9]{4}-[0-9]{4}|\b00[1-9]",
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
            "35.00526375200009",
            "ami-0024742711da212af",
            "e98f0f22-0937-4495-8211-d5633e50fb8d",
            "+ 2018-04-26",
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
        ),
        others=(
            "phone: 0",
            "mobile 2026",
            "cell A12",
            "phone_id=1234567890123456",
            "call 20261121100000",
            "sms-2016-10-24",
        ),
        validator=telephone.of_some_country,
        every=telephone.every_of_some_country,
        keyed=True,
        value=_FIRST_DIGITS,
        near=_BESIDE_A_NAMED_NUMBER,
    ),
)

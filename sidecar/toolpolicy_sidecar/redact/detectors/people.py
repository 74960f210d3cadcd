"""How to reach a person: e-mail and telephone."""

import re

from toolpolicy_sidecar.redact.detectors import mail, telephone, telephone_national
from toolpolicy_sidecar.redact.detectors.detector import AT, FARTHER, Detector

_ASCII_TELEPHONE = (
    r"phone|\btel\b|\btel[._:-]|mobile|\bcell(?:[^.0-9]|\.[^0-9])|\bfax|telefon|telephone|whatsapp|\bcall\b|\bsms\b"
    r"|handy|\b(?:my|our|his|her|their|your) number\b|\breach (?:me|us|him|her|them)\b|\bdial\b"
    r"|\b(?:ring|text|contact) (?:me|us|him|her|them)\b|\banswering (?:at|on)\b|\bcelular|\bmovil|\bgsm\b|\bph[.:#]"
)
_TELEPHONE = (
    f"(?i:{_ASCII_TELEPHONE}|contact.?n|t[ée]l[éeè](?:ph|f)on|\\bm[óo]vil"
    "|电话|手机|電話|携帯|전화|휴대폰|тел(?:ефон)?)"
)
"""What stands before a number that is a telephone's."""
_ITS_NUMBER = (
    r"(?i:[a-z_ .#-]{0,20})"
    rf"(?:[\"'\\]{{0,2}}[\t\n\f\r ]{{0,2}}[:=#>]{{0,2}}[\t\n\f\r ]{{0,2}}[\"'\\(]{{0,2}}|{FARTHER})"
    r"(\(?[0-9](?:[ ().\-/]{0,3}[0-9]){6,14})"
)
_FIRST_DIGITS = re.compile(rb"[^0-9]*+(?<=[^0-9(])([0-9].*)", re.DOTALL)
"""Names have no digits. A bracket before them may belong to the name, or to the number."""
_SEPARATED_DIGIT = r"(?:[ ().\-/]{0,2}[0-9])"
_EXTENSION = r"(?: ?(?:x|ext\.?) ?[0-9]{1,6})?"
_FROM_A_PLUS = rf"\+[ (]?[0-9]{_SEPARATED_DIGIT}{{6,16}}{_EXTENSION}"
_NUMBER = (
    rf"{_FROM_A_PLUS}|\b00[1-9]{_SEPARATED_DIGIT}{{7,14}}{_EXTENSION}"
    rf"|(?:\b1[ .-])?\(?\b[2-9][0-9]{{2}}(?:\) ?|[. -])[2-9][0-9]{{2}}[. -][0-9]{{4}}{_EXTENSION}"
    rf"|{telephone_national.FORM}"
)
# As `beside`; in these nothing that has matched is ever matched in another way.
_BESIDE_A_NUMBER = re.compile(
    rb"[^0-9+(]{0,8}+(%b|%b)"
    % (_FROM_A_PLUS.replace("}", "}+").encode(), telephone_national.FROM_A_ZERO.encode())
)
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
            "<tr><td>phone number</td>\n<td class='n'>4155552671</td></tr>",
            "What is your phone number?\nCustomer: 4155552671",
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
            "10.1016/j.cell.2510.38.850",
        ),
        validator=telephone.of_some_country,
        every=telephone.every_of_some_country,
        keyed=True,
        value=_FIRST_DIGITS,
        near=_BESIDE_A_NAMED_NUMBER,
    ),
    Detector(
        name="Phone",
        groups=("PII",),
        description="Telephone numbers: international ones, North America's written with separators.",
        source="ITU-T E.164; libphonenumber's metadata; the North American numbering plan",
        confidence="Medium",
        trigger=r"\+[ (]?[0-9][ ().-]{0,2}[0-9]|[). -][0-9]{3}[. -][0-9]{4}|\b00[1-9]"
        f"|{telephone_national.TRIGGER}",
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
            "35.00526375200009",
            "ami-0024742711da212af",
            "e98f0f22-0937-4495-8211-d5633e50fb8d",
            "+ 2018-04-26",
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
            "0608-3771-10",
            "05076-103-0500 BF 04 08 44 63 87",
            "092-3018-134",
            "33TWN 04357 17386",
            "001-3299448333",
            "395-0049473606",
            "(11) 2019-2020",
            "+999 123 456 789",
            "+0123456789",
        ),
        validator=telephone.written_for_the_world,
        every=telephone.every_for_the_world,
        near=_BESIDE_A_NUMBER,
    ),
)

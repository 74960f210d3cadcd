"""Which national numbers are valid: dates and check digits, country by country.

Each gets the number in capitals, without spaces, dots, slashes, brackets and dashes; `identity_*.py` say whose it
is, and where the rule is written.
"""

from toolpolicy_sidecar.redact.detectors.checksums import luhn, mod_11_2, month_and_day, values, weighted


def ssn(digits: bytes) -> bool:
    """No area 000 or 666, no group or serial of zeros. Areas 9xx are those of taxpayers without one (ITIN), and of
    makers of test data."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in {b"000", b"666"} and group != b"00" and serial != b"0000"


def cpf(digits: bytes) -> bool:
    first = weighted(digits[:9], *range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(digits[:10], *range(11, 1, -1)) * 10 % 11 % 10
    return len(set(digits)) > 1 and values(digits[9:]) == bytes((first, second))


def rut(text: bytes) -> bool:
    rest = -weighted(text[-2::-1], 2, 3, 4, 5, 6, 7) % 11
    return text[-1:] == (b"K" if rest == 10 else b"%d" % rest)


def cuit(digits: bytes) -> bool:
    return -weighted(digits[:10], 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11 == digits[10] - ord("0")


def curp(text: bytes) -> bool:
    letters = b"0123456789ABCDEFGHIJKLMN\0OPQRSTUVWXYZ"
    total = sum(letters.index(character) * (18 - index) for index, character in enumerate(text[:17]))
    return month_and_day(text[6:8], text[8:10]) and -total % 10 == text[17] - ord("0")


def dni(text: bytes) -> bool:
    number = text[:-1].translate(bytes.maketrans(b"XYZ", b"012"))
    return b"TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def codice_fiscale(text: bytes) -> bool:
    ranks = [value if value < 10 else value - 10 for value in values(text[:15])]
    total = sum(_ODD[rank] if index % 2 == 0 else rank for index, rank in enumerate(ranks))
    return total % 26 == text[15] - ord("A")


def nir(text: bytes) -> bool:
    number = text[:13].replace(b"2A", b"19").replace(b"2B", b"18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def pesel(digits: bytes) -> bool:
    return weighted(digits, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1) % 10 == 0


def personnummer(digits: bytes) -> bool:
    """Of the years 2010 to 2039 not what may be a time of the day: so backups and recordings are named."""
    last = digits.replace(b"+", b"")[-10:]
    day = int(last[4:6])
    if (
        (len(digits) == 10 or digits[:2] == b"20")
        and b"10" <= last[:2] < b"40"
        and last[6:8] < b"24" > last[8:]
    ):
        return False
    return month_and_day(last[2:4], b"%d" % (day - 60 if day > 60 else day)) and luhn(last)


def hetu(text: bytes) -> bool:
    digits = text[:6] + text[-4:-1]
    return (
        month_and_day(text[2:4], text[:2])
        and b"0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == text[-1]
    )


def fodselsnummer(digits: bytes) -> bool:
    return (
        weighted(digits[:10], 3, 7, 6, 1, 8, 9, 4, 5, 2, 1) % 11 == 0
        and weighted(digits, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1) % 11 == 0
    )


def rijksregister(digits: bytes) -> bool:
    check = int(digits[9:])
    return check in {97 - int(digits[:9]) % 97, 97 - int(b"2" + digits[:9]) % 97}


def bsn(digits: bytes) -> bool:
    return (weighted(digits[:8], 9, 8, 7, 6, 5, 4, 3, 2) - int(digits[8:])) % 11 == 0 and len(set(digits)) > 1


def nhs(digits: bytes) -> bool:
    return -weighted(digits[:9], *range(10, 1, -1)) % 11 == digits[9] - ord("0")


def nif(digits: bytes) -> bool:
    return -weighted(digits[:8], *range(9, 1, -1)) % 11 % 10 == digits[8] - ord("0")


def my_number(digits: bytes) -> bool:
    rest = weighted(digits[:11], 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2) % 11
    return (0 if rest <= 1 else 11 - rest) == digits[11] - ord("0")


def tfn(digits: bytes) -> bool:
    return weighted(digits, 1, 4, 3, 7, 5, 8, 6, 9, 10) % 11 == 0


def medicare(digits: bytes) -> bool:
    return weighted(digits[:8], 1, 3, 7, 9) % 10 == digits[8] - ord("0")


def tckn(digits: bytes) -> bool:
    numbers = values(digits)
    tenth = (sum(numbers[0:9:2]) * 7 - sum(numbers[1:8:2])) % 10
    return numbers[9] == tenth and sum(numbers[:10]) % 10 == numbers[10]


def snils(digits: bytes) -> bool:
    return weighted(digits[:9], *range(9, 0, -1)) % 101 % 100 == int(digits[9:])


def thai_id(digits: bytes) -> bool:
    return (11 - weighted(digits[:12], *range(13, 1, -1)) % 11) % 10 == digits[12] - ord("0")


def chinese_id(text: bytes) -> bool:
    return month_and_day(text[10:12], text[12:14]) and mod_11_2(text)


def south_african_id(digits: bytes) -> bool:
    return month_and_day(digits[2:4], digits[4:6]) and luhn(digits)


def korean_id(digits: bytes) -> bool:
    return month_and_day(digits[2:4], digits[4:6])


def nric(text: bytes) -> bool:
    offset = {b"S": 0, b"F": 0, b"T": 4, b"G": 4, b"M": 3}[text[:1]]
    letters = b"JZIHGFEDCBA" if text[:1] in b"ST" else b"XWUTRQPNMLK" if text[:1] in b"FG" else b"KLJNPQRTUWX"
    rest = (weighted(text[1:8], 2, 7, 6, 5, 4, 3, 2) + offset) % 11
    return letters[10 - rest if text[:1] == b"M" else rest] == text[8]


def hkid(text: bytes) -> bool:
    padded = list(values(text[:-1]))
    total = sum(
        value * weight
        for value, weight in zip([36] * (8 - len(padded)) + padded, range(9, 1, -1), strict=True)
    )
    return (-total % 11) == (10 if text[-1:] == b"A" else text[-1] - ord("0"))


def mrz(text: bytes) -> bool:
    """ICAO 9303-4: number, birth and expiry each with a check digit."""

    def right(part: bytes, check: bytes) -> bool:
        ranks = [0 if letter == ord("<") else int(chr(letter), 36) for letter in part]
        return sum(r * w for r, w in zip(ranks, (7, 3, 1) * 3, strict=False)) % 10 == int(check)

    return right(text[:9], text[9:10]) and right(text[13:19], text[19:20]) and right(text[21:27], text[27:28])


def nino(text: bytes) -> bool:
    return text[:2] not in {b"BG", b"GB", b"NK", b"KN", b"TN", b"NT", b"ZZ"}


def four_digits(text: bytes) -> bool:
    return sum(character in b"0123456789" for character in text) >= 4


def anything(_: bytes) -> bool:
    return True

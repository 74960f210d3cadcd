"""Texts with something to redact in them, and texts without: to measure redaction by.

Nothing here is taken from the detectors. People, cards and accounts are invented by Faker, national numbers get
their check digits from python-stdnum, secrets are random in the forms that their providers document, and stand
where secrets are found: in configuration, code, logs, commands and requests. The seed makes a corpus stable.
"""

# ruff: noqa: E501 -- one kind of document a line reads best

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from faker import Faker
from stdnum import luhn as stdnum_luhn
from stdnum import verhoeff as stdnum_verhoeff
from stdnum.br import cpf
from stdnum.cn import ric
from stdnum.de import idnr
from stdnum.es import dni
from stdnum.fi import hetu
from stdnum.iso7064 import mod_11_10
from stdnum.pl import pesel

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
URL64 = ALNUM + "_-"
BASE64 = ALNUM + "+/"


class Sample(NamedTuple):
    """`secret` must not be left of `text`. `kind` names what it is, `is_json` how to read the text."""

    kind: str
    text: str
    secret: str
    is_json: bool


# Provider → (the names that it goes by, its form: literals and (alphabet, length)).
Form = tuple[str | tuple[str, int], ...]
SECRETS: dict[str, tuple[str, Form]] = {
    "aws id": ("aws_access_key_id", ("AKIA", (UPPER, 16))),
    "aws secret": ("aws_secret_access_key", ((BASE64, 40),)),
    "azure storage": (
        "connection_string",
        ("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=", (BASE64, 86), "=="),
    ),
    "azure entra": ("client_secret", ((ALNUM, 3), "8Q~", (URL64, 34))),
    "google key": ("google_api_key", ("AIza", (URL64, 35))),
    "google oauth": ("client_secret", ("GOCSPX-", (URL64, 28))),
    "github": ("github_token", ("ghp_", (ALNUM, 36))),
    "github app": ("token", ("ghs_", (ALNUM, 36))),
    "github fine": ("gh_pat", ("github_pat_", (ALNUM, 22), "_", (ALNUM, 59))),
    "gitlab": ("gitlab_token", ("glpat-", (URL64, 20))),
    "slack bot": ("slack_bot", ("xoxb-", ("0123456789", 12), "-", ("0123456789", 13), "-", (ALNUM, 24))),
    "slack hook": (
        "webhook",
        ("https://hooks.slack.com/services/T", (UPPER, 8), "/B", (UPPER, 10), "/", (ALNUM, 24)),
    ),
    "stripe": ("stripe_key", ("sk_live_", (ALNUM, 24))),
    "stripe new": ("stripe", ("rk_live_", (ALNUM, 99))),
    "openai": ("openai_api_key", ("sk-", (ALNUM, 20), "T3BlbkFJ", (ALNUM, 20))),
    "openai project": ("openai", ("sk-proj-", (URL64, 74), "T3BlbkFJ", (URL64, 74))),
    "anthropic": ("anthropic", ("sk-ant-api03-", (URL64, 93), "AA")),
    "hugging face": ("hf", ("hf_", (string.ascii_letters, 34))),
    "npm": ("npm_auth", ("npm_", (ALNUM, 36))),
    "pypi": ("pypi", ("pypi-AgEIcHlwaS5vcmc", (URL64, 120))),
    "sendgrid": ("sendgrid", ("SG.", (URL64, 22), ".", (URL64, 43))),
    "twilio key": ("twilio", ("SK", (HEX, 32))),
    "twilio token": ("twilio_auth_token", ((HEX, 32),)),
    "telegram": ("bot_token", (("123456789", 10), ":AA", (URL64, 33))),
    "discord": ("discord_token", ("M", (ALNUM, 23), ".", (URL64, 6), ".", (URL64, 38))),
    "shopify": ("shopify", ("shpat_", (HEX, 32))),
    "digitalocean": ("do_token", ("dop_v1_", (HEX, 64))),
    "vault": ("vault_token", ("hvs.", (URL64, 90))),
    "databricks": ("databricks", ("dapi", (HEX, 32))),
    "mailgun": ("mailgun", ("key-", (HEX, 32))),
    "mailchimp": ("mailchimp", ((HEX, 32), "-us19")),
    "datadog": ("dd_api_key", ((HEX, 32),)),
    "cloudflare": ("cloudflare_api_token", ((URL64, 40),)),
    "heroku": ("heroku_api_key", ((HEX, 8), "-", (HEX, 4), "-4", (HEX, 3), "-a", (HEX, 3), "-", (HEX, 12))),
    "okta": ("okta_token", ("00", (URL64, 40))),
    "circleci": ("circle_token", ((HEX, 40),)),
    "fastly": ("fastly_api_token", ((URL64, 32),)),
    "algolia": ("algolia_admin_key", ((HEX, 32),)),
    "sentry": ("sentry_auth_token", ((HEX, 64),)),
    "facebook": ("app_secret", ((HEX, 32),)),
    "linkedin": ("linkedin_client_secret", ((ALNUM, 16),)),
    "password": ("password", ((ALNUM + "!#%*?", 12),)),
    "database": ("db_password", ((ALNUM, 16),)),
    "admin": ("admin_passwd", ((LOWER, 9),)),
    "session": ("session_secret", ((URL64, 48),)),
    "signing": ("jwt_signing_key", ((BASE64, 43), "=")),
    "jwt": ("id_token", ("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJzdWIiOiJ", (URL64, 60), ".", (URL64, 86))),
}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


PLACES: tuple[Callable[[str, str], str], ...] = (
    lambda name, value: f"export {name.upper()}={value}",
    lambda name, value: f"{name}: {value}\nregion: eu-1",
    lambda name, value: f'{name} = "{value}"  # rotate in May',
    lambda name, value: f"const {_camel(name)} = '{value}';",
    lambda name, value: f'os.environ["{name.upper()}"] = "{value}"',
    lambda name, value: f"'{name}' => '{value}',",
    lambda name, value: f"deploy --{name.replace('_', '-')} {value} --wait",
    lambda name, value: f'<add key="{_camel(name)}" value="{value}" />',
    lambda name, value: f"2026-11-21 10:00:00 DEBUG loaded {name}={value} from vault",
    lambda name, value: f"Use {value} as the {name} until tomorrow.",
    lambda name, value: json.dumps({name: value, "region": "eu-1"}),
    lambda name, value: json.dumps({"settings": {_camel(name): value}}),
    lambda name, value: json.dumps({"env": [{"name": name.upper(), "value": value}]}),
    lambda name, value: json.dumps({"content": [{"type": "text", "text": f"{name}: {value}"}]}),
    lambda name, value: json.dumps({"text": json.dumps({name: value})}),
)


def secrets(seed: int, each: int) -> Iterator[Sample]:
    """`each` of every provider, a place drawn for every one. In prose only what is a secret by its form."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    for kind, (name, form) in SECRETS.items():
        for _ in range(each):
            value = "".join(
                part if isinstance(part, str) else "".join(chance.choices(part[0], k=part[1]))
                for part in form
            )
            text = chance.choice(PLACES)(name, value)
            yield Sample(kind, text, value.rpartition("AccountKey=")[2], text.startswith("{"))


def _people(fake: Faker, chance: random.Random) -> dict[str, Callable[[], str]]:
    def digits(count: int) -> str:
        return "".join(chance.choices("0123456789", k=count))

    def chinese() -> str:
        body = f"110105{chance.randint(1950, 2009)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}{digits(3)}"
        return body + str(ric.calc_check_digit(body + "0"))

    def finnish() -> str:
        body = (
            f"{chance.randint(1, 28):02}{chance.randint(1, 12):02}{digits(2)}",
            f"{chance.randint(2, 899):03}",
        )
        return f"{body[0]}-{body[1]}{hetu._calc_checksum(body[0] + body[1])}"

    def polish() -> str:
        body = f"{digits(2)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}{digits(4)}"
        return body + str(pesel.calc_check_digit(body))

    def brazilian() -> str:
        body = digits(9)
        number = body + str(cpf._calc_check_digits(body + "00"))
        return str(cpf.format(number))

    def spanish() -> str:
        body = digits(8)
        return body + str(dni.calc_check_digit(body))

    def indian() -> str:
        body = chance.choice("23456789") + digits(10)
        number = body + str(stdnum_verhoeff.calc_check_digit(body))
        return f"{number[:4]} {number[4:8]} {number[8:]}"

    def german() -> str:
        while True:
            body = chance.choice("123456789") + digits(9)
            number = body + str(mod_11_10.calc_check_digit(body))
            if idnr.is_valid(number):
                return number

    def canadian() -> str:
        body = chance.choice("1234567") + digits(7)
        number = body + str(stdnum_luhn.calc_check_digit(body))
        return f"{number[:3]}-{number[3:6]}-{number[6:]}"

    def national_phone() -> str:
        """In a country's own spelling: an area's code, and the rest in one of the ways to part it."""
        area, rest = (
            f"0{chance.randint(12, 99)}{chance.randint(0, 9)}",
            f"{chance.randint(200, 899)}{digits(4)}",
        )
        return chance.choice((
            f"{area} {rest[:3]} {rest[3:]}", f"{area}/{rest}", f"{area} / {rest[:3]} {rest[3:5]} {rest[5:]}",
            f"{area}-{rest[:3]}-{rest[3:]}", f"({area}) {rest[:3]} {rest[3:]}", f"{area} {rest[:3]} {rest[3:5]} {rest[5:]}",
            f"0{chance.randint(2, 9)}.{rest[:2]}.{rest[2:4]}.{rest[4:6]}.{digits(2)}",
        ))  # fmt: skip

    def unassigned_phone() -> str:
        return (
            f"+{chance.choice(('45', '47', '351', '372'))} {chance.randint(200, 899)} {digits(3)} {digits(3)}"
        )

    return {
        "email": fake.email,
        "card": fake.credit_card_number,
        "iban": fake.iban,
        "ssn": lambda: str(fake["en_US"].ssn()),
        "phone": lambda: str(fake["en_US"].phone_number()),
        "phone abroad": lambda: str(fake[chance.choice(["en_GB", "de_DE", "fr_FR", "es_ES", "nl_NL"])].phone_number()),
        "phone national": national_phone,
        "phone unassigned": unassigned_phone,
        "ssn parted": lambda: str(fake["en_US"].ssn()).replace("-", chance.choice(" .")),
        "ip_address": fake.ipv4_public,
        "ip_address v6": fake.ipv6,
        "passport_number": lambda: str(fake["en_US"].passport_number()),
        "national_id cn": chinese,
        "national_id fi": finnish,
        "pesel": polish,
        "cpf": brazilian,
        "dni": spanish,
        "aadhaar": indian,
        "tax_id": german,
        "sin": canadian,
    }  # fmt: skip


ABOUT_PEOPLE: tuple[Callable[[str, str], str], ...] = (
    lambda name, value: f"{name.replace('_', ' ')}: {value}",
    lambda name, value: f"The {name.replace('_', ' ')} of our customer is {value}, please check.",
    lambda name, value: f"{name}={value}\n",
    lambda name, value: json.dumps({name: value, "status": "active"}),
    lambda name, value: json.dumps({"customer": {_camel(name): value}}),
    lambda name, value: json.dumps({"content": [{"type": "text", "text": f"Their {name} is {value}."}]}),
)


def people(seed: int, each: int) -> Iterator[Sample]:
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    fake = Faker(["en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "nl_NL"])
    fake.seed_instance(seed)
    for kind, invent in _people(fake, chance).items():
        for _ in range(each):
            value = invent()
            text = chance.choice(ABOUT_PEOPLE)(kind.partition(" ")[0], value)
            yield Sample(kind, text, value, text.startswith("{"))


UNTOLD = frozenset({"email", "card", "iban", "ssn", "ssn parted", "phone national", "phone unassigned"})
"""Kinds that are told by their form."""
WITHOUT_A_NAME: tuple[Callable[[str], str], ...] = (
    json.dumps,
    lambda value: json.dumps({"value": value, "id": 12}),
    lambda value: f"Please use {value} from tomorrow on.",
    lambda value: f"1,Ann Lee,{value},Rome",
    lambda value: f"<td>{value}</td>",
    lambda value: f"[2026-03-04 10:11:12] WARN lookup failed for {value} (attempt 2)",
)


def people_without_a_name(seed: int, each: int) -> Iterator[Sample]:
    """The same where nothing beside a value says what it is."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    fake = Faker(["en_US", "de_DE"])
    fake.seed_instance(seed)
    for kind, invent in _people(fake, chance).items():
        for _ in range(each if kind in UNTOLD else 0):
            value = invent()
            text = chance.choice(WITHOUT_A_NAME)(value)
            yield Sample(f"{kind} without a name", text, value, text[0] in '{"')


def harmless(seed: int, count: int) -> Iterator[str]:
    """JSON that tools answer with: ids, hashes, versions, times, prices, pictures, code, prose. No person in it."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    fake = Faker("en_US")
    fake.seed_instance(seed)

    def some(alphabet: str, size: int) -> str:
        return "".join(chance.choices(alphabet, k=size))

    makers: tuple[Callable[[], object], ...] = (
        lambda: {"id": str(uuid.UUID(int=chance.getrandbits(128))), "created_at": fake.iso8601(), "version": 3},
        lambda: {"sha": some(HEX, 40), "tree": some(HEX, 64), "message": fake.sentence(), "parents": [some(HEX, 40)]},
        lambda: {"image": base64.b64encode(chance.randbytes(chance.randint(200, 3000))).decode(), "type": "image/png"},
        lambda: {"isbn": fake.isbn13(), "isbn10": fake.isbn10(), "title": fake.sentence(), "pages": chance.randint(9, 999)},
        lambda: {"order": f"{chance.randint(100, 199)}-{some('0123456789', 7)}-{some('0123456789', 7)}", "total": 12.5},
        lambda: {"order_id": chance.randint(10**9, 10**12), "sku": some(UPPER, 10), "ean": fake.ean13(), "qty": 3},
        lambda: {"package": f"{fake.word()}@{chance.randint(0, 20)}.{chance.randint(0, 20)}.3", "integrity": "sha512-"
                 + base64.b64encode(chance.randbytes(64)).decode()},
        lambda: {"userAgent": fake.chrome(), "path": fake.uri_path(), "status": 200, "ms": chance.random() * 1000},
        lambda: {"ts": chance.randint(1_600_000_000_000, 1_800_000_000_000), "trace_id": some(HEX, 32), "span_id": some(HEX, 16)},
        lambda: {"nextPageToken": some(URL64, 40), "items": [{"key": some(LOWER, 12), "etag": some(ALNUM, 16)}]},
        lambda: {"usage": {"prompt_tokens": 1234, "completion_tokens": 56, "total_tokens": 1290}, "model": "m-4.1-large"},
        lambda: {"text": " ".join(fake.paragraphs(3)), "lang": "en"},
        lambda: {"readme": f"# {fake.word()}\nSet the `API_TOKEN` variable, your password and the secret key before the start.\n"
                 "```\nexport API_TOKEN=<your token>\npassword: ${DB_PASSWORD}\n```"},
        lambda: {"schema": {"type": "object", "properties": {"password": {"type": "string"}, "token": {"type": "string"},
                 "phone": {"type": "string", "pattern": "^[0-9]{10}$"}}, "required": ["password"]}},
        lambda: {"code": f"def login(user, password):\n    token = create_token(user, password)\n    return token, {some(HEX, 8)!r}"},
        lambda: {"lat": float(fake.latitude()), "lon": float(fake.longitude()), "geohash": some(LOWER, 9), "zip": fake.zipcode()},
        lambda: {"arn": f"arn:aws:s3:::{fake.word()}-{some('0123456789', 12)}/a", "account": some("0123456789", 12)},
        lambda: {"error": "the password is incorrect", "code": "auth/invalid-token", "hint": "request a new token"},
        lambda: {"color": fake.hex_color(), "mac": fake.mac_address(), "port": chance.randint(1, 65535), "cidr": "10.0.0.0/8"},
        lambda: {"rows": [[chance.randint(1, 10**6), round(chance.random() * 10**5, 2), fake.date()] for _ in range(20)]},
        lambda: {"url": f"https://{fake.domain_name()}/{some(LOWER, 22)}?v={some(ALNUM, 11)}", "digest": f"sha256:{some(HEX, 64)}"},
        lambda: {"log": f"{fake.iso8601()} INFO [{some(HEX, 8)}] GET /v1/items/{chance.randint(1, 99999)} 200 {chance.randint(1, 999)}ms"},
        lambda: {"ssn_required": False, "phone_verified": True, "passport": None, "card": {"brand": "visa", "last4": "4242"}},
    )  # fmt: skip
    for index in range(count):
        yield json.dumps(makers[index % len(makers)]())

"""JSON as packages, standards, clouds and maps are full of it, in which nothing is to be redacted.

Made after what was touched without a reason in ten thousand documents of others; no text of theirs is in it.
"""

# ruff: noqa: E501 -- one kind of document a line reads best

import json
import random
import string
from collections.abc import Callable, Iterator

_NOUNS = (
    "model", "card", "export", "summary", "routing", "profile", "queue", "contact", "flow", "version", "privacy", "budget",
    "package", "group", "storage", "container", "policy", "network", "gateway", "table", "association", "service", "region",
    "monitoring", "schedule", "evaluation", "resource", "identity", "lifecycle", "defender", "core", "critical", "software",
)  # fmt: skip
HEX = "0123456789abcdef"


def harmless(seed: int, count: int) -> Iterator[str]:
    """JSON documents; no person and no secret in them."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret

    def some(alphabet: str, size: int) -> str:
        return "".join(chance.choices(alphabet, k=size))

    def words(count: int) -> list[str]:
        return chance.choices(_NOUNS, k=count)

    def name(separator: str, count: int) -> str:
        return separator.join(words(count))

    def camel_case(count: int) -> str:
        return "".join(word.capitalize() for word in words(count))

    def section() -> str:
        return ".".join(str(chance.randint(1, 20)) for _ in range(4))

    def coordinate() -> str:
        return f"{chance.randint(-179, 179)}.00{some(string.digits, 12)}"

    makers: tuple[Callable[[], object], ...] = (
        lambda: {"name": name("-", 2), "repository": {"type": "git", "url": f"git+ssh://git@github.com/{name('-', 1)}/{name('-', 2)}.git"}},
        lambda: {"ssh_url": f"git@github.com:{name('-', 2)}/{name('-', 3)}.git", "clone_url": f"https://github.com/{name('-', 2)}/{name('-', 3)}.git"},
        lambda: {"proxy": "http://user:password@proxy.example.com:8080", "help": "Use https://user:pass@host/ with your own name and password."},
        lambda: {"@odata.context": "$metadata#groups", "members@odata.type": "#Collection(String)", f"{camel_case(2)}@odata.type": "Edm.Int64"},
        lambda: {"pagination": {f"List{camel_case(3)}": {"result_key": camel_case(6), "input_token": "NextToken", "output_token": "NextToken"}}},
        lambda: {"authorization": {"policy": f"authorization {camel_case(5)}", "configKey": camel_case(7)}},
        lambda: {"checks": [f"{name('_', 2)}_ensure_{name('_', 5)}_is_enabled", f"core_minimize_{name('_', 3)}_containers"],
                 "url": f"https://example.com/critical-{name('-', 7)}"},
        lambda: {"task": f"task-{some(HEX, 32)}", "disk": f"disk-{some(HEX, 32)}", "image": f"latest_{some(HEX, 40)}", "cache": f"cache-key-{some(HEX, 32)}"},
        lambda: {"info": f"info_{some(HEX, 40)}", "clip": f"clip_{some(HEX, 24)}", "group": f"turnkey-{some(HEX, 32)}", "file": f"{chance.randint(1, 99)}-{some(HEX, 64)}.png"},
        lambda: {"Id": section(), "Title": f"{section()}: {name(' ', 4)}", "url": f"https://example.com/rfc5280#section-{section()}"},
        lambda: {"toolVersion": section(), "engine": f"{section()}.v2", "runtime": [section(), section()]},
        lambda: {"type": "Polygon", "coordinates": [[coordinate(), coordinate()] for _ in range(20)]},
        lambda: {"type": "LineString", "coordinates": [[float(coordinate()), float(coordinate())] for _ in range(20)]},
        lambda: {"uid": "11111111-2222-3333-4444-555555555555", "id": f"be{some(string.digits, 6)}-{some(string.digits, 4)}-{some(HEX, 4)}-{some(HEX, 4)}-{some(HEX, 12)}"},
        lambda: {"ami_id": f"ami-00{some(string.digits, 9)}{some('abcdef', 2)}{some(HEX, 4)}", "PhoneUsageDistanceMile": round(chance.uniform(1, 9), 7)},
        lambda: {"description": f"New user password (confirmation), the password (users only), or {camel_case(1)}Password({name('', 1)})"},
        lambda: {"template": f"  MasterUserPassword: <MASTER_PASSWORD>\n  {camel_case(2)}: true\n  {camel_case(3)}: 7"},
        lambda: {"data": {"password": chance.choice(("Contrase\u00f1a", "Has\u0142o", "L\u00f6senord", "Palavra-passe", "\u015eifre", "\u041e\u0434\u043d\u043e \u043f\u0430\u0440\u043e\u043b\u044c"))},
                 "config": {"password": f"{name('', 1)}_password", "arn": {"ChangePassword": f"arn:aws:iam::aws:policy/{camel_case(2)}"}}},
        lambda: {"fingerprint256": ":".join(some("0123456789ABCDEF", 2) for _ in range(32)), "wwn": ":".join(some(HEX, 2) for _ in range(8)),
                 "uid": f"{some(HEX, 8)}-09{some(string.digits, 2)}-4{some(string.digits, 3)}-8{some(string.digits, 3)}-{some(HEX, 12)}", "diff": "+ 2018-04-26T00:49:08Z"},
        lambda: {"tests": chance.randint(2000, 9000), "pass": chance.randint(1000, 99999), "fail": 0, "summary": f"pass: {chance.randint(1000, 9999)}"},
        lambda: {"example": {"apiKey": "123456789abcdef", "token": "abcd12345", "password": "example_password"}},
        lambda: {"url": f"https://raw.example.com/{camel_case(1)}/open_api_{name('_', 2)}/{name('/', 3)}/master/APIMATIC/{name('-', 2)}"},
        lambda: {"description": f"Describes the {name(' ', 2)} that is identified by <code>{camel_case(2)}Id</code>. Password: between 8 and 64 characters, with 1 digit",
                 "hint": "Password: 8-64 characters", "user": "admin, password: your password"},
        lambda: {"annotations": {"checksum/secret": some(HEX, 64)}, "image": f"registry.example.com/{name('-', 1)}-token:{section()}@sha256:{some(HEX, 64)}",
                 "token": f"0x{some(HEX, 40)}", "media_key": f"3_1{some(string.digits, 18)}", "env": f"GPG_KEY={some(HEX, 40).upper()}"},
        lambda: {"dockerfile": f"ENV TOKEN_TTL {chance.randint(1000, 9999)}s\nENV SECRET_NAME {name('-', 2)}\n", "test": f"PASS: {name('-', 2)}\nPASS {name('/', 2)}.js",
                 "code": "cy.get('#password').type(Cypress.env('password'))\npassword: !vault |\npsk: PreSharedKey,\ndb_password = var.db_password\ncreateHmac('sha256', secret).update(body)"},
        lambda: {"login": {"new_password": "{0} Senha", "passwordHint": "Contrase\u00f1a (8\u201364)", "confirm_password": "\ube44\ubc00\ubc88\ud638 *", "password": "Jelsz\u00f3: k\u00f6telez\u0151",
                 "error": f"secrets \"{name('-', 1)}-password\" is forbidden: User cannot get it"}},
        lambda: {"draw": " ".join(some(string.digits, 2) for _ in range(30)), "telegram": " ".join(some(HEX, 2).upper() for _ in range(40)) + " 8B 04 08 44 63 87",
                 "memory": f"{chance.randint(20, 69)} 0 {chance.randint(10**6, 10**7)} {chance.randint(10**5, 10**6)} S"},
        lambda: {"doi": f"10.1016/j.cell.{chance.randint(2000, 2026)}.{some(string.digits, 2)}.{some(string.digits, 3)}", "mgrs": f"33TWN 0{some('123456789', 4)} {some(string.digits, 5)}",
                 "ndc": [f"0{some('123456789', 3)}-{some(string.digits, 4)}-{some(string.digits, 2)}", f"0{some('123456789', 4)}-{some(string.digits, 3)}-{some(string.digits, 4)}-00"],
                 "mpn": f"092-{some(string.digits, 4)}-{some(string.digits, 3)}", "arn": f"arn:aws:rds:eu-west-1:5{some('678', 1)}{some(string.digits, 10)}:db:{name('-', 2)}",
                 "backup": f"{chance.randint(15, 26)}0{chance.randint(1, 9)}{chance.randint(10, 28)}-{chance.randint(10, 23)}{chance.randint(10, 59)}.tar"},
        lambda: {"ClientToken": f"{some(HEX, 8)}-{some(HEX, 4)}-4{some(HEX, 3)}-8{some(HEX, 3)}-{some(HEX, 12)}", "traces": [f"{prefix}{some(string.digits, 2)}{some(HEX, 12)}" for prefix in ("be", "ad", "ae")],
                 "answer": "<p>Try this:</p><pre><code>mysql -u root -p</code></pre><p>Worker processes</p>", "hint": chance.choice(("parola: zorunlu", "senha: obrigat\u00f3ria", "salasana: puuttuu"))},
    )  # fmt: skip
    for index in range(count):
        yield json.dumps(makers[index % len(makers)]())

"""Cost of redaction on one core, all detectors on: clean documents, documents with hits, and adversarial ones.

    python -m bench.redaction

Goals: a clean body of 1 KB in at most 60 µs, a clean one of 100 KB at 20 MB/s or more, one with hits at 10 MB/s.
Adversarial documents show that cost stays linear: a megabyte of each, or 200 KB of values that all differ. Last, a text
in pieces of 16 bytes: what it costs, and how much of it is held back.
"""

import base64
import json
import random
import re
import string
import time
import timeit
import uuid

from bench.compare.work import CASES, MASK, PATTERN, Case
from toolpolicy_api import snapshot
from toolpolicy_sidecar import cleanse
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.stream import HELD_S, TextStream

REDACTOR = Redactor.compile(
    snapshot.Redaction(
        detectors=("Secrets", "PII", "Financial"),
        patterns=(snapshot.Pattern("ticket-id", "TCK-[0-9]{6}", "[ticket]"),),
    )
)
ONE_PATTERN = Redactor.compile(snapshot.Redaction(patterns=(snapshot.Pattern("email", PATTERN, MASK),)))
MEGABYTE = 1_000_000
TEXT = "lorem ipsum dolor sit amet, consectetur adipiscing elit "


def records(count: int, *, text: str = "lorem ipsum dolor sit amet, consectetur adipiscing elit") -> bytes:
    return json.dumps(
        [
            {"id": i, "name": f"name {i}", "text": text, "score": i * 1.5, "tags": ["a", "b"]}
            for i in range(count)
        ]
    ).encode()


def with_hits(count: int, every: int) -> bytes:
    items = json.loads(records(count))
    for item in items[::every]:
        item["text"] += " jane.doe@example.com 4111 1111 1111 1111"
    return json.dumps(items).encode()


def random_ids(count: int) -> bytes:
    """What tools answer with: ids, hashes, times and amounts, none of them telling."""
    chance = random.Random(1)  # noqa: S311 -- stable, not secret
    items = [
        {
            "id": str(uuid.UUID(int=chance.getrandbits(128))),
            "sha": chance.randbytes(20).hex(),
            "created_at": f"2026-11-{chance.randint(1, 28):02}T10:{chance.randint(0, 59):02}:00Z",
            "ts": chance.randint(1_700_000_000_000, 1_800_000_000_000),
            "amount": round(chance.random() * 10_000, 2),
        }
        for _ in range(count)
    ]
    return json.dumps(items).encode()


def unlike(count: int) -> list[bytes]:
    """Documents of about 3 KB, of which none is like another: what is looked for begins in each at other places, and
    hardly ever goes on."""
    chance = random.Random(4)  # noqa: S311 -- stable, not secret
    names = (
        "id",
        "title",
        "url",
        "sha",
        "at",
        "size",
        "port",
        "author",
        "state",
        "page",
        "labels",
        "token_type",
    )

    def word() -> str:
        return "".join(chance.choices(string.ascii_letters, k=chance.randint(2, 9)))

    def value() -> object:
        forms = (
            " ".join(word() for _ in range(chance.randint(1, 12))),
            chance.randbytes(chance.choice([4, 8, 16, 20])).hex(),
            f"https://{word()}.example/{word()}/{word()}_{word()}",
            f"2026-11-{chance.randint(1, 28):02}T{chance.randint(0, 23):02}:15:00Z",
            chance.randint(0, 10 ** chance.randint(1, 9)),
            f"{word()}-{chance.randint(0, 99)}.{word()}",
            round(chance.random() * 1000, 3),
        )
        return chance.choice(forms)

    return [
        json.dumps([{chance.choice(names): value() for _ in range(6)} for _ in range(20)]).encode()
        for _ in range(count)
    ]


def in_base64(size: int, magic: bytes = b"") -> bytes:
    """Random bytes; behind the first ones of a PNG they are a picture."""
    chance = random.Random(2)  # noqa: S311 -- stable, not secret
    content = magic + chance.randbytes(size * 3 // 4)
    return json.dumps({"content": [{"type": "image", "data": base64.b64encode(content).decode()}]}).encode()


def in_hexadecimal(size: int) -> bytes:
    chance = random.Random(2)  # noqa: S311 -- stable, not secret
    return json.dumps({"data": chance.randbytes(size // 2).hex()}).encode()


def values(form: str, *, together: bool = False) -> bytes:
    """200 KB of things that are looked for or look so, each another one and a value of its own; or all as one text.
    `#` stands for a digit, `?` for a letter; what is in braces is written in base64."""
    chance = random.Random(3)  # noqa: S311 -- stable, not secret
    found: list[str] = []
    size = 0
    while size < MEGABYTE // 5:
        text = re.sub("#", lambda _: chance.choice(string.digits), form)
        text = re.sub(r"\?", lambda _: chance.choice(string.ascii_lowercase), text)
        text = re.sub("{(.*)}", lambda match: base64.b64encode(match[1].encode()).decode(), text)
        found.append(text)
        size += len(text) + 4
    return json.dumps(" ".join(found) if together else found).encode()


KEYWORDS = b"password token secret phone passport api_key ssn iban bearer https://u:p@ AKIA ghp_ sk- eyJ +49 "
DOCUMENTS = {
    "1 KB, clean": records(8),
    "100 KB, clean": records(820),
    "100 KB, clean, with escapes": records(
        760, text='line one\nline "two"\tand so on, and so on, é, to the end'
    ),
    "100 KB, clean, as the text of an MCP result": json.dumps(
        {"content": [{"type": "text", "text": records(640).decode()}]}
    ).encode(),
    "100 KB, clean, ids, hashes, times": random_ids(500),
    "100 KB, clean, a picture in base64": in_base64(100_000, b"\x89PNG\r\n\x1a\n"),
    "100 KB, clean, random bytes in base64": in_base64(100_000),
    "100 KB, clean, random bytes in hexadecimal": in_hexadecimal(100_000),
    "100 KB, clean, with typographic quotes": records(
        730, text="it\u2019s a \u201cquoted\u201d word \u2013 and so on & on, 100% of it, to the end"
    ),
    "100 KB, clean, in Russian": json.dumps(
        [{"id": i, "text": "\u0441\u043b\u043e\u0432\u043e " * 8} for i in range(900)], ensure_ascii=False
    ).encode(),
    "100 KB, clean, in base64": json.dumps({"data": base64.b64encode(records(620)).decode()}).encode(),
    "100 KB, a hit in each 10 KB": with_hits(800, 80),
    "100 KB, a hit in each KB": with_hits(780, 8),
    "100 KB, a hit in each 500 bytes": with_hits(760, 4),
    "100 KB, a hit in each KB, in an MCP result": json.dumps(
        {"content": [{"type": "text", "text": with_hits(620, 8).decode()}]}
    ).encode(),
    "1 MB of \\u0041": b'"' + b"\\u0041" * (MEGABYTE // 6) + b'"',
    "1 MB of escaped quotes": b'"' + b'\\"' * (MEGABYTE // 2) + b'"',
    "1 MB of escaped backslashes": b'"' + b"\\\\" * (MEGABYTE // 2) + b'"',
    "1 MB of %2541": b'"' + b"%2541" * (MEGABYTE // 5) + b'"',
    "1 MB of &amp;#65;": b'"' + b"&amp;#65;" * (MEGABYTE // 9) + b'"',
    "1 MB of full width": '"{}"'.format("\uff41" * (MEGABYTE // 3)).encode(),
    "1 MB of everything encoded": b'"'
    + b"%2541\\\\u0041&amp;#65;QUJDREVGR0hJSktM " * (MEGABYTE // 42)
    + b'"',
    "1 MB of words in base64": b'"' + base64.b64encode(b"abcdefghijklmnop") * (MEGABYTE // 24) + b'"',
    "1 MB of base64, two deep": b'"' + base64.b64encode(base64.b64encode(b"a" * (MEGABYTE * 9 // 16))) + b'"',
    "1 MB of empty strings": b"[" + b",".join([b'""'] * (MEGABYTE // 3)) + b"]",
    "1 MB of brackets": b"[" + b",".join([b"[[[[[[]]]]]]"] * (MEGABYTE // 13)) + b"]",
    "1 MB of almost e-mail": b'"' + b"a@b." * (MEGABYTE // 4) + b'"',
    "1 MB of e-mail": b'"' + b"a@b.cc " * (MEGABYTE // 7) + b'"',
    "1 MB of almost cards": b'"' + b"4444 " * (MEGABYTE // 5) + b'"',
    "1 MB in one number": b"4" * MEGABYTE,
    "1 MB of keywords": b'"' + KEYWORDS * (MEGABYTE // len(KEYWORDS)) + b'"',
    "e-mail, a list": values("??????@???????.com"),
    "e-mail, a list, percent": values("??????%40???????.com"),
    "e-mail, a list, base64": values("{??????@???????.com}"),
    "network addresses, a list": values("1##.1##.1##.1##"),
    "network addresses, a text": values("1##.1##.1##.1##", together=True),
    "telephone numbers, a list": values("+49 151 ########"),
    "telephone numbers, a text": values("tel: 0### #######", together=True),
    "almost cards, a list": values("4### #### #### ####"),
    "almost cards, a text": values("4### #### #### ####", together=True),
    "keys, a list": values("api_key=?#?#?#?#?#?#?#?#?#?#?#?#?#?#?#?#"),
    "keys, a text": values("api_key=?#?#?#?#?#?#?#?#?#?#?#?#?#?#?#?#", together=True),
}


def main() -> None:
    print(f"{'document':45} {'bytes':>9} {'hits':>7} {'µs':>12} {'MB/s':>8}")
    for name, data in DOCUMENTS.items():
        hits = sum(REDACTOR.json(data).hits.values())
        best_s = min(timed(data) for _ in range(3))
        print(f"{name:45} {len(data):9} {hits:7} {best_s * 1e6:12.1f} {len(data) / best_s / 1e6:8.1f}")

    varied = unlike(1500)
    size = sum(map(len, varied))
    for when in ("first time", "again"):
        started = time.process_time()
        hits = sum(sum(REDACTOR.json(data).hits.values()) for data in varied)
        spent_s = time.process_time() - started
        name = f"1,500 documents unlike each other, {when}"
        print(f"{name:45} {size:9} {hits:7} {spent_s * 1e6:12.1f} {size / spent_s / 1e6:8.1f}")

    streamed(json.loads(with_hits(800, 8)))
    for case in CASES:
        print(f"one call, one pattern, {case.name:24} {call_us(case, ONE_PATTERN):8.1f} µs both ways")
        print(f"one call, all detectors, {case.name:22} {call_us(case, REDACTOR):8.1f} µs both ways")


def call_us(case: Case, redactor: Redactor) -> float:
    """What the data path adds for one call, CPU time, the best of many rounds."""
    headers = ((b"Content-Type", b"application/json"),)
    path, body = case.calls(case.path)[0]

    def call() -> None:
        if case.name.startswith("HTTP"):
            cleanse.http_request(redactor, path, None, headers, body, "application/json", "", MEGABYTE)
            cleanse.http_answer(redactor, case.answer, "application/json")
        else:
            cleanse.mcp_request(redactor, body, headers)
            cleanse.mcp_message(redactor, case.answer)

    return min(timeit.repeat(call, number=50, repeat=200, timer=time.thread_time)) / 50 * 1e6


def streamed(items: list[dict[str, str]]) -> None:
    text = " ".join(item["text"] for item in items).encode()
    stream, held = TextStream(REDACTOR, 2 * MEGABYTE), []
    started = time.process_time()
    for at in range(0, len(text), 16):
        stream.feed(text[at : at + 16])
        held.append(stream.held_bytes)
    spent_s = time.process_time() - started
    held.sort()
    print(
        f"text in pieces of 16 bytes: {spent_s / len(held) * 1e6:.1f} µs each;"
        f" held back: median {held[len(held) // 2]} bytes, at most {held[-1]}, in silence {HELD_S:g} s"
    )


def timed(data: bytes) -> float:
    """CPU seconds of one run, over enough runs to measure."""
    runs = max(1, 200_000 // len(data) * 5)
    started = time.process_time()
    for _ in range(runs):
        REDACTOR.json(data)
    return (time.process_time() - started) / runs


if __name__ == "__main__":
    main()

"""Cost of redaction on one core: clean documents, documents with hits, and adversarial ones.

    python bench/redaction.py

Goals: a clean body of 1 KB in at most 60 µs, a clean one of 100 KB at 20 MB/s or more. Adversarial
documents show that cost stays linear: a megabyte of each.
"""

import json
import time

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor

REDACTOR = Redactor.compile(
    snapshot.Redaction(
        detectors=("Email", "CreditCard"),
        patterns=(snapshot.Pattern("ticket-id", "TCK-[0-9]{6}", "[ticket]"),),
    )
)
MEGABYTE = 1_000_000


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


DOCUMENTS = {
    "1 KB, clean": records(8),
    "100 KB, clean": records(820),
    "100 KB, clean, with escapes": records(
        760, text='line one\nline "two"\tand so on, and so on, é, to the end'
    ),
    "100 KB, clean, as the text of an MCP result": json.dumps(
        {"content": [{"type": "text", "text": records(640).decode()}]}
    ).encode(),
    "100 KB, a hit in each 10 KB": with_hits(800, 80),
    "100 KB, a hit in each 500 bytes": with_hits(760, 4),
    "1 MB of \\u0041": b'"' + b"\\u0041" * (MEGABYTE // 6) + b'"',
    "1 MB of escaped quotes": b'"' + b'\\"' * (MEGABYTE // 2) + b'"',
    "1 MB of escaped backslashes": b'"' + b"\\\\" * (MEGABYTE // 2) + b'"',
    "1 MB of empty strings": b"[" + b",".join([b'""'] * (MEGABYTE // 3)) + b"]",
    "1 MB of brackets": b"[" + b",".join([b"[[[[[[]]]]]]"] * (MEGABYTE // 13)) + b"]",
    "1 MB of almost e-mail": b'"' + b"a@b." * (MEGABYTE // 4) + b'"',
    "1 MB of e-mail": b'"' + b"a@b.cc " * (MEGABYTE // 7) + b'"',
    "1 MB of almost cards": b'"' + b"4444 " * (MEGABYTE // 5) + b'"',
    "1 MB in one number": b"4" * MEGABYTE,
}


def main() -> None:
    print(f"{'document':45} {'bytes':>9} {'hits':>7} {'µs':>12} {'MB/s':>8}")
    for name, data in DOCUMENTS.items():
        hits = sum(REDACTOR.json(data).hits.values())
        best_s = min(timed(data) for _ in range(3))
        print(f"{name:45} {len(data):9} {hits:7} {best_s * 1e6:12.1f} {len(data) / best_s / 1e6:8.1f}")


def timed(data: bytes) -> float:
    """CPU seconds of one run, over enough runs to measure."""
    runs = max(1, 200_000 // len(data) * 5)
    started = time.process_time()
    for _ in range(runs):
        REDACTOR.json(data)
    return (time.process_time() - started) / runs


if __name__ == "__main__":
    main()

"""Pictures and the like in base64 are opened: what is text in them is scanned, their letters are not."""

import base64
import json
import random

import pytest

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact import binary
from toolpolicy_sidecar.redact.redactor import Redactor

REDACTOR = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
PNG = b"\x89PNG\r\n\x1a\n"


def noise(size: int) -> bytes:
    return random.Random(3).randbytes(size)  # noqa: S311 -- stable, not secret


@pytest.mark.parametrize("magic", [PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"PK\x03\x04", b"RIFF"])
@pytest.mark.parametrize("before", ["", "data:image/svg+xml;base64,"])
def test_what_is_in_it_stays_byte_for_byte(magic: bytes, before: str) -> None:
    letters = before + base64.b64encode(magic + noise(90_000)).decode()
    data = json.dumps({"type": "image", "data": letters}).encode()
    assert binary.opened(letters.encode()) is not None
    assert REDACTOR.json(data) == (data, {})


@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("size", [2000, 2001, 2002])
def test_a_secret_in_it_is_found_wherever_it_begins(shift: int, size: int) -> None:
    secret = b"mail to jane.doe@example.com"
    content = PNG + b"\0" * shift + b"tEXt\0" + secret + b"\0" + noise(size)
    found = REDACTOR.json(json.dumps([base64.b64encode(content).decode()]).encode())
    assert found.hits == {"Email": 1}
    left = base64.b64decode(json.loads(found.value)[0], validate=True)
    assert left == content.replace(b"jane.doe@example.com", b"[redacted:Email]")
    assert REDACTOR.json(found.value).hits == {}


@pytest.mark.parametrize(
    "after",
    [" jane.doe@example.com", "====", "=aaa", "a", "\u00e9", '"', "%41", "\n"],
)
def test_more_than_base64_is_a_text(after: str) -> None:
    letters = base64.b64encode(PNG + noise(1990)).decode()
    assert binary.opened(f"{letters}{after}".encode()) is None


def test_what_has_no_magic_is_a_text() -> None:
    assert binary.opened(base64.b64encode(noise(3000))) is None
    assert binary.opened(base64.b64encode(b"jane.doe@example.com " * 200)) is None
    assert binary.opened(base64.b64encode(PNG)) is None


@pytest.mark.parametrize("size", [4000, 4090, 5000, 100_000])
def test_a_long_value_under_a_telling_name_is_masked_whole(size: int) -> None:
    value = "".join(random.Random(4).choices("abcdefghkmnpqrstuvwxyz0123456789", k=size))  # noqa: S311 -- stable
    short = REDACTOR.json(json.dumps({"password": value[:60]}).encode())
    assert short.hits
    left = json.loads(REDACTOR.json(json.dumps({"password": value}).encode()).value)["password"]
    assert left == value or value[-8:] not in left

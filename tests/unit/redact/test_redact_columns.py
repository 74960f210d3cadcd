"""What stands in a column of a table is read together with the column's head."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor

ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
PASSWORD, PHONE, SSN = "[redacted:Password]", "[redacted:NationalPhone]", "[redacted:SSN]"

TABLES = [
    (
        'user,password,phone\nbob,hunter22,4155552671\nann,"let,me-1n9",4155552672\n',
        f'user,password,phone\nbob,{PASSWORD},{PHONE}\nann,"{PASSWORD}",{PHONE}\n',
    ),
    ("name\tpassword\r\nbob\thunter22\r\n", f"name\tpassword\r\nbob\t{PASSWORD}\r\n"),
    (
        "Here it is:\n\n| Of | Password | SSN |\n|----|---|---|\n| bob | hunter22 | 536904399 |\n\nbob | hunter22 | 1",
        f"Here it is:\n\n| Of | Password | SSN |\n|----|---|---|\n| bob | {PASSWORD} | {SSN} |\n\nbob | hunter22 | 1",
    ),
    (
        "+----+----------+\n| id | password |\n+----+----------+\n| 1  | hunter22 |\n+----+----------+\n",
        f"+----+----------+\n| id | password |\n+----+----------+\n| 1  | {PASSWORD} |\n+----+----------+\n",
    ),
    (
        " id | password\n----+---------\n  1 | hunter22\n(1 row)\n",
        f" id | password\n----+---------\n  1 | {PASSWORD}\n(1 row)\n",
    ),
    ("Rows:\n```csv\nid;passwords\n1;hunter22\n```\n", f"Rows:\n```csv\nid;passwords\n1;{PASSWORD}\n```\n"),
    ("user,password\nbob,hunter22\n\na,b\nx,hunter22", f"user,password\nbob,{PASSWORD}\n\na,b\nx,hunter22"),
    ("Passwords, tokens, and keys\nfoo, bar, baz\n", None),
    ("user,password\nbob\nann,\n", None),
]


@pytest.mark.parametrize(("text", "redacted"), TABLES)
def test_a_cell_under_a_telling_head(text: str, redacted: str | None) -> None:
    expected = text if redacted is None else redacted
    assert ALL.text(text).value == expected
    assert ALL.text(expected).value == expected
    among_others = ["jane@example.com in a text"] * 100
    for document in ([text], [text, *among_others], {"text": text + "\n" * 2 + "x" * 5000}):
        left = json.loads(ALL.json(json.dumps(document).encode()).value)
        first = left["text"] if isinstance(left, dict) else left[0]
        assert first.rstrip("x\n") == expected.rstrip("x\n")


@pytest.mark.parametrize("rows", [3, 5000])
def test_however_long_a_table_is_each_row_is_read(rows: int) -> None:
    text = "id,password\n" + "".join(f"{row},hunter{row}\n" for row in range(rows))
    assert ALL.text(text).value == "id,password\n" + "".join(f"{row},{PASSWORD}\n" for row in range(rows))


@given(
    rows=st.lists(
        st.lists(st.sampled_from(["a", "", '"', '""', '"a,b"', " ", "|", "12"]), max_size=4), max_size=6
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
@settings(max_examples=100, deadline=None)
def test_nothing_but_cells_is_touched(rows: list[list[str]], delimiter: str) -> None:
    """Whatever rows look like: the head stays, and so do line breaks."""
    text = "\n".join(delimiter.join(row) for row in [["name", "password"], *rows])
    left = ALL.text(text).value
    assert left.split("\n")[0] == text.split("\n")[0]
    assert left.count("\n") == text.count("\n")

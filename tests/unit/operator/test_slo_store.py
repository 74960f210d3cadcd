"""What is saved of error budgets where a ConfigMap cannot hold all."""

import logging

import msgspec
import pytest

from toolpolicy_operator.slo.ledger import SLOT_S, Counts, Heard, Ledger
from toolpolicy_operator.slo.store import LIMIT_BYTES, Book, _size_bytes, _small, _text

NOW = 1_790_000_000


def book(tools: int, pods: int) -> Book:
    """Each tool with the most slots that a ledger has."""
    slots = {NOW - SLOT_S * n: Counts(10_000 + n, 100, 10_000 + n, 50) for n in range(75)}
    heard = {f"5f0c6d1e-0000-4000-8000-{n:012}": Heard(NOW * 1000, Counts(10_000, 10)) for n in range(pods)}
    ledgers = {f"kb/tool-{n}": Ledger(NOW, 5000, dict(slots), dict(heard)) for n in range(tools)}
    return Book("4e0c6d1e-0000-4000-8000-000000000000", ledgers)


def read(text: str) -> Book:
    return msgspec.json.decode(text, type=Book)


def test_what_fits_is_saved_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    data = {"agent": _text(book(20, 100))}
    assert _small(data) is data
    assert not caplog.records


def test_of_too_much_the_counts_are_saved_and_what_pods_said_last_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = {f"agent-{n}": book(10, 500) for n in range(10)}
    data = {name: _text(each) for name, each in whole.items()}
    assert _size_bytes(data) > LIMIT_BYTES
    with caplog.at_level(logging.WARNING):
        saved = _small(data)
    assert _size_bytes(saved) <= LIMIT_BYTES
    assert saved.keys() == data.keys()
    for name, text in saved.items():
        assert read(text).uid == whole[name].uid
        for tool, ledger in read(text).ledgers.items():
            before = whole[name].ledgers[tool]
            assert (ledger.slots, ledger.since, ledger.heard) == (before.slots, before.since, {})
    assert len(caplog.records) == 1


def test_where_even_that_is_too_much_the_largest_are_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = {f"agent-{n}": _text(book(60, 0)) for n in range(5)} | {
        "small": _text(book(1, 0)),
        "huge": _text(book(80, 0)),
    }
    assert _size_bytes(data) > LIMIT_BYTES
    with caplog.at_level(logging.WARNING):
        saved = _small(data)
    assert _size_bytes(saved) <= LIMIT_BYTES
    assert "small" in saved
    left_out = data.keys() - saved.keys()
    assert "huge" in left_out
    assert set(vars(caplog.records[-1])["policies"]) == left_out
    assert all(read(saved[name]) == read(data[name]) for name in saved)

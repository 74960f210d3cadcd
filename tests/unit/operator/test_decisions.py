"""The operator's small decisions: when to write, who leads, which certificate is due."""

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_operator.lease import DURATION_S, Seen, decide
from toolpolicy_operator.pace import LATER_S, SOON_S, wait_s
from toolpolicy_operator.tls.certificates import Pair, due, fits, issued, make_ca, make_leaf
from toolpolicy_operator.tls.material import PUBLISHED_FIRST, Keep, plan

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
NAMES = {"op-tls": ["op.ns.svc"], "hook-tls": ["hook.ns.svc"]}


@pytest.mark.parametrize(
    ("holder", "age_s", "decision"),
    [
        ("me", 0, "renew"),
        ("me", 100, "renew"),
        ("", 0, "acquire"),
        ("other", 0, "wait"),
        ("other", DURATION_S, "wait"),
        ("other", DURATION_S + 0.1, "acquire"),
    ],
)
def test_who_leads(holder: str, age_s: float, decision: str) -> None:
    assert decide(Seen(holder, "1", 1000.0), "me", 1000.0 + age_s) == decision


OLD = {
    "ready": "3/3",
    "calls": 1,
    "observedTime": "a",
    "tools": [{"name": "t", "state": "Closed", "calls": 1}],
}


@pytest.mark.parametrize(
    ("new", "since_s", "pause_s"),
    [
        ({**OLD, "hash": "other"}, 60, 0),
        ({**OLD, "observedGeneration": 2}, 0.1, SOON_S - 0.1),
        ({**OLD, "tools": [{"name": "t", "state": "Open", "calls": 1}]}, 60, 0),
        ({**OLD, "calls": 2}, 1, LATER_S - 1),
        ({**OLD, "ready": "2/3"}, 1, LATER_S - 1),
        ({**OLD, "tools": [{"name": "t", "state": "Closed", "calls": 2}]}, 1, LATER_S - 1),
        ({**OLD, "observedTime": "b"}, 10, 50),
        (dict(OLD), 70, 0),
    ],
)
def test_when_to_write(new: dict[str, object], since_s: float, pause_s: float) -> None:
    assert wait_s(OLD, new, since_s, 60.0) == pytest.approx(pause_s)
    assert wait_s(None, new, since_s, 60.0) == 0


def test_certificates_verify_for_their_names_alone() -> None:
    ca, other = make_ca("a", NOW), make_ca("b", NOW)
    leaf = make_leaf(ca, ["op.ns.svc"], NOW)
    assert fits(leaf.certificate, ca.certificate, ["op.ns.svc"])
    assert not fits(leaf.certificate, other.certificate, ["op.ns.svc"])
    assert not fits(leaf.certificate, ca.certificate, ["op.ns.svc", "more"])
    assert not fits("nonsense", ca.certificate, ["op.ns.svc"])


def test_a_certificate_is_due_at_two_thirds_of_its_life() -> None:
    leaf = make_leaf(make_ca("a", NOW), ["x"], NOW).certificate
    assert not due(leaf, NOW + dt.timedelta(days=59))
    assert due(leaf, NOW + dt.timedelta(days=61))
    assert due("nonsense", NOW)


def test_nothing_due_changes_nothing() -> None:
    first = plan(None, {}, NAMES, NOW)
    assert plan(first.authority, dict(first.leaves), NAMES, NOW + dt.timedelta(days=1)) == first


def test_leaves_are_renewed_by_the_same_authority() -> None:
    first = plan(None, {}, NAMES, NOW)
    later = plan(first.authority, dict(first.leaves), NAMES, NOW + dt.timedelta(days=61))
    assert later.authority == first.authority
    assert all(later.leaves[name] != first.leaves[name] for name in NAMES)


def test_a_new_authority_is_trusted_before_it_signs_and_the_old_one_after() -> None:
    first = plan(None, {}, NAMES, NOW)
    day = NOW + dt.timedelta(days=250)
    announced = plan(first.authority, dict(first.leaves), NAMES, day)
    assert announced.authority.ca == first.authority.ca
    assert announced.authority.upcoming
    assert announced.authority.upcoming.certificate in announced.authority.bundle
    switched = plan(
        announced.authority, dict(announced.leaves), NAMES, day + PUBLISHED_FIRST + dt.timedelta(minutes=6)
    )
    assert switched.authority.ca == announced.authority.upcoming
    assert first.authority.ca.certificate in switched.authority.bundle
    for name, names in NAMES.items():
        assert fits(switched.leaves[name].certificate, switched.authority.ca.certificate, names)


@given(st.lists(st.integers(1, 40), min_size=3, max_size=40))
def test_at_every_moment_of_three_years_old_trust_verifies_new_leaves(days: list[int]) -> None:
    """A sidecar's bundle may be one step old: a leaf must verify against the bundle of the step before."""
    moment, steps = NOW, []
    keep: Keep | None = None
    leaves: dict[str, Pair | None] = {}
    for step in days:
        made = plan(keep, leaves, {"op-tls": ["x"]}, moment)
        steps.append(made)
        keep, leaves = made.authority, dict(made.leaves)
        moment += dt.timedelta(days=step)
    for before, after in pairwise(steps):
        trusted = [
            text + "-----END CERTIFICATE-----\n"
            for text in before.authority.bundle.split("-----END CERTIFICATE-----\n")
            if text
        ]
        assert any(fits(after.leaves["op-tls"].certificate, each, ["x"]) for each in trusted)
        assert issued(after.authority.ca.certificate) <= moment

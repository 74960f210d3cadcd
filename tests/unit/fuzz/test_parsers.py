"""Each parser of untrusted bytes, fed with what it is likely to get wrong."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


def inputs(name: str) -> st.SearchStrategy[bytes]:
    parts = st.one_of(st.sampled_from(TARGETS[name].tokens), st.binary(max_size=3))
    return st.lists(parts, max_size=24).map(b"".join)


SEEDS = [(name, seed) for name, target in TARGETS.items() for seed in target.seeds]


def run(name: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(inputs(name))
    def tried(data: bytes) -> None:
        TARGETS[name].run(data)

    tried()


def test_the_seeds() -> None:
    for name, seed in SEEDS:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser(name: str) -> None:
    run(name, 60)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_for_long(name: str) -> None:
    run(name, 5_000)

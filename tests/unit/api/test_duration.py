import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolpolicy_api.duration import milliseconds, render


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("8s", 8_000),
        ("500ms", 500),
        ("1h30m", 5_400_000),
        ("1m1s1ms", 61_001),
        ("0s", 0),
        ("99999h", 359_996_400_000),
    ],
)
def test_gep_2257(text: str, ms: int) -> None:
    assert milliseconds(text) == ms


@pytest.mark.parametrize(
    "text", ["", "8", "s", "-8s", "1.5s", "1d", "100000s", "1s ", "1s1s1s1s1s", "1S", "\u0661s"]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        milliseconds(text)


@given(st.integers(min_value=0, max_value=99_999 * 3_600_000))
def test_render_is_read_back(ms: int) -> None:
    assert milliseconds(render(ms)) == ms

"""Which headers stay between two neighbours."""

import pytest

from toolpolicy_sidecar.upstream.headers import end_to_end


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([b"keep-alive"], [b"X-A", b"Close", b"X-B"]),
        ([b"Keep-Alive"], [b"X-A", b"Close", b"X-B"]),
        ([b"close"], [b"X-A", b"X-B"]),
        ([b"keep-alive, x-a"], [b"Close", b"X-B"]),
        ([b"X-A", b"x-b"], [b"Close"]),
        ([b"content-type"], [b"X-A", b"Close", b"X-B"]),
        ([], [b"X-A", b"Close", b"X-B"]),
    ],
)
def test_what_connection_names_goes_with_it(options: list[bytes], left: list[bytes]) -> None:
    headers = [(b"X-A", b"1"), (b"Keep-Alive", b"timeout=5"), (b"Close", b"2"), (b"X-B", b"3")]
    found = end_to_end([*headers, *((b"Connection", option) for option in options)])
    assert [name for name, _ in found] == left

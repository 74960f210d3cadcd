import msgspec
import pytest

from toolpolicy_api import channel

KEY = channel.ToolKey(policy="ns/p", server="kb", tool="search")
MESSAGES = [
    channel.Hello(version="0.1.0", hash="ab"),
    channel.Ack(version=3, hash="ab"),
    channel.Nack(version=3, hash="ab", error="policies[0]: no"),
    channel.Report(
        transitions=(
            channel.Transition(key=KEY, before="Closed", after="Open", reason="5 in a row", at_ms=1),
        ),
        tools=(channel.ToolReport(key=KEY, state="Open", calls=5, errors=5, latency=(1, 2)),),
    ),
    channel.Heartbeat(hash=None),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_the_wire(message: channel.FromSidecar) -> None:
    assert channel.decode_from_sidecar(channel.encode(message)) == message


def test_a_snapshot_travels_byte_for_byte() -> None:
    raw = b'{"policies":[]}'
    sent = channel.encode(channel.Config(version=1, hash="ab", snapshot=msgspec.Raw(raw)))
    assert bytes(channel.decode_from_operator(sent).snapshot) == raw


@pytest.mark.parametrize(
    "frame", [b"", b"{}", b'{"type":"config"}', b'{"type":"hello"}', b'{"type":"ack","version":"1"}']
)
def test_anything_else_is_refused(frame: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        channel.decode_from_sidecar(frame)


def test_what_a_newer_peer_adds_is_ignored() -> None:
    frame = b'{"type":"ack","version":1,"hash":"ab","mood":"good"}'
    assert channel.decode_from_sidecar(frame) == channel.Ack(version=1, hash="ab")

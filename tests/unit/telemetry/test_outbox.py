"""A queue that nobody waits for."""

from toolpolicy_sidecar.telemetry.outbox import Outbox


def test_half_of_the_room_is_for_what_failed() -> None:
    ready: list[bool] = []
    outbox: Outbox[str] = Outbox(limit=4, batch=3, ready=lambda: ready.append(True))
    for item in ("a", "b", "c"):
        outbox.put(item, 1, urgent=False)
    assert (outbox.size, outbox.dropped, ready) == (2, {"QueueFull": 1}, [])
    outbox.put("d", 1, urgent=True)
    assert ready
    outbox.put("e", 2, urgent=True)
    assert (outbox.size, outbox.dropped) == (3, {"QueueFull": 3})
    assert [outbox.take(), outbox.take(), outbox.take(), outbox.take()] == [
        ("a", 1),
        ("b", 1),
        ("d", 1),
        None,
    ]
    assert outbox.size == 3  # until it is known what became of them
    outbox.delivered(1)
    outbox.drop("NotDelivered", 2)
    assert (outbox.size, outbox.exported, outbox.dropped) == (0, 1, {"QueueFull": 3, "NotDelivered": 2})

"""The webhook as a server: bad requests, renewed certificates, its probes and its metrics."""

import json
import socket
import ssl
import urllib.error
import urllib.request

import pytest

from tests.integration.webhook.world import World, pod, until

pytestmark = pytest.mark.integration


def get(world: World, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{world.webhook.health_port}{path}", timeout=10) as answer:
        return str(answer.read().decode())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"request": 1}', 400),
        (b'{"request": {}}', 400),
        (b"[" * 200_000, 400),
        (b"\xff\xfe{}", 400),
        (b" " * (9 * 1024 * 1024), 413),
    ],
    ids=["empty", "cut", "list", "no request", "number", "no uid", "deep", "utf-16", "too large"],
)
@pytest.mark.parametrize("path", ["/inject", "/validate"])
def test_what_is_no_review_is_refused(world: World, path: str, body: bytes, status: int) -> None:
    answered, text = world.webhook.post(path, body, world.webhook.ca)
    assert answered == status
    assert b"Traceback" not in text


def test_a_body_that_never_comes_is_not_waited_for(world: World) -> None:
    tls = ssl.create_default_context(cadata=world.webhook.ca.certificate)
    with (
        socket.create_connection(("127.0.0.1", world.webhook.port), 60) as raw,
        tls.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        wrapped.sendall(b"POST /inject HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        assert wrapped.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "strange", [{}, {"object": 3}, {"object": {"metadata": []}}, {"object": {"spec": 1}}]
)
def test_a_review_that_breaks_us_lets_pods_start_and_policies_wait(
    world: World, strange: dict[str, object]
) -> None:
    request = {"uid": "u", "operation": "CREATE", "namespace": "x", **strange}
    review = json.dumps({"request": request}).encode()
    status, body = world.webhook.post("/inject", review, world.webhook.ca)
    assert status == 200
    answer = json.loads(body)["response"]
    assert (answer["uid"], answer["allowed"]) == ("u", True)
    assert "patch" not in answer
    assert "this is a bug of toolpolicy" in answer["warnings"][0]
    status, body = world.webhook.post("/validate", review, world.webhook.ca)
    assert status == 200
    assert json.loads(body)["response"]["allowed"] is False


def test_probes_and_metrics(world: World) -> None:
    assert get(world, "/healthz") == get(world, "/readyz") == "ok\n"
    world.create(pod(), dry_run="All")
    metrics = get(world, "/metrics")
    assert 'toolpolicy_webhook_reviews_total{result="injected",webhook="inject"}' in metrics
    assert 'toolpolicy_webhook_review_duration_seconds_count{webhook="inject"}' in metrics
    assert "toolpolicy_webhook_certificate_expiry_timestamp_seconds 1" in metrics
    with pytest.raises(urllib.error.HTTPError):
        get(world, "/inject")


def test_a_renewed_certificate_is_served_without_a_restart(world: World) -> None:
    key = world.webhook.certificates / "tls.key"
    good = key.read_text()
    key.write_text("half a key")
    world.webhook.ca = world.webhook.renew()
    assert key.read_text() != good
    world.point(world.webhook.ca)

    def injected() -> bool:
        made, _ = world.create(pod(), dry_run="All")
        return bool(made["spec"].get("initContainers"))

    until(injected, "the API server trusts the new certificate")


def test_the_log_is_json_and_names_the_pod(world: World) -> None:
    world.create(pod("told-of"))
    lines = [json.loads(line) for line in world.webhook.log().splitlines()]
    (line,) = [line for line in lines if line.get("pod") == "injected/told-of"]
    assert line["event"] == "injected"

"""The webhook beside an API server that is slow, broken or gone: pods are injected all the same, and in time."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.webhook.world import Webhook, pod
from tests.measured import measured

pytestmark = pytest.mark.integration
HANG_S = 60.0


class Faulty(ThreadingHTTPServer):
    """`answer` is a status; 0 hangs until `over` is set."""

    daemon_threads = True
    answer = 200
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.over, self.asked = threading.Event(), threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Faulty

    def do_GET(self) -> None:
        self.server.asked.set()
        if self.server.answer == 0:
            self.server.over.wait(HANG_S)
        body = json.dumps({"items": []}).encode()
        try:
            self.send_response(self.server.answer or 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        pass


@pytest.fixture
def api() -> Iterator[Faulty]:
    server = Faulty()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def webhook(api: Faulty, tmp_path: Path) -> Iterator[Webhook]:
    kubeconfig = tmp_path / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faulty",
        "contexts": [{"name": "faulty", "context": {"cluster": "faulty", "user": "me"}}],
        "clusters": [{"name": "faulty", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
    }
    kubeconfig.write_text(yaml.safe_dump(document), encoding="utf-8")
    made = Webhook(tmp_path, kubeconfig)
    made.start()
    yield made
    made.stop()


def review() -> bytes:
    request = {"uid": "u", "operation": "CREATE", "namespace": "x", "object": pod()}
    return json.dumps({"request": request}).encode()


def injected(webhook: Webhook) -> tuple[bool, str]:
    """Whether a sidecar comes, and the warnings."""
    status, body = webhook.post("/inject", review(), webhook.ca)
    assert status == 200
    answer = json.loads(body)["response"]
    assert answer["allowed"] is True
    patch = json.loads(base64.b64decode(answer["patch"]))
    paths = {step["path"] for step in patch}
    return "/spec/initContainers" in paths, " ".join(answer.get("warnings", []))


def test_an_api_server_that_says_no(webhook: Webhook, api: Faulty) -> None:
    assert injected(webhook) == (True, "")
    api.answer = 503
    sidecar, warnings = injected(webhook)
    assert sidecar
    assert "policies could not be listed" in warnings


def test_an_api_server_that_hangs_holds_up_nobody_for_long(webhook: Webhook, api: Faulty) -> None:
    """More pods at once than there are threads that ask."""
    api.answer = 0
    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: injected(webhook), range(40)))
    took_s = time.monotonic() - began
    measured(f"40 pods at once beside a hanging API server: all injected within {took_s:.1f} s")
    assert all(sidecar and "policies could not be listed" in warnings for sidecar, warnings in answers)
    assert took_s < HANG_S / 2


def test_a_review_in_flight_is_answered_before_the_process_ends(webhook: Webhook, api: Faulty) -> None:
    api.answer = 0
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(injected, webhook)
        assert api.asked.wait(20)
        assert webhook.stop() == 0
        assert answer.result(20)[0]

"""kopf's side: events in, told on. Nothing is decided here, nothing is written to objects."""

from collections.abc import Callable
from typing import Any, Protocol

import kopf

from toolpolicy_api.policy import GROUP, PLURAL, VERSION
from toolpolicy_operator.index import INJECTED_LABEL
from toolpolicy_operator.login import login

SERVER_TIMEOUT_S = 300
CLIENT_TIMEOUT_S = 330
CONNECT_TIMEOUT_S = 10
REQUEST_TIMEOUT_S = 30
CHUNK_SIZE = 500
BATCH_WINDOW_S = 0.005
"""kopf waits this long for more events of the same object; ours are levels, so there is nothing to wait for."""
WORKERS = 64


class Reconciler(Protocol):
    """What the handlers tell."""

    def policy(self, event: str | None, document: Any) -> None: ...
    def pod(self, event: str | None, document: Any) -> None: ...
    def namespace(self, event: str | None, document: Any) -> None: ...


def settings() -> kopf.OperatorSettings:
    """Bounded watches, no peering, no Events or annotations of kopf's own."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.process.ultimate_exiting_timeout = None
    chosen.watching.server_timeout = SERVER_TIMEOUT_S
    chosen.watching.client_timeout = CLIENT_TIMEOUT_S
    chosen.watching.connect_timeout = CONNECT_TIMEOUT_S
    chosen.networking.request_timeout = REQUEST_TIMEOUT_S
    chosen.watching.chunk_size = CHUNK_SIZE
    # The API server filters: pods without a sidecar never come here.
    chosen.watching.label_selectors["v1", "pods"] = f"{INJECTED_LABEL}=true"
    chosen.queueing.worker_limit = WORKERS
    chosen.batching.batch_window = BATCH_WINDOW_S
    return chosen


def registry(reconciler: Reconciler, tell: Callable[..., object]) -> kopf.OperatorRegistry:
    """All handlers. `tell` calls the reconciler's method with the event and the object, on the reconciler's thread."""
    wired = kopf.OperatorRegistry()
    kopf.on.login(registry=wired)(login)

    def wire(handle: Callable[[str | None, Any], None], *resource: str) -> None:
        async def on_event(event: Any, **_: Any) -> None:
            tell(handle, event["type"], event["object"])

        kopf.on.event(*resource, registry=wired, id=resource[-1])(on_event)

    wire(reconciler.policy, GROUP, VERSION, PLURAL)
    wire(reconciler.pod, "v1", "pods")
    wire(reconciler.namespace, "v1", "namespaces")
    return wired

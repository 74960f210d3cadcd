"""Probes and metrics, on the pod's address."""

from toolpolicy_sidecar.listeners.pages import NOT_ALLOWED, NOT_FOUND, Page, PageRequest
from toolpolicy_sidecar.metrics import Metrics

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"


class Health:
    """`started`: it is decided what is enforced, and the listener is open. `draining`: no new calls, please."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self.started = False
        self.draining = False

    async def page(self, request: PageRequest) -> Page:
        if request.method not in {"GET", "HEAD"}:
            return NOT_ALLOWED
        match request.path:
            case "/healthz":
                return _OK
            case "/startupz":
                return _OK if self.started else Page(b"waiting for a configuration\n", 503)
            case "/readyz" if self.started and not self.draining:
                return _OK
            case "/readyz":
                return Page(b"draining\n" if self.draining else b"starting\n", 503)
            case "/metrics":
                return self._text(request.header("Accept"))
        return NOT_FOUND

    def _text(self, accept: str) -> Page:
        """OpenMetrics to whoever names it, as Prometheus does first of all: its versions differ in nothing of ours."""
        if _names(accept, OPENMETRICS):
            return Page(self._metrics.open_text(), kind=f"{OPENMETRICS}; version=1.0.0; charset=utf-8")
        return Page(self._metrics.text(), kind=TEXT)


_OK = Page(b"ok\n")


def _names(accept: str, media_type: str) -> bool:
    """RFC 9110, 12.5.1, without weights: a type that is named is one that is understood, but for `q=0`."""
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        if name == media_type:
            return not any(part in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for part in parameters)
    return False

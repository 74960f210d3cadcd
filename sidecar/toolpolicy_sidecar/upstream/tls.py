"""Whom the sidecar trusts when it connects to a server."""

import ssl


class Contexts:
    """Made when they are first needed: loading the system's roots takes time and memory."""

    def __init__(self, extra_roots: str = "") -> None:
        """`extra_roots`: PEM, trusted besides the system's."""
        self._extra_roots = extra_roots
        self.default: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        if self.default is None:
            self.default = ssl.create_default_context()
            if self._extra_roots:
                self.default.load_verify_locations(cadata=self._extra_roots)
            self.default.set_alpn_protocols(["http/1.1"])
        return self.default

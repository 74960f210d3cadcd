"""How an exchange can fail, one type each."""

from toolpolicy_sidecar.upstream.origin import Origin


class UpstreamFailure(Exception):  # noqa: N818 -- names what happened
    """`sent`: a byte of the request may have reached the server, so it may have acted on it."""

    def __init__(self, origin: Origin, detail: str, *, sent: bool = False) -> None:
        super().__init__(f"{origin}: {detail}")
        self.origin = origin
        self.detail = detail
        self.sent = sent


class NameNotResolved(UpstreamFailure):
    """DNS has no address for the host."""


class ConnectRefused(UpstreamFailure):
    """TCP could not be established."""


class TlsFailed(UpstreamFailure):
    """The handshake failed, or the certificate is not to be trusted."""


class ConnectTimedOut(UpstreamFailure):
    """DNS, TCP and TLS together took too long."""


class AddressRefused(UpstreamFailure):
    """The host's address is one that must not be dialled. Nothing was sent."""


class MalformedAnswer(UpstreamFailure):
    """What came back is no HTTP/1.1 response."""


class AnswerHeaderTooLarge(UpstreamFailure):
    """The response's header section is over the limit."""


class ConnectionReset(UpstreamFailure):
    """The connection ended before the answer was complete."""

    def __init__(self, origin: Origin, detail: str, *, sent: bool, response_started: bool) -> None:
        super().__init__(origin, detail, sent=sent)
        self.response_started = response_started


class UnsendableRequest(ValueError):  # noqa: N818 -- names what happened
    """A header or the target holds CR, LF or NUL: it could be read as something else. Nothing was sent."""

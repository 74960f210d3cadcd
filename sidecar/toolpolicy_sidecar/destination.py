"""Where the agent wants to go, as it tells a forward proxy: one canonical host for the policy and for the dialler."""

import ipaddress
import re
from typing import NamedTuple

from toolpolicy_sidecar.problem import Problem
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.upstream.origin import Origin

_ABSOLUTE = re.compile(r"(https?|wss?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*\.?")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_TARGET = re.compile(r"[!-~]*")
_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"ws": "http", "wss": "https"}
"""Of a WebSocket: it begins as HTTP, at the same place (RFC 6455, 3). aiohttp writes it into the request line."""
HOST_CHARACTERS = 253


class Destination(NamedTuple):
    """`target`: path and query as they were written; it begins with a slash."""

    origin: Origin
    target: str


def of_absolute_form(raw: str) -> Destination | Problem:
    """Of `GET http://host:port/path?query HTTP/1.1` (RFC 9112, 3.2.2)."""
    match = _ABSOLUTE.fullmatch(raw)
    if match is None or not _TARGET.fullmatch(match[3]):
        text = "the request target must be an absolute http or https URL, such as http://host:port/path"
        return Problem(Reason.MalformedRequest, text)
    written = match[1].lower()
    scheme = _SCHEMES.get(written, written)
    found = authority(match[2], _PORTS[scheme])
    if found is None:
        return Problem(Reason.MalformedRequest, "the URL in the request line has no valid host and port")
    target = match[3] if match[3].startswith("/") else f"/{match[3]}"
    return Destination(Origin(scheme, *found), target)


def of_authority_form(raw: str) -> tuple[str, int] | Problem:
    """Host and port of `CONNECT host:port HTTP/1.1` (RFC 9112, 3.2.3)."""
    found = authority(raw, None)
    if found is None:
        return Problem(Reason.MalformedRequest, "CONNECT needs a valid host and port, such as host:443")
    return found


def of_origin_form(raw: str, origin: Origin, host: bytes) -> Destination | Problem:
    """Of `GET /path HTTP/1.1` in a tunnel to this origin; `host` is the Host header."""
    found = authority(host.decode("latin-1"), _PORTS[origin.scheme])
    if found is None or (found[0].rstrip("."), found[1]) != (origin.host.rstrip("."), origin.port):
        return Problem(
            Reason.MalformedRequest, "the Host header names another host than the connection was made for"
        )
    if not raw.startswith("/") or "#" in raw or not _TARGET.fullmatch(raw):
        return Problem(Reason.MalformedRequest, "in a tunnel, the request target must be a path")
    return Destination(origin, raw)


def shown(origin: Origin) -> str:
    """host:port"""
    return f"[{origin.host}]:{origin.port}" if ":" in origin.host else f"{origin.host}:{origin.port}"


def canonical_host(text: str) -> str | None:
    """In lower case; of an IP address its one standard form, IPv6 without brackets; None for what is neither a name
    nor an address. Numbers that only a C library takes for an address (`127.1`, `0x7f000001`) are neither."""
    host = text.lower()
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).compressed
        except ValueError:
            return None
    if len(host) > HOST_CHARACTERS + 1 or not _NAME.fullmatch(host):
        return None
    if _NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            return None
    return host


def authority(text: str, default_port: int | None) -> tuple[str, int] | None:
    """Host and port of `host:port`, in their one form. None: it is neither."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    host = canonical_host(match[1].removeprefix("[").removesuffix("]"))
    port = int(match[2]) if match[2] else default_port
    if host is None or port is None or not 0 < port < 65536:
        return None
    if match[1].startswith("[") != (":" in host):
        return None
    return host, port

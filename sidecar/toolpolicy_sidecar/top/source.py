"""What a sidecar says of itself, by its admin API."""

import http.client
from typing import NamedTuple, TypeVar

import msgspec

from toolpolicy_sidecar.settings import Address
from toolpolicy_sidecar.view import Calls, Circuits, CircuitView, FailedCall

T = TypeVar("T")
WITHIN_S = 2.0


class NoAnswer(Exception):  # noqa: N818 -- names what happened
    """The message says who was asked, and what went wrong."""


class Policy(msgspec.Struct, frozen=True):
    namespace: str
    name: str


class Config(msgspec.Struct, frozen=True, rename="camel"):
    """`hash` None: no policy is in force."""

    hash: str | None
    source: str | None
    policies: tuple[Policy, ...]
    applied_at_ms: int | None = None


class Seen(NamedTuple):
    config: Config
    circuits: tuple[CircuitView, ...]
    calls: tuple[FailedCall, ...]


def look(admin: Address) -> Seen:
    """Raises NoAnswer."""
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=WITHIN_S)
    try:
        return Seen(
            _get(connection, "/admin/config", Config),
            _get(connection, "/admin/circuits", Circuits).circuits,
            _get(connection, "/admin/calls", Calls).calls,
        )
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(f"no sidecar answers at {admin.host}:{admin.port}: {why}") from None
    finally:
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str, kind: type[T]) -> T:
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise http.client.HTTPException(f"HTTP {response.status} for {path}; is it an older one?")
    return msgspec.json.decode(body, type=kind)

"""Values of the headers that mirror a body (`Mcp-Name`, `Mcp-Param-*`): what no header can hold is written as
`=?base64?…?=`, UTF-8 inside (MCP 2026-07-28, Streamable HTTP)."""

import base64
import binascii
from operator import itemgetter

from toolpolicy_sidecar.remembered import remembered_headers
from toolpolicy_sidecar.upstream.headers import Header

_NAME = itemgetter(0)
_PARAM = b"mcp-param-"
_BEGIN, _END = b"=?base64?", b"?="


def of_argument(name: bytes) -> bool:
    """Is it the name of a header that mirrors one?"""
    return name[: len(_PARAM)].lower() == _PARAM


@remembered_headers
def of_arguments(headers: tuple[Header, ...]) -> tuple[Header, ...]:
    """Those that mirror one."""
    if b"\n".join(map(_NAME, headers)).lower().find(_PARAM) < 0:  # as of nearly all calls
        return ()
    return tuple([header for header in headers if of_argument(header[0])])


def wrapped(value: bytes) -> bool:
    return value.startswith(_BEGIN) and value.endswith(_END)


def decoded(value: bytes) -> str | None:
    """None: it says that it is base64, and is not."""
    if not wrapped(value):
        return value.decode("latin-1")
    try:
        return base64.b64decode(value[len(_BEGIN) : -len(_END)], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def wrap(text: str) -> bytes:
    return _BEGIN + base64.b64encode(text.encode()) + _END

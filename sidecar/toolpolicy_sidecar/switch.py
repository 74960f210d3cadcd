"""`toolpolicy switch`: the admin API's switches by name, for `kubectl exec` into a sidecar, which has no curl."""

import argparse
import datetime as dt
import http.client
import sys
from typing import TextIO
from urllib.parse import quote, urlencode

import msgspec

from toolpolicy_api.channel import ToolReport
from toolpolicy_sidecar.settings import address, environment

ADMIN = "127.0.0.1:19000"
WITHIN_S = 5.0
ACTIONS = ("disable", "force-closed", "enable", "reset")


class _Refusal(msgspec.Struct):
    error: str


def run(argv: list[str]) -> int:
    """Exit 0: switched. 1: the sidecar does not answer, or refuses and says why. 2: the command line is wrong."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy switch",
        description="Takes a tool out of use in this sidecar alone, lets its calls pass although its circuit is open,"
        " and back. Both end by themselves; what is to last belongs in the policy.",
    )
    environment(parser)("admin", "the sidecar's admin API, as HOST:PORT", ADMIN)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("tool", help="as the policy names it; SERVER/* for the unlisted ones of a server")
    parser.add_argument("--for", dest="time", metavar="30m", help="disable, force-closed: else an hour")
    parser.add_argument("--by", help="who")
    parser.add_argument("--reason", help="why")
    given = parser.parse_args(argv)
    try:
        admin = address(given.admin)
    except ValueError as wrong:
        parser.error(str(wrong))
    said = {"for": given.time, "by": given.by, "reason": given.reason}
    query = urlencode({name: text for name, text in said.items() if text})
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=WITHIN_S)
    try:
        connection.request("POST", f"/admin/tools/{quote(given.tool)}/{given.action}?{query}")
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            _say(_words(msgspec.json.decode(body, type=ToolReport)), sys.stdout)
            return 0
        _say(f"{given.tool}: {msgspec.json.decode(body, type=_Refusal).error}", sys.stderr)
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        _say(f"no sidecar answers at {admin.host}:{admin.port}: {error}", sys.stderr)
    finally:
        connection.close()
    return 1


def _words(report: ToolReport) -> str:
    """Such as `search: Disabled until 2026-11-21T04:30:00Z`."""
    text = f"{report.key.tool}: {report.state}"
    if report.override is None:
        return text
    until = dt.datetime.fromtimestamp(report.override.until_ms / 1000, dt.UTC)
    forced = ", forced" if report.override.action == "ForceClosed" else ""
    return f"{text}{forced} until {until:%Y-%m-%dT%H:%M:%SZ}"


def _say(line: str, stream: TextIO) -> None:
    print(line, file=stream)

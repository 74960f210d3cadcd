"""A switch thrown by hand in one pod: what, by whom, why, and until when. Pure.

What is to last belongs in the policy, where everybody can read it: an override always ends by itself, and what nobody
remembers at the end of an incident is not there any more."""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress

import msgspec

from toolpolicy_api import channel
from toolpolicy_api.clean import clean
from toolpolicy_api.duration import milliseconds

DEFAULT_MS = 3_600_000
LONGEST_MS = 7 * 24 * 3_600_000
REASON_CHARACTERS = 200
BY_CHARACTERS = 80
_WORDS: dict[channel.OverrideAction, str] = {"Disable": "disabled", "ForceClosed": "forced closed"}


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Disable: every call is refused. ForceClosed: calls pass although the circuit is open. `until` is monotonic
    seconds. `reason` and `by` are free texts, "" when nothing was said."""

    action: channel.OverrideAction
    until: float
    until_ms: int
    reason: str = ""
    by: str = ""

    @property
    def words(self) -> str:
        """Such as `disabled by hand (alice): incident 7`."""
        text = f"{_WORDS[self.action]} by hand"
        if self.by:
            text += f" ({self.by})"
        return f"{text}: {self.reason}" if self.reason else text


def asked(action: channel.OverrideAction, query: Mapping[str, str], now: float, unix_ms: int) -> Override:
    """By `for` (a duration) or `until` (RFC 3339), else for an hour; `reason` and `by`, cut where they are too long.
    Raises ValueError with what to do about it."""
    for_ms = _for_ms(query, unix_ms)
    return Override(
        action=action,
        until=now + for_ms / 1000,
        until_ms=unix_ms + for_ms,
        reason=_line(query.get("reason", ""), REASON_CHARACTERS),
        by=_line(query.get("by", ""), BY_CHARACTERS),
    )


def _for_ms(query: Mapping[str, str], unix_ms: int) -> int:
    duration, until = query.get("for"), query.get("until")
    if duration and until:
        raise ValueError("for, until: say one of them")
    for_ms = DEFAULT_MS
    if duration:
        try:
            for_ms = milliseconds(duration)
        except ValueError as error:
            raise ValueError(f"for: {error}") from None
    elif until:
        for_ms = _moment_ms(until) - unix_ms
    if not 0 < for_ms <= LONGEST_MS:
        name = "until" if until else "for"
        raise ValueError(f"{name}: not within the next 7 days; what is to last belongs in the policy")
    return for_ms


def _moment_ms(text: str) -> int:
    """Raises ValueError."""
    moment = None
    with suppress(ValueError):
        moment = dt.datetime.fromisoformat(text)
    if moment is None or moment.tzinfo is None:
        raise ValueError("until: write it like 2026-11-21T04:30:00Z")
    return int(moment.timestamp() * 1000)


def _line(text: str, characters: int) -> str:
    """For logs and status: nothing in it can end a line or colour a terminal, nor is a secret."""
    return clean("".join(each for each in text if each.isprintable()))[:characters]

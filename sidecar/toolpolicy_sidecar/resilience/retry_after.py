"""How long a server asks its callers to wait (RFC 9110, 10.2.3)."""

import datetime as dt
import re
from email.utils import parsedate

_LONGEST_S = 2.0**31
"""What a larger number of seconds is taken for, as RFC 9111, 1.2.2 has it."""
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
# The three forms of RFC 9110, 5.6.7: the library alone would take "soon 5" for a date.
_DATE = re.compile(
    rf"{_DAY}, [0-9]{{2}} [A-Z][a-z]{{2}} [1-9][0-9]{{3}} {_TIME} GMT"
    rf"|{_DAY}[a-z]*, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {_TIME} GMT"
    rf"|{_DAY} [A-Z][a-z]{{2}} [ 0-9][0-9] {_TIME} [1-9][0-9]{{3}}"
)


def retry_after_s(value: str, now_unix: float) -> float | None:
    """Seconds from now (`now_unix` is Unix seconds), never negative; None: malformed, to be ignored.

    A server may say anything: the caller has to cap it."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_S)
    if not _DATE.fullmatch(value):
        return None
    date = parsedate(value)
    if date is None:
        return None
    try:
        at = dt.datetime(*date[:6], tzinfo=dt.UTC).timestamp()
    except ValueError:  # a 31st of February, an hour 99
        return None
    return min(max(0.0, at - now_unix), _LONGEST_S)

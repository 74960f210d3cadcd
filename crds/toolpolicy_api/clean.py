"""Free texts without what looks like a secret: in front of what the processes say of themselves.

Logs, status, Events, spans and the admin API are made of names, counts and reasons. A few texts in them are other
people's: why a switch was thrown, an error that quotes a policy, who a call says that it is for. This takes no part in
the redaction of calls: it knows the shapes of secrets that are written into such texts, and no personal data.
"""

import re

CLEANED = "[redacted]"
_LONG = 24
_DIGIT_RUNS = 3

_SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^\"]*"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"
    r"|(?<![A-Za-z0-9])(?:sk|pk|rk|gh[oprsu]|github_pat|glpat|xox[abeoprs]|npm|pypi|hf|shp[aps]t|sq0|dop_v1|AKIA|ASIA|AIza)"
    r"[-_]?[A-Za-z0-9_-]{12,}"
    r"|(?<=://)[^/\s\"@:]*:[^/\s\"@]+(?=@)"
    r"|(?i:(?<=bearer )|(?<=basic ))[A-Za-z0-9+/=._~-]{8,}"
    r"|(?i:(?<=password=)|(?<=passwd=)|(?<=secret=)|(?<=token=)|(?<=api_key=)|(?<=apikey=))[^\s\"&;,]+"
)
_WORDS = re.compile(rf"[A-Za-z0-9+_-]{{{_LONG},}}={{0,2}}")
_DIGITS = re.compile("[0-9]+")


def clean(text: str) -> str:
    """This very text if there is nothing in it. In time linear in its length; never longer than it was by more than the
    placeholders. Quotes and backslashes stay, so a line of JSON may be cleaned as a whole."""
    return _WORDS.sub(_word, _SHAPES.sub(CLEANED, text))


def _word(match: re.Match[str]) -> str:
    """Capitals, small letters and digits in turns are no name: hashes and names of pods have no capitals."""
    word = match.group()
    mixed = any(map(str.isupper, word)) and any(map(str.islower, word))
    return CLEANED if mixed and len(_DIGITS.findall(word)) >= _DIGIT_RUNS else word

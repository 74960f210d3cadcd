"""What is looked for, and where."""

from collections.abc import Iterator

import re2

from toolpolicy_api import jsonpath
from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.compile import effective_redaction
from toolpolicy_api.headers import never_redacted


def check_redaction(spec: written.Spec) -> Iterator[Finding]:
    if spec.redaction:
        yield from _patterns(spec.redaction.patterns, "spec.redaction.patterns")
        yield from _fields(spec.redaction.fields, "spec.redaction.fields")
        yield from _allowed(spec.redaction.allow, "spec.redaction.allow")
        yield from _headers(spec.redaction.headers, "spec.redaction.headers")
        yield from _unlisted(spec, spec.redaction.exempt, "spec.redaction.exempt")
        yield from _tokens(spec, spec.redaction)
    for index, tool in enumerate(spec.tools):
        field, own = f"spec.tools[{index}].redaction", tool.redaction
        if own is None:
            continue
        yield from _patterns(own.patterns or [], f"{field}.patterns")
        yield from _fields(own.fields or [], f"{field}.fields")
        yield from _allowed(own.allow or [], f"{field}.allow")
        yield from _headers(own.headers or [], f"{field}.headers")
        if spec.redaction and tool.name in spec.redaction.exempt:
            yield Finding(field, "the tool is one of spec.redaction.exempt; remove one of both")
        found = effective_redaction(own, spec.redaction)
        chosen = (own.detectors, own.patterns, own.fields)
        if not (found.detectors or found.patterns or found.fields) and chosen == (None, None, None):
            yield Finding(field, "there is nothing to look for; set detectors, patterns or fields")


def _headers(headers: list[str], path: str) -> Iterator[Finding]:
    for index, name in enumerate(headers):
        if never_redacted(name.lower()):
            yield Finding(f"{path}[{index}]", "the message or the protocol is read by this header; remove it")


def _tokens(spec: written.Spec, redaction: written.Redaction) -> Iterator[Finding]:
    own = {tool.redaction.action for tool in spec.tools if tool.redaction}
    if redaction.tokens is None:
        return
    if "Tokenize" not in own | {redaction.action}:
        yield Finding("spec.redaction.tokens", "no action is Tokenize; set spec.redaction.action")
    yield from _unlisted(spec, redaction.tokens.trusted_tools, "spec.redaction.tokens.trustedTools")


def _unlisted(spec: written.Spec, names: list[str], path: str) -> Iterator[Finding]:
    listed = {tool.name for tool in spec.tools}
    for index, name in enumerate(names):
        if name not in listed:
            known = ", ".join(sorted(listed)) or "none"
            yield Finding(f"{path}[{index}]", f"no tool {name!r} in spec.tools; known: {known}")


def _fields(fields: list[written.FieldRule], path: str) -> Iterator[Finding]:
    for index, field in enumerate(fields):
        try:
            jsonpath.parse(field.path)
        except ValueError as error:
            yield Finding(f"{path}[{index}].path", str(error))


def _allowed(allowed: list[written.Allowed], path: str) -> Iterator[Finding]:
    for index, item in enumerate(allowed):
        if (item.text is None) == (item.regex is None):
            yield Finding(f"{path}[{index}]", "set one of text and regex")
        if item.regex is not None and isinstance(found := _compiled(item.regex), str):
            yield Finding(f"{path}[{index}].regex", found)


def _compiled(expression: str) -> re2._Regexp | str:
    """Or why not."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        detail = error.args[0]
        reason = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        return f"does not compile as RE2 ({reason}); RE2 has no lookaround or backreference"


def _patterns(patterns: list[written.Pattern], path: str) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, pattern in enumerate(patterns):
        field = f"{path}[{index}]"
        if names.setdefault(pattern.name, index) != index:
            yield Finding(
                f"{field}.name", f"{pattern.name!r} is taken by patterns[{names[pattern.name]}]; rename it"
            )
        compiled = _compiled(pattern.regex)
        if isinstance(compiled, str):
            yield Finding(f"{field}.regex", compiled)
            continue
        if compiled.search(""):
            yield Finding(
                f"{field}.regex",
                "matches the empty text, so it would hit everywhere; make it match something",
            )

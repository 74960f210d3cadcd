"""Policies that every gate must refuse, each with the field that the refusal has to name."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

GOOD: dict[str, Any] = {
    "apiVersion": "toolpolicy.dev/v1alpha1",
    "kind": "ToolPolicy",
    "metadata": {"name": "agent", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "servers": [
            {"name": "kb", "protocol": "MCP", "url": "http://kb:8080/mcp"},
            {"name": "tickets", "protocol": "HTTP", "url": "http://tickets:8080/api"},
        ],
        "defaults": {"timeout": {"total": "10s"}},
        "tools": [
            {"name": "search", "server": "kb", "match": {"tool": "search_*"}},
            {
                "name": "create",
                "server": "tickets",
                "match": {"methods": ["POST"], "path": "/v1/tickets/{id}"},
                "fallback": {"cached": {"maxAge": "1h"}},
            },
        ],
        "redaction": {
            "detectors": ["Email"],
            "headers": ["Location", "*"],
            "patterns": [{"name": "ticket", "regex": "TCK-[0-9]+"}],
        },
    },
}


class Bad(NamedTuple):
    """`field` is how our own findings name it; `server_says` must be in the API server's message.

    `server_says` None: neither schema nor CEL can know, the validating webhook refuses it.
    """

    name: str
    spoil: Callable[[dict[str, Any]], None]
    field: str
    server_says: str | None

    def policy(self) -> dict[str, Any]:
        document = copy.deepcopy(GOOD)
        self.spoil(document["spec"])
        return document


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets `tools.0.timeout.total`-like paths; missing mappings are made."""

    def spoil(spec: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node: Any = spec
        for part in parents:
            node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
        node[int(last) if last.isdigit() else last] = value

    return spoil


def add(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(spec: dict[str, Any]) -> None:
        node: Any = spec
        for part in path.split("."):
            node = node[int(part)] if part.isdigit() else node[part]
        node.append(value)

    return spoil


def drop(name: str) -> Callable[[dict[str, Any]], None]:
    def spoil(spec: dict[str, Any]) -> None:
        del spec[name]

    return spoil


def together(*spoilers: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    def spoil(spec: dict[str, Any]) -> None:
        for spoiler in spoilers:
            spoiler(spec)

    return spoil


TOOL = "spec.tools[0]"
BAD = [
    Bad("no selector", drop("selector"), "spec.selector", "spec.selector"),
    Bad("no servers", drop("servers"), "spec.servers", "spec.servers"),
    Bad("empty servers", put("servers", []), "spec.servers", "spec.servers"),
    Bad(
        "slo of nothing",
        put("tools.0.slo", {"window": "7d"}),
        f"{TOOL}.slo",
        "set availability, latency or both",
    ),
    Bad(
        "slo between two buckets",
        put("tools.0.slo", {"latency": {"p95": "3s"}}),
        f"{TOOL}.slo.latency.p95",
        "must be one of 5ms",
    ),
    Bad(
        "slo of every call",
        put("tools.0.slo", {"availability": 100}),
        f"{TOOL}.slo.availability",
        f"{TOOL}.slo.availability",
    ),
    Bad(
        "slo of a year",
        put("tools.0.slo", {"availability": 99.9, "window": "365d"}),
        f"{TOOL}.slo.window",
        f"{TOOL}.slo.window",
    ),
    Bad("mode unknown", put("mode", "Sometimes"), "spec.mode", "spec.mode"),
    Bad(
        "protocol unknown",
        put("servers.0.protocol", "gRPC"),
        "spec.servers[0].protocol",
        "spec.servers[0].protocol",
    ),
    Bad(
        "timeout header with a meaning",
        put("servers.0.timeoutHeader", "Content-Type"),
        "spec.servers[0].timeoutHeader",
        None,
    ),
    Bad("url without scheme", put("servers.0.url", "kb:8080"), "spec.servers[0].url", "spec.servers[0].url"),
    Bad(
        "url with user", put("servers.0.url", "http://u:p@kb/"), "spec.servers[0].url", "spec.servers[0].url"
    ),
    Bad(
        "url with query", put("servers.0.url", "http://kb/?a=b"), "spec.servers[0].url", "spec.servers[0].url"
    ),
    Bad(
        "tls of an http server",
        put("servers.0.tls", {"serverName": "kb"}),
        "spec.servers[0].tls",
        "tls is for https",
    ),
    Bad(
        "certificates that are none",
        put(
            "servers.0", {"name": "kb", "protocol": "MCP", "url": "https://kb/", "tls": {"caBundle": "none"}}
        ),
        "spec.servers[0].tls.caBundle",
        None,
    ),
    Bad(
        "a key in the policy",
        put(
            "servers.0",
            {
                "name": "kb",
                "protocol": "MCP",
                "url": "https://kb/",
                "tls": {"caBundle": "-----BEGIN PRIVATE KEY-----"},
            },
        ),
        "spec.servers[0].tls.caBundle",
        None,
    ),
    Bad(
        "server name that is an URL",
        put(
            "servers.0",
            {"name": "kb", "protocol": "MCP", "url": "https://kb/", "tls": {"serverName": "https://kb"}},
        ),
        "spec.servers[0].tls.serverName",
        "spec.servers[0].tls.serverName",
    ),
    Bad(
        "Secret in another folder",
        put(
            "servers.0",
            {
                "name": "kb",
                "protocol": "MCP",
                "url": "https://kb/",
                "tls": {"clientCertificate": {"secretName": "../x"}},
            },
        ),
        "spec.servers[0].tls.clientCertificate.secretName",
        "spec.servers[0].tls.clientCertificate.secretName",
    ),
    Bad(
        "neither url nor stdio",
        put("servers.0", {"name": "kb", "protocol": "MCP"}),
        "spec.servers[0]",
        "url and stdio",
    ),
    Bad("url and stdio", put("servers.0.stdio", {}), "spec.servers[0]", "url and stdio"),
    Bad(
        "HTTP over pipes",
        put("servers.1", {"name": "tickets", "protocol": "HTTP", "stdio": {}}),
        "spec.servers[1].protocol",
        "speaks MCP",
    ),
    Bad(
        "headers over pipes",
        put("servers.0", {"name": "kb", "protocol": "MCP", "stdio": {}, "timeoutHeader": "X-Left"}),
        "spec.servers[0].timeoutHeader",
        "no headers",
    ),
    Bad(
        "keys over pipes",
        together(
            put("servers.0", {"name": "kb", "protocol": "MCP", "stdio": {}}),
            put("tools.0.retry", {"idempotencyKeyHeader": "Idempotency-Key"}),
        ),
        "spec.tools[0].retry.idempotencyKeyHeader",
        None,
    ),
    Bad(
        "keys over pipes by default",
        together(
            put("servers.0", {"name": "kb", "protocol": "MCP", "stdio": {}}),
            put("defaults.retry", {"idempotencyKeyHeader": "Idempotency-Key"}),
        ),
        "spec.defaults.retry.idempotencyKeyHeader",
        None,
    ),
    Bad(
        "a WebSocket of an MCP server",
        put("servers.0.upgrade", "Tunnel"),
        "spec.servers[0].upgrade",
        "upgrade: Tunnel is for HTTP servers",
    ),
    Bad(
        "a WebSocket over pipes",
        put("servers.0", {"name": "kb", "protocol": "MCP", "stdio": {}, "upgrade": "Tunnel"}),
        "spec.servers[0].upgrade",
        "upgrade: Tunnel is for HTTP servers",
    ),
    Bad(
        "an unknown upgrade",
        put("servers.1.upgrade", "Inspect"),
        "spec.servers[1].upgrade",
        "spec.servers[1].upgrade",
    ),
    Bad(
        "a WebSocket that redaction forbids",
        put("servers.1.upgrade", "Tunnel"),
        "spec.servers[1].upgrade",
        None,
    ),
    Bad(
        "a WebSocket that redaction forbids, where a tool of another server is exempt",
        together(
            put("servers.1.upgrade", "Tunnel"),
            put("redaction", {"detectors": ["Email"], "exempt": ["search"]}),
        ),
        "spec.servers[1].upgrade",
        None,
    ),
    Bad("url with impossible port", put("servers.0.url", "http://kb:99999/"), "spec.servers[0].url", None),
    Bad(
        "server name with capitals",
        put("servers.0.name", "KB"),
        "spec.servers[0].name",
        "spec.servers[0].name",
    ),
    Bad(
        "two servers with one name",
        add("servers", {"name": "kb", "protocol": "MCP", "url": "http://other/mcp"}),
        "spec.servers[2].name",
        "spec.servers[2]",
    ),
    Bad(
        "two tools with one name",
        add("tools", {"name": "search", "server": "kb", "match": {"tool": "other"}}),
        "spec.tools[2].name",
        "spec.tools[2]",
    ),
    Bad("tool of no server", put("tools.0.server", "nowhere"), f"{TOOL}.server", "every tool's server"),
    Bad("tool without name", put("tools.0", {"server": "kb"}), f"{TOOL}.name", f"{TOOL}.name"),
    Bad("bad tool name", put("tools.0.name", "a b"), f"{TOOL}.name", f"{TOOL}.name"),
    Bad(
        "duration without unit",
        put("tools.0.timeout.total", "8"),
        f"{TOOL}.timeout.total",
        f"{TOOL}.timeout.total",
    ),
    Bad(
        "duration negative",
        put("tools.0.timeout.total", "-8s"),
        f"{TOOL}.timeout.total",
        f"{TOOL}.timeout.total",
    ),
    Bad(
        "duration in days",
        put("tools.0.timeout.total", "1d"),
        f"{TOOL}.timeout.total",
        f"{TOOL}.timeout.total",
    ),
    Bad(
        "duration a number", put("tools.0.timeout.total", 8), f"{TOOL}.timeout.total", f"{TOOL}.timeout.total"
    ),
    Bad("duration zero", put("tools.0.timeout.idle", "0s"), f"{TOOL}.timeout.idle", f"{TOOL}.timeout.idle"),
    Bad(
        "attempt longer than total",
        put("tools.0.timeout", {"total": "1s", "attempt": "2s"}),
        f"{TOOL}.timeout.attempt",
        "attempt is longer than total",
    ),
    Bad(
        "attempt longer than the default total",
        put("tools.0.timeout", {"attempt": "20s"}),
        f"{TOOL}.timeout.attempt",
        None,
    ),
    Bad(
        "connect longer than attempt",
        put("tools.0.timeout", {"total": "9s", "attempt": "1s", "connect": "2s"}),
        f"{TOOL}.timeout.connect",
        "connect is longer than attempt",
    ),
    Bad(
        "no attempt at all",
        put("tools.0.retry", {"maxAttempts": 0}),
        f"{TOOL}.retry.maxAttempts",
        "retry.maxAttempts",
    ),
    Bad(
        "back-off of nothing",
        put("defaults.retry", {"backoff": {"base": "0s"}}),
        "spec.defaults.retry.backoff.base",
        "must be longer than zero",
    ),
    Bad(
        "back-off that begins over its maximum",
        put("tools.0.retry", {"backoff": {"base": "2s", "max": "1s"}}),
        f"{TOOL}.retry.backoff.base",
        "base is longer than max",
    ),
    Bad(
        "back-off over the default maximum",
        lambda spec: spec.update(
            defaults={"retry": {"backoff": {"max": "1s"}}},
            tools=[{"name": "search", "server": "kb", "retry": {"backoff": {"base": "2s"}}}],
        ),
        f"{TOOL}.retry.backoff.base",
        None,
    ),
    Bad(
        "retry of everything",
        put("tools.0.retry", {"on": ["Everything"]}),
        f"{TOOL}.retry.on[0]",
        "retry.on[0]",
    ),
    Bad(
        "hedge of what may not be repeated",
        put("tools.0.retry", {"hedge": {}, "idempotent": False}),
        f"{TOOL}.retry.hedge",
        "hedge makes calls twice",
    ),
    Bad(
        "hedge without a word on repetition",
        put("tools.0.retry", {"hedge": {}}),
        f"{TOOL}.retry.hedge",
        None,
    ),
    Bad(
        "hedge with one attempt",
        put("tools.0.retry", {"hedge": {}, "idempotent": True, "maxAttempts": 1}),
        f"{TOOL}.retry.hedge",
        "hedge needs a second attempt",
    ),
    Bad(
        "hedge not before nothing",
        put("tools.0.retry", {"hedge": {"notBefore": "0s"}, "idempotent": True}),
        f"{TOOL}.retry.hedge.notBefore",
        "must be longer than zero",
    ),
    Bad("retry of nothing", put("tools.0.retry", {"on": []}), f"{TOOL}.retry.on", "retry.on"),
    Bad(
        "retry of one thing twice",
        put("tools.0.retry", {"on": ["Connect", "Connect"]}),
        f"{TOOL}.retry.on[1]",
        "retry.on[1]",
    ),
    Bad(
        "key in a header of the protocol",
        put("tools.0.retry", {"idempotencyKeyHeader": "Content-Length"}),
        f"{TOOL}.retry.idempotencyKeyHeader",
        None,
    ),
    Bad(
        "concurrency of nothing",
        put("tools.0.concurrency", {"max": 0}),
        f"{TOOL}.concurrency.max",
        "concurrency.max",
    ),
    Bad(
        "concurrency without a limit",
        put("tools.0.concurrency", {"queue": 4}),
        f"{TOOL}.concurrency.max",
        "concurrency.max",
    ),
    Bad(
        "queue timeout without a queue",
        put("tools.0.concurrency", {"max": 4, "queueTimeout": "1s"}),
        f"{TOOL}.concurrency.queueTimeout",
        None,
    ),
    Bad(
        "queue timeout longer than the total",
        put("tools.0.concurrency", {"max": 4, "queue": 4, "queueTimeout": "20s"}),
        f"{TOOL}.concurrency.queueTimeout",
        None,
    ),
    Bad(
        "adaptive limit with its bounds the wrong way round",
        put("tools.0.concurrency", {"max": 4, "adaptive": {"min": 5}}),
        f"{TOOL}.concurrency.adaptive.min",
        "adaptive.min is larger than max",
    ),
    Bad(
        "server's queue timeout without a queue",
        put("servers.0.concurrency", {"max": 4, "queueTimeout": "1s"}),
        "spec.servers[0].concurrency.queueTimeout",
        None,
    ),
    Bad(
        "queue timeout of zero",
        put("tools.0.concurrency", {"max": 4, "queue": 4, "queueTimeout": "0s"}),
        f"{TOOL}.concurrency.queueTimeout",
        "concurrency.queueTimeout",
    ),
    Bad("fallback to nothing", put("tools.0.fallback", {}), f"{TOOL}.fallback", "set one of message, static"),
    Bad(
        "fallback of two kinds",
        put("defaults.fallback", {"message": "x", "static": "y"}),
        "spec.defaults.fallback",
        "set one of message, static",
    ),
    Bad(
        "fallback that says nothing",
        put("tools.0.fallback", {"message": ""}),
        f"{TOOL}.fallback.message",
        "fallback.message",
    ),
    Bad(
        "fallback to what is kept for no time",
        put("tools.0.fallback", {"cached": {"maxAge": "0s"}}),
        f"{TOOL}.fallback.cached.maxAge",
        "cached.maxAge",
    ),
    Bad(
        "fallback to a tool that is not there",
        put("tools.0.fallback", {"tool": {"name": "gone"}}),
        f"{TOOL}.fallback.tool.name",
        None,
    ),
    Bad(
        "default fallback to a tool",
        put("defaults.fallback", {"tool": {"name": "search"}}),
        "spec.defaults.fallback.tool",
        None,
    ),
    Bad(
        "fallback to itself",
        put("tools.0.fallback", {"tool": {"name": "search"}}),
        f"{TOOL}.fallback.tool.name",
        None,
    ),
    Bad(
        "fallback to a tool of another protocol",
        put("tools.0.fallback", {"tool": {"name": "create"}}),
        f"{TOOL}.fallback.tool.name",
        None,
    ),
    Bad(
        "fallback to a glob",
        add("tools", {"name": "x", "server": "kb", "fallback": {"tool": {"name": "search"}}}),
        "spec.tools[2].fallback.tool.name",
        None,
    ),
    Bad(
        "fallback to a path without its value",
        add(
            "tools",
            {
                "name": "list",
                "server": "tickets",
                "match": {"path": "/v1/tickets"},
                "fallback": {"tool": {"name": "create"}},
            },
        ),
        "spec.tools[2].fallback.tool.arguments",
        None,
    ),
    Bad(
        "slow calls over no time",
        put("tools.0.circuitBreaker", {"slowCall": {"over": "0s", "percent": 80}}),
        f"{TOOL}.circuitBreaker.slowCall.over",
        "must be longer than zero",
    ),
    Bad(
        "slow calls without a share",
        put("tools.0.circuitBreaker", {"slowCall": {"over": "5s"}}),
        f"{TOOL}.circuitBreaker.slowCall.percent",
        "slowCall.percent",
    ),
    Bad(
        "slow calls that are timeouts",
        put("tools.0.circuitBreaker", {"slowCall": {"over": "10s", "percent": 80}}),
        f"{TOOL}.circuitBreaker.slowCall.over",
        None,
    ),
    Bad(
        "maxOpenFor below openFor",
        put("tools.0.circuitBreaker", {"openFor": "6m", "maxOpenFor": "5m"}),
        f"{TOOL}.circuitBreaker.maxOpenFor",
        "openFor is longer than maxOpenFor",
    ),
    Bad(
        "maxOpenFor below the default of openFor",
        put("tools.0.circuitBreaker", {"maxOpenFor": "5s"}),
        f"{TOOL}.circuitBreaker.maxOpenFor",
        None,
    ),
    Bad(
        "breaker that opens at zero failures",
        put("tools.0.circuitBreaker", {"consecutiveFailures": 0}),
        f"{TOOL}.circuitBreaker.consecutiveFailures",
        "circuitBreaker.consecutiveFailures",
    ),
    Bad(
        "rate over 100 percent",
        put("tools.0.circuitBreaker", {"failureRate": {"percent": 101, "calls": 10}}),
        f"{TOOL}.circuitBreaker.failureRate.percent",
        "failureRate.percent",
    ),
    Bad(
        "rate of no window",
        put("tools.0.circuitBreaker", {"failureRate": {"percent": 50}}),
        f"{TOOL}.circuitBreaker.failureRate",
        "set window (time) or calls (count)",
    ),
    Bad(
        "rate of both windows",
        put("tools.0.circuitBreaker", {"failureRate": {"percent": 50, "calls": 10, "window": "10s"}}),
        f"{TOOL}.circuitBreaker.failureRate",
        "set window (time) or calls (count)",
    ),
    Bad(
        "rate never evaluated",
        put("tools.0.circuitBreaker", {"failureRate": {"percent": 50, "calls": 10, "minimumCalls": 20}}),
        f"{TOOL}.circuitBreaker.failureRate.minimumCalls",
        "never be evaluated",
    ),
    Bad(
        "breaker mode unknown",
        put("tools.0.circuitBreaker", {"mode": "Broken"}),
        f"{TOOL}.circuitBreaker.mode",
        f"{TOOL}.circuitBreaker.mode",
    ),
    Bad(
        "match of both kinds",
        put("tools.0.match", {"tool": "a", "path": "/a"}),
        f"{TOOL}.match",
        "one of tool (MCP)",
    ),
    Bad("match of no kind", put("tools.0.match", {}), f"{TOOL}.match", "one of tool (MCP)"),
    Bad("path on an MCP server", put("tools.0.match", {"path": "/a"}), f"{TOOL}.match.path", None),
    Bad("glob on an HTTP server", put("tools.1.match", {"tool": "a"}), "spec.tools[1].match.tool", None),
    Bad(
        "HTTP tool without match",
        put("tools.1", {"name": "c", "server": "tickets"}),
        "spec.tools[1].match",
        None,
    ),
    Bad(
        "path without slash",
        put("tools.1.match.path", "v1"),
        "spec.tools[1].match.path",
        "spec.tools[1].match.path",
    ),
    Bad(
        "path with half a placeholder",
        put("tools.1.match.path", "/a/x{id}"),
        "spec.tools[1].match.path",
        None,
    ),
    Bad("path with dot segments", put("tools.1.match.path", "/a/../b"), "spec.tools[1].match.path", None),
    Bad("path that no request has", put("tools.1.match.path", "/a//b"), "spec.tools[1].match.path", None),
    Bad(
        "method unknown",
        put("tools.1.match.methods", ["FETCH"]),
        "spec.tools[1].match.methods[0]",
        "methods[0]",
    ),
    Bad(
        "a tool behind a wider one",
        add("tools", {"name": "search_kb", "server": "kb"}),
        "spec.tools[2].match",
        None,
    ),
    Bad(
        "detector unknown",
        put("redaction.detectors", ["Mood"]),
        "spec.redaction.detectors[0]",
        "detectors[0]",
    ),
    Bad(
        "confidence unknown",
        put("redaction.minConfidence", "Sure"),
        "spec.redaction.minConfidence",
        "spec.redaction.minConfidence",
    ),
    Bad(
        "egress default unknown",
        put("egress.default", "Sometimes"),
        "spec.egress.default",
        "spec.egress.default",
    ),
    Bad("egress without a default", put("egress", {}), "spec.egress.default", "spec.egress.default"),
    Bad(
        "action unknown",
        put("redaction.action", "Burn"),
        "spec.redaction.action",
        "spec.redaction.action",
    ),
    Bad(
        "field by a filter",
        put("redaction.fields", [{"path": "$.a[?@.b]", "action": "Drop"}]),
        "spec.redaction.fields[0].path",
        None,
    ),
    Bad(
        "field of a tool without a path from the root",
        put(
            "tools.0.redaction",
            {"fields": [{"path": "$.a", "action": "Mask"}, {"path": "a", "action": "Mask"}]},
        ),
        "spec.tools[0].redaction.fields[1].path",
        None,
    ),
    Bad(
        "field action unknown",
        put("redaction.fields", [{"path": "$.a", "action": "Burn"}]),
        "spec.redaction.fields[0].action",
        "fields[0].action",
    ),
    Bad(
        "pattern that does not compile",
        put("redaction.patterns.0.regex", "(unclosed"),
        "spec.redaction.patterns[0].regex",
        None,
    ),
    Bad(
        "pattern with lookahead",
        put("redaction.patterns.0.regex", "(?=a)b"),
        "spec.redaction.patterns[0].regex",
        None,
    ),
    Bad(
        "pattern that matches nothing",
        put("redaction.patterns.0.regex", "a*"),
        "spec.redaction.patterns[0].regex",
        None,
    ),
    Bad(
        "two patterns with one name",
        add("redaction.patterns", {"name": "ticket", "regex": "x"}),
        "spec.redaction.patterns[1].name",
        "spec.redaction.patterns[1]",
    ),
    Bad(
        "an allowed text that is a pattern too",
        put("redaction.allow", [{"text": "a", "regex": "a"}]),
        "spec.redaction.allow[0]",
        "set one of text and regex",
    ),
    Bad(
        "an allowed pattern that does not compile",
        put("redaction.allow", [{"text": "a"}, {"regex": "(unclosed"}]),
        "spec.redaction.allow[1].regex",
        None,
    ),
    Bad(
        "a preview of no calls",
        put("redaction.preview", {"percent": 0}),
        "spec.redaction.preview.percent",
        "spec.redaction.preview.percent",
    ),
    Bad(
        "a header by which the message is read",
        put("redaction.headers", ["Location", "Content-Length"]),
        "spec.redaction.headers[1]",
        "the message or the protocol is read by this header",
    ),
    Bad(
        "a header of the protocol, of a tool",
        put("tools.0.redaction", {"headers": ["Mcp-Session-Id"]}),
        "spec.tools[0].redaction.headers[0]",
        "the message or the protocol is read by this header",
    ),
    Bad(
        "a header that is none",
        put("redaction.headers", ["X Debug"]),
        "spec.redaction.headers[0]",
        "spec.redaction.headers[0]",
    ),
    Bad(
        "a tool trusted with tokens that is not listed",
        lambda spec: (
            put("redaction.action", "Tokenize")(spec),
            put("redaction.tokens", {"trustedTools": ["search", "other"]})(spec),
        )[0],
        "spec.redaction.tokens.trustedTools[1]",
        None,
    ),
    Bad(
        "tokens that nothing makes",
        put("redaction.tokens", {"trustedTools": ["search"]}),
        "spec.redaction.tokens",
        None,
    ),
    Bad(
        "a header of sessions that is none",
        lambda spec: (
            put("redaction.action", "Tokenize")(spec),
            put("redaction.tokens", {"sessionHeader": "X Session"})(spec),
        )[0],
        "spec.redaction.tokens.sessionHeader",
        "spec.redaction.tokens.sessionHeader",
    ),
    Bad(
        "a tool exempt from redaction that is not listed",
        put("redaction.exempt", ["search", "other"]),
        "spec.redaction.exempt[1]",
        None,
    ),
    Bad(
        "a tool with redaction that is exempt from it",
        lambda spec: (
            put("redaction.exempt", ["search"])(spec),
            put("tools.0.redaction", {"action": "Block"})(spec),
        )[0],
        "spec.tools[0].redaction",
        None,
    ),
    Bad(
        "a tool's pattern that does not compile",
        put("tools.0.redaction", {"patterns": [{"name": "a", "regex": "(unclosed"}]}),
        "spec.tools[0].redaction.patterns[0].regex",
        None,
    ),
    Bad(
        "a tool's redaction that looks for nothing",
        lambda spec: (spec.pop("redaction"), put("tools.0.redaction", {"action": "Block"})(spec))[1],
        "spec.tools[0].redaction",
        None,
    ),
    Bad(
        "selector In without values",
        put("selector", {"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "spec.selector.matchExpressions[0].values",
        None,
    ),
    Bad("unknown field of the spec", put("timeouts", {}), "spec.timeouts", "spec.timeouts"),
    Bad("unknown field of a tool", put("tools.0.time", {}), f"{TOOL}.time", f"{TOOL}.time"),
    Bad("unknown field deep down", put("tools.0.timeout", {"totl": "1s"}), f"{TOOL}.timeout.totl", "totl"),
]

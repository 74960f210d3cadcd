"""Where tools are."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from toolpolicy_api import policy as written
from toolpolicy_api.check.concurrency import check_concurrency
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.check.reserved_headers import has_a_meaning
from toolpolicy_api.compile import effective_concurrency
from toolpolicy_api.pem import fault_of_bundle


def check_servers(servers: list[written.Server]) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, server in enumerate(servers):
        if names.setdefault(server.name, index) != index:
            yield Finding(
                f"spec.servers[{index}].name",
                f"{server.name!r} is already spec.servers[{names[server.name]}]; give it a name of its own",
            )
        yield from _address(server, f"spec.servers[{index}]")
        if has_a_meaning(server.timeout_header):
            yield Finding(
                f"spec.servers[{index}].timeoutHeader",
                f"{server.timeout_header} has a meaning of its own; name a header such as X-Request-Timeout-Ms",
            )
        if server.tls:
            yield from _tls(server, server.tls, f"spec.servers[{index}].tls")
        if server.concurrency:
            limit = effective_concurrency(server.concurrency, None)
            yield from check_concurrency(
                server.concurrency, limit, None, f"spec.servers[{index}].concurrency"
            )


def _tls(server: written.Server, tls: written.ServerTls, field: str) -> Iterator[Finding]:
    if server.url is None or not server.url.startswith("https://"):
        yield Finding(field, "tls is for https; write the url with https:// or remove tls")
    fault = fault_of_bundle(tls.ca_bundle) if tls.ca_bundle is not None else None
    if fault is not None:
        yield Finding(f"{field}.caBundle", fault)


def _address(server: written.Server, field: str) -> Iterator[Finding]:
    if (server.url is None) == (server.stdio is None):
        yield Finding(field, "set one of url and stdio")
    elif server.url is not None:
        try:
            parts = urlsplit(server.url)
            valid = bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            yield Finding(f"{field}.url", "no valid host and port; write it like https://kb.internal/mcp")
    else:
        if server.protocol != "MCP":
            yield Finding(
                f"{field}.protocol", f"{server.protocol} needs a url; over pipes only MCP is spoken"
            )
        if server.timeout_header is not None:
            yield Finding(f"{field}.timeoutHeader", "over pipes there are no headers; remove it")

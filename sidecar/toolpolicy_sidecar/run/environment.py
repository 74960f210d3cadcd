"""What a process has to be told so that its calls come to this sidecar. Pure."""

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path

from toolpolicy_sidecar.settings import Address

_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def around(
    base: Mapping[str, str],
    *,
    reverse: Address,
    forward: Address,
    admin: Address,
    bundle: Path,
    servers: Mapping[str, str],
) -> dict[str, str]:
    """`base` and what is ours; `servers`: name → host, "" for one over pipes. What HTTP_PROXY said before is gone: two
    proxies cannot both be asked."""
    hosts = {host for host in servers.values() if host}
    own = base.get("NO_PROXY") or base.get("no_proxy") or ""
    # A tool on this machine must not be asked past the proxy; the sidecar itself has to be.
    free = [name for name in _LOOPBACK if name not in hosts]
    direct = [entry for entry in _entries(own) if not any(covers(entry, host) for host in hosts)]
    no_proxy = ",".join(dict.fromkeys([*direct, *free]))
    proxy = f"http://{forward.host}:{forward.port}"
    url = f"http://{free[0] if free else reverse.host}:{reverse.port}"
    if url.startswith("http://::1"):
        url = f"http://[::1]:{reverse.port}"
    made = dict(base)
    for name, value in (("HTTP_PROXY", proxy), ("HTTPS_PROXY", proxy), ("NO_PROXY", no_proxy)):
        made[name] = made[name.lower()] = value
    for name in ("ALL_PROXY", "all_proxy"):
        made.pop(name, None)
    made |= dict.fromkeys(_BUNDLES, str(bundle))
    made |= {
        "NODE_USE_ENV_PROXY": "1",
        "TOOLPOLICY_URL": url,
        "TOOLPOLICY_ADMIN": f"{admin.host}:{admin.port}",
    }
    for name, host in servers.items():
        if host:
            made[f"TOOLPOLICY_{name.upper().replace('-', '_')}_URL"] = f"{url}/{name}"
    return made


def covers(entry: str, host: str) -> bool:
    """Does this entry of NO_PROXY mean that host?"""
    entry = entry.lower()
    if entry == "*":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = entry.partition(":")[0].lstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return entry.partition(":")[0] == host


def _entries(text: str) -> Iterable[str]:
    return [entry.strip() for entry in text.split(",") if entry.strip()]

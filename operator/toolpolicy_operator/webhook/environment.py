"""What the agents' containers are told: where tools are, the way through the forward proxy, whom to trust. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from toolpolicy_operator.webhook.sidecar import BUNDLE, FORWARD_PORT, REVERSE_PORT, Sidecar

_PROXY = f"http://127.0.0.1:{FORWARD_PORT}"
_SCHEMES = ("HTTP_PROXY", "HTTPS_PROXY")
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
_PAST = ("localhost", "127.0.0.1", "::1", "kubernetes.default.svc", "$(KUBERNETES_SERVICE_HOST)")
"""Never through the proxy."""


class Environment(NamedTuple):
    """`conflicts` say what of it a container decides otherwise, and what follows."""

    env: list[Mapping[str, Any]]
    conflicts: tuple[str, ...] = ()


def variable(server: str) -> str:
    """`kb-eu` → `TOOLPOLICY_KB_EU_URL`."""
    return f"TOOLPOLICY_{server.upper().replace('-', '_')}_URL"


def addresses(servers: Iterable[str]) -> dict[str, str]:
    """Of the reverse listener."""
    base = f"http://127.0.0.1:{REVERSE_PORT}"
    return {"TOOLPOLICY_URL": base} | {variable(server): f"{base}/{server}" for server in sorted(servers)}


def environment(
    container: Mapping[str, Any], known_addresses: Mapping[str, str], sidecar: Sidecar
) -> Environment:
    """What the user has set stays; NO_PROXY is added to. Ours come first, so that the user's own may say
    `$(TOOLPOLICY_KB_URL)`."""
    theirs: Sequence[Mapping[str, Any]] = container.get("env") or ()
    names = {item.get("name", "") for item in theirs}
    ours, conflicts = dict(known_addresses), []
    if sidecar.forward:
        taken = {name.upper() for name in names}
        for name in _SCHEMES:
            if taken & {name, "ALL_PROXY"}:
                own = name if name in taken else "ALL_PROXY"
                conflicts.append(
                    f"container {container.get('name')} sets {own} itself, so these calls go past the sidecar"
                )
            else:
                ours |= {name: _PROXY, name.lower(): _PROXY}
        for name in _TRUST:
            if name in names:
                conflicts.append(
                    f"container {container.get('name')} sets {name} itself: https calls of tools fail unless it"
                    f" trusts {BUNDLE}"
                )
            else:
                ours[name] = BUNDLE
        ours["NODE_USE_ENV_PROXY"] = "1"
        theirs, no_proxy = _no_proxy(theirs, ",".join((*_PAST, *sidecar.no_proxy)))
        ours |= no_proxy
    new: list[Mapping[str, Any]] = [
        {"name": name, "value": value} for name, value in ours.items() if name not in names
    ]
    return Environment([*new, *theirs], tuple(conflicts))


def _no_proxy(
    theirs: Sequence[Mapping[str, Any]], ours: str
) -> tuple[list[Mapping[str, Any]], dict[str, str]]:
    """Theirs with ours added, and what is to be set besides: programs read one of the two spellings, or either."""
    value = ours
    changed: list[Mapping[str, Any]] = []
    for item in theirs:
        if item.get("name", "").upper() == "NO_PROXY" and "valueFrom" not in item:
            value = f"{item['value']},{ours}" if item.get("value") else ours
            changed.append({**item, "value": value})
        else:
            changed.append(item)
    return changed, {"NO_PROXY": value, "no_proxy": value}

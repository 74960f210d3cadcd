"""A pod in, the whole injected pod out."""

import copy
from typing import Any

import pytest

from tests.corpus.policies import BAD, GOOD
from toolpolicy_api.snapshot import Rules, Server, ServerTls, Timeouts
from toolpolicy_operator.webhook.environment import variable
from toolpolicy_operator.webhook.inject import Injection, inject
from toolpolicy_operator.webhook.sidecar import CONTAINER, Sidecar
from toolpolicy_operator.webhook.validate import validate

REVERSE = Sidecar(
    image="toolpolicy:1", operator="wss://toolpolicy-operator.ns.svc:443", version="1", forward=False
)
FORWARD = REVERSE._replace(forward=True)
POD: dict[str, Any] = {
    "metadata": {"name": "agent", "labels": {"app": "agent"}},
    "spec": {
        "containers": [{"name": "agent", "image": "agent"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def pod(**spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(POD)
    made["spec"] |= spec
    return made


def apply(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Just enough of RFC 6902: `add`."""
    document = copy.deepcopy(document)
    for step in patch:
        assert step["op"] == "add"
        *parents, last = [part.replace("~1", "/") for part in step["path"].split("/")[1:]]
        node: Any = document
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        if isinstance(node, list):
            node.insert(len(node) if last == "-" else int(last), step["value"])
        else:
            node[last] = step["value"]
    return document


def server(name: str, tls: ServerTls | None = None) -> Server:
    return Server(name, "HTTP", "https://x", Rules(Timeouts(1, 1, 1)), tls=tls)


def injected(document: dict[str, Any], *servers: str, sidecar: Sidecar = REVERSE) -> dict[str, Any]:
    return apply(document, inject(document, sidecar, [server(name) for name in servers]).patch)


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def test_the_sidecar_is_the_first_init_container_and_restricted() -> None:
    document = pod(initContainers=[{"name": "setup", "image": "x"}])
    result = injected(document, "kb-eu")
    sidecar, setup = result["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"], setup["name"]) == (CONTAINER, "Always", "setup")
    assert sidecar["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/startupz", "port": 19090}
    sources = result["spec"]["volumes"][1]["projected"]["sources"]
    assert sources[0] == {
        "serviceAccountToken": {"audience": "toolpolicy", "expirationSeconds": 3600, "path": "token"}
    }
    assert sources[1] == {"configMap": {"name": "toolpolicy-bootstrap", "optional": True}}
    assert [volume["name"] for volume in result["spec"]["volumes"]] == [
        "data",
        "toolpolicy",
        "toolpolicy-state",
    ]
    assert result["metadata"]["labels"] == {"app": "agent", "toolpolicy.dev/injected": "true"}


def test_every_container_learns_the_addresses_and_keeps_its_own() -> None:
    document = pod(
        containers=[
            {"name": "a", "env": [{"name": "TOOLPOLICY_URL", "value": "mine"}, {"name": "X", "value": "1"}]},
            {"name": "b"},
        ],
        initContainers=[{"name": "setup"}],
    )
    result = injected(document, "kb-eu", "tickets")
    first = {item["name"]: item["value"] for item in result["spec"]["containers"][0]["env"]}
    assert first == {
        "TOOLPOLICY_URL": "mine",
        "X": "1",
        "TOOLPOLICY_KB_EU_URL": "http://127.0.0.1:19001/kb-eu",
        "TOOLPOLICY_TICKETS_URL": "http://127.0.0.1:19001/tickets",
    }
    second = {item["name"]: item["value"] for item in result["spec"]["containers"][1]["env"]}
    assert second["TOOLPOLICY_URL"] == "http://127.0.0.1:19001"
    assert result["spec"]["initContainers"][1]["env"]


def test_injecting_twice_is_injecting_once() -> None:
    once = injected(POD, "kb")
    again = inject(once, REVERSE, [server("kb")])
    assert (again.patch, again.why) == ([], "already injected")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": {"toolpolicy.dev/inject": "disabled"}}}, "the pod opts out"),
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, "a static pod"),
    ],
)
def test_pods_that_nobody_expects_a_sidecar_in(change: dict[str, Any], why: str) -> None:
    assert inject({**POD, **change}, REVERSE, []) == Injection(injected=False, why=why, patch=[])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"hostNetwork": True}, "with hostNetwork the sidecar's ports would be open on the node"),
        ({"os": {"name": "windows"}}, "the sidecar's image is for Linux"),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, "the sidecar's image is for Linux"),
        (
            {"containers": [{"name": "toolpolicy"}]},
            "the pod has container 'toolpolicy' of its own; rename it",
        ),
        (
            {"volumes": [{"name": "toolpolicy-state"}]},
            "the pod has volume 'toolpolicy-state' of its own; rename it",
        ),
    ],
)
def test_pods_that_cannot_have_one_say_why(spec: dict[str, Any], why: str) -> None:
    result = inject(pod(**spec), REVERSE, [])
    assert result == Injection(
        injected=False,
        why=why,
        patch=[{"op": "add", "path": "/metadata/annotations", "value": {"toolpolicy.dev/not-injected": why}}],
        warnings=(f"toolpolicy: no sidecar is injected: {why}",),
    )


def test_the_users_own_variables_may_refer_to_ours() -> None:
    """`$(NAME)` is replaced only when NAME stands before it."""
    document = pod(containers=[{"name": "a", "env": [{"name": "MCP", "value": "$(TOOLPOLICY_KB_URL)"}]}])
    env = injected(document, "kb")["spec"]["containers"][0]["env"]
    assert [item["name"] for item in env] == ["TOOLPOLICY_URL", "TOOLPOLICY_KB_URL", "MCP"]


def test_ports_that_the_sidecar_needs_are_warned_of() -> None:
    document = pod(containers=[{"name": "a", "ports": [{"containerPort": 19001}, {"containerPort": 80}]}])
    result = inject(document, REVERSE, [])
    assert result.injected
    assert result.warnings == (
        "toolpolicy: container a uses port 19001, which the sidecar needs: one of the two will not start",
    )


def test_the_pod_itself_is_not_touched() -> None:
    document = pod(
        containers=[{"name": "a", "env": []}],
        initContainers=[{"name": "b"}],
        ephemeralContainers=[{"name": "debug"}],
        volumes=[],
    )
    before = copy.deepcopy(document)
    result = injected(document, "kb")
    assert document == before
    assert result["spec"]["ephemeralContainers"] == [{"name": "debug"}]


def test_names_of_variables() -> None:
    assert variable("kb-eu") == "TOOLPOLICY_KB_EU_URL"


def review(operation: str, new: Any, old: Any = None) -> dict[str, Any]:
    return {"operation": operation, "object": new, "oldObject": old}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_every_bad_policy_is_denied_with_its_field(bad: Any) -> None:
    verdict = validate(review("CREATE", bad.policy()))
    assert not verdict.allowed
    assert bad.field in verdict.message


def test_metadata_and_deletion_are_never_in_the_way() -> None:
    bad = BAD[0].policy()
    assert validate(review("UPDATE", {**bad, "metadata": {"labels": {"a": "b"}}}, bad)).allowed
    leaving = {**bad, "metadata": {**bad["metadata"], "deletionTimestamp": "now"}}
    assert validate(review("UPDATE", leaving, GOOD)).allowed
    assert not validate(review("UPDATE", bad, GOOD)).allowed


# Agents that go through the forward proxy by their environment
PROXY, BUNDLE = "http://127.0.0.1:19002", "/var/run/toolpolicy-trust/bundle.pem"
PAST = "localhost,127.0.0.1,::1,kubernetes.default.svc,$(KUBERNETES_SERVICE_HOST)"


def test_an_agent_that_nobody_changed_is_led_through_the_sidecar() -> None:
    document = pod(
        initContainers=[{"name": "setup", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]
    )
    result = injected(document, sidecar=FORWARD)
    sidecar, setup = result["spec"]["initContainers"]
    for container in (setup, *result["spec"]["containers"]):
        assert environment(container) == {
            "TOOLPOLICY_URL": "http://127.0.0.1:19001",
            "HTTP_PROXY": PROXY,
            "http_proxy": PROXY,
            "HTTPS_PROXY": PROXY,
            "https_proxy": PROXY,
            "NO_PROXY": PAST,
            "no_proxy": PAST,
            "SSL_CERT_FILE": BUNDLE,
            "REQUESTS_CA_BUNDLE": BUNDLE,
            "CURL_CA_BUNDLE": BUNDLE,
            "NODE_EXTRA_CA_CERTS": BUNDLE,
            "NODE_USE_ENV_PROXY": "1",
        }
        trust = {"name": "toolpolicy-trust", "mountPath": "/var/run/toolpolicy-trust", "readOnly": True}
        assert container["volumeMounts"][-1] == trust
    assert setup["volumeMounts"][0]["name"] == "data"
    told = environment(sidecar)
    assert told["TOOLPOLICY_FORWARD"] == "127.0.0.1:19002"
    assert told["TOOLPOLICY_TRUST_BUNDLE"] == BUNDLE
    assert "TOOLPOLICY_INTERCEPT_DOMAINS" not in told
    assert "not-forwarded" not in str(result["metadata"])


def test_the_authority_is_kept_in_memory_and_for_the_sidecar_alone() -> None:
    spec = injected(POD, sidecar=FORWARD)["spec"]
    found = {volume["name"]: volume for volume in spec["volumes"]}
    assert found["toolpolicy-authority"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Mi"}
    mounts = {mount["name"]: mount for mount in spec["initContainers"][0]["volumeMounts"]}
    assert "readOnly" not in mounts["toolpolicy-authority"]
    assert [mount["name"] for mount in spec["containers"][0]["volumeMounts"]] == ["toolpolicy-trust"]


@pytest.mark.parametrize(
    ("env", "no_proxy"),
    [
        ([{"name": "NO_PROXY", "value": "db.internal"}], f"db.internal,{PAST}"),
        ([{"name": "no_proxy", "value": "db.internal"}], f"db.internal,{PAST}"),
        ([{"name": "NO_PROXY", "value": ""}], PAST),
        ([{"name": "NO_PROXY"}], PAST),
    ],
)
def test_no_proxy_of_the_user_is_added_to_in_both_spellings(env: list[Any], no_proxy: str) -> None:
    found = environment(
        injected(pod(containers=[{"name": "a", "env": env}]), sidecar=FORWARD)["spec"]["containers"][0]
    )
    assert (found["NO_PROXY"], found["no_proxy"]) == (no_proxy, no_proxy)


def test_no_proxy_that_is_written_elsewhere_stays() -> None:
    env = [{"name": "NO_PROXY", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}}]
    result = injected(pod(containers=[{"name": "a", "env": env}]), sidecar=FORWARD)
    assert result["spec"]["containers"][0]["env"][-1:] == env


def test_no_proxy_of_the_installation_is_added() -> None:
    sidecar = FORWARD._replace(no_proxy=("metadata.google.internal", "10.0.0.0/8"))
    (container,) = injected(POD, sidecar=sidecar)["spec"]["containers"]
    assert environment(container)["NO_PROXY"] == f"{PAST},metadata.google.internal,10.0.0.0/8"


@pytest.mark.parametrize(
    ("own", "others", "why"),
    [
        ({"HTTPS_PROXY": "http://corp:3128"}, {"HTTP_PROXY", "http_proxy"}, "sets HTTPS_PROXY itself"),
        ({"https_proxy": "http://corp:3128"}, {"HTTP_PROXY", "http_proxy"}, "sets HTTPS_PROXY itself"),
        ({"ALL_PROXY": "socks5://corp"}, set(), "sets ALL_PROXY itself"),
        (
            {"SSL_CERT_FILE": "/my.pem"},
            {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"},
            f"https calls of tools fail unless it trusts {BUNDLE}",
        ),
    ],
)
def test_what_the_user_has_set_stays_and_is_told(own: dict[str, str], others: set[str], why: str) -> None:
    env = [{"name": name, "value": value} for name, value in own.items()]
    document = pod(containers=[{"name": "a", "env": env}, {"name": "b"}])
    injection = inject(document, FORWARD, [])
    result = apply(document, injection.patch)
    first, second = (environment(container) for container in result["spec"]["containers"])
    assert first | own == first
    spellings = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}
    assert {name for name in first if name in spellings} - set(own) == others
    assert second["HTTPS_PROXY"] == PROXY
    assert all(warning.startswith("toolpolicy: container a ") for warning in injection.warnings)
    assert why in injection.warnings[0]
    assert why in result["metadata"]["annotations"]["toolpolicy.dev/not-forwarded"]
    assert result["metadata"]["annotations"]["toolpolicy.dev/version"] == "1"


def test_a_pod_may_do_without_the_forward_proxy() -> None:
    document = copy.deepcopy(POD)
    document["metadata"]["annotations"] = {"toolpolicy.dev/forward": "disabled"}
    assert injected(document, "kb", sidecar=FORWARD)["spec"] == injected(POD, "kb")["spec"]


def test_extra_roots_go_to_the_sidecar() -> None:
    document = copy.deepcopy(POD)
    document["metadata"]["annotations"] = {"toolpolicy.dev/extra-roots": "corp-roots"}
    spec = injected(document, sidecar=FORWARD._replace(domains=("corp.example", "svc")))["spec"]
    assert spec["volumes"][-1] == {
        "name": "toolpolicy-roots",
        "configMap": {"name": "corp-roots", "optional": True},
    }
    told = environment(spec["initContainers"][0])
    assert told["TOOLPOLICY_EXTRA_ROOTS"] == "/var/run/toolpolicy-roots"
    assert told["TOOLPOLICY_INTERCEPT_DOMAINS"] == "corp.example,svc"


def test_client_certificates_of_the_policies_servers_are_mounted_in_the_sidecar_alone() -> None:
    servers = [
        server("a", ServerTls(client_certificate="mine")),
        server("b", ServerTls(client_certificate="mine")),
        server("c", ServerTls(server_name="x")),
        server("d"),
    ]
    result = apply(POD, inject(POD, REVERSE, servers).patch)
    assert result["spec"]["volumes"][-1] == {
        "name": "toolpolicy-clients",
        "projected": {
            "sources": [
                {
                    "secret": {
                        "name": "mine",
                        "items": [
                            {"key": "tls.crt", "path": "mine/tls.crt"},
                            {"key": "tls.key", "path": "mine/tls.key"},
                        ],
                        "optional": True,
                    }
                }
            ]
        },
    }
    (sidecar,), (agent,) = result["spec"]["initContainers"], result["spec"]["containers"]
    assert environment(sidecar)["TOOLPOLICY_CLIENT_CERTIFICATES"] == "/var/run/toolpolicy-clients"
    assert sidecar["volumeMounts"][-1]["name"] == "toolpolicy-clients"
    assert "volumeMounts" not in agent
    assert "toolpolicy-clients" not in str(injected(POD, "kb"))


def test_in_transparent_mode_the_kernel_leads_and_one_container_may_tell_it() -> None:
    sidecar = FORWARD._replace(transparent=True, no_proxy=("10.0.0.0/8",))
    document = pod(initContainers=[{"name": "setup"}])
    redirect, proxy, setup = injected(document, sidecar=sidecar)["spec"]["initContainers"]
    assert (redirect["name"], proxy["name"], setup["name"]) == ("toolpolicy-redirect", CONTAINER, "setup")
    assert redirect["args"] == ["redirect", "--port=19003", "--uid=61903", "--past=10.0.0.0/8"]
    assert redirect["securityContext"]["capabilities"] == {"add": ["NET_ADMIN"], "drop": ["ALL"]}
    assert "restartPolicy" not in redirect
    assert environment(proxy)["TOOLPOLICY_TRANSPARENT_PORT"] == "19003"
    assert (proxy["securityContext"]["runAsUser"], proxy["securityContext"]["runAsNonRoot"]) == (61903, True)
    assert proxy["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_not_where_the_pod_does_without_the_forward_proxy() -> None:
    document = copy.deepcopy(POD)
    document["metadata"]["annotations"] = {"toolpolicy.dev/forward": "disabled"}
    (proxy,) = injected(document, sidecar=FORWARD._replace(transparent=True))["spec"]["initContainers"]
    assert "TOOLPOLICY_TRANSPARENT_PORT" not in environment(proxy)


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": [{"name": "a", "securityContext": {"runAsUser": 61903}}, {"name": "b"}]},
        {
            "securityContext": {"runAsUser": 61903},
            "containers": [{"name": "a"}, {"name": "b", "securityContext": {"runAsUser": 1}}],
        },
    ],
)
def test_who_runs_as_the_sidecars_user_is_told_of(spec: dict[str, Any]) -> None:
    why = "container a runs as user 61903, as the sidecar does, so the kernel lets its connections pass"
    injection = inject(pod(**spec), FORWARD._replace(transparent=True), [])
    assert injection.warnings == (f"toolpolicy: {why}",)
    result = apply(pod(**spec), injection.patch)
    assert result["metadata"]["annotations"]["toolpolicy.dev/not-forwarded"] == why
    assert inject(pod(**spec), FORWARD, []).warnings == ()

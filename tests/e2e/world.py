"""What an end-to-end test sees: agents in their pods, the tool server's switches, kubectl's words."""

import json
from typing import Any, NamedTuple

from localcluster.kube import Kube, wait_until

AGENTS = "demo"
TOOLS = "demo-tools"
SYSTEM = "toolpolicy-system"

_POST = """
import sys, urllib.request as u
request = u.Request(sys.argv[1], method=sys.argv[2], data=b"" if sys.argv[2] == "POST" else None)
print(u.urlopen(request, timeout=10).read().decode())
"""

# One raw HTTP call over one kept-alive connection: what the sidecar costs, without an SDK around it.
_RAW = """
import http.client, json, sys, time
call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": sys.argv[1], "arguments": json.loads(sys.argv[2])}}
connection = http.client.HTTPConnection("127.0.0.1", 19001, timeout=30)
headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
for _ in range(int(sys.argv[3])):
    started = time.perf_counter()
    connection.request("POST", "/kb", json.dumps(call), headers)
    answer = connection.getresponse()
    body = answer.read().decode()
    print(json.dumps({"status": answer.status, "ms": (time.perf_counter() - started) * 1000, "body": body}))
"""


class Answer(NamedTuple):
    """What the agent got from one call."""

    tool: str
    error: bool
    ms: float
    text: str


class World:
    def __init__(self, kube: Kube, tag: str) -> None:
        self.kube, self.tag = kube, tag

    # agents
    def agents(self) -> list[str]:
        """Names of the running agent pods, oldest first."""
        pods = self.kube.get("pods", namespace=AGENTS, selector="app=agent")
        alive = [
            p for p in pods if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
        ]
        alive.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
        return [pod["metadata"]["name"] for pod in alive]

    def agent(self) -> str:
        return self.agents()[0]

    def execute(self, pod: str, *command: str, container: str = "agent", namespace: str = AGENTS) -> str:
        return self.kube.kubectl("exec", "-n", namespace, pod, "-c", container, "--", *command)

    def call(
        self, tool: str, times: int = 1, *, pod: str = "", pause_s: float = 0.0, **arguments: Any
    ) -> list[Answer]:
        """Calls by the real MCP client inside an agent's pod."""
        command = ["python", "agent.py", "call", tool, json.dumps(arguments)]
        out = self.execute(pod or self.agent(), *command, "--times", str(times), "--pause", str(pause_s))
        return [Answer(**json.loads(line)) for line in out.splitlines()]

    def raw_call(self, tool: str, times: int = 1, *, pod: str = "", **arguments: Any) -> list[dict[str, Any]]:
        """The same tool call as bare HTTP: status, milliseconds, body."""
        out = self.execute(pod or self.agent(), "python", "-c", _RAW, tool, json.dumps(arguments), str(times))
        return [json.loads(line) for line in out.splitlines()]

    def admin(self, pod: str, path: str) -> Any:
        """An answer of the sidecar's admin API, asked from inside the pod."""
        return json.loads(self.execute(pod, "python", "-c", _POST, f"http://127.0.0.1:19000{path}", "GET"))

    # the tool server
    def _tools(self, path: str, method: str) -> Any:
        (pod,) = self.kube.get("pods", namespace=TOOLS, selector="app=kb")
        name = pod["metadata"]["name"]
        url = f"http://127.0.0.1:8080{path}"
        return json.loads(
            self.execute(name, "python", "-c", _POST, url, method, container="kb", namespace=TOOLS)
        )

    def fault(self, tool: str, mode: str) -> None:
        """`none`, `hang` or `error`."""
        self._tools(f"/faults/{tool}/{mode}", "POST")

    def reached(self, tool: str) -> list[Any]:
        """The arguments of every call of the tool that has reached its server."""
        return [call["arguments"] for call in self._tools("/calls", "GET") if call["tool"] == tool]

    def forget_calls(self) -> None:
        self._tools("/calls", "DELETE")

    # the truth on the resource
    def policy(self, name: str = "agent", namespace: str = AGENTS) -> Any:
        return self.kube.get("toolpolicies", name, namespace)

    def status(self, name: str = "agent") -> Any:
        return self.policy(name).get("status", {})

    def tool(self, name: str, policy: str = "agent") -> Any:
        return next((tool for tool in self.status(policy).get("tools", []) if tool["name"] == name), None)

    def condition(self, kind: str, policy: str = "agent") -> Any:
        conditions = self.status(policy).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), None)

    def until_programmed(self, policy: str = "agent", seconds: float = 30) -> None:
        def programmed() -> bool:
            found = self.policy(policy)
            condition = self.condition("Programmed", policy)
            return bool(
                condition
                and condition["status"] == "True"
                and found["status"].get("observedGeneration") == found["metadata"]["generation"]
            )

        wait_until(programmed, seconds=seconds, what=f"{policy} is programmed")

    def table(self) -> str:
        return self.kube.kubectl("get", "toolpolicies", "-n", AGENTS)

"""`make demo`: a local Kubernetes, toolpolicy on it, agents with a tool, the tool broken and mended.

Everything is real: API server, node, containers, MCP client and server. The cluster stays up afterwards.
"""

import json
import sys
import time
from typing import Any

import localcluster
from localcluster import product
from localcluster.kube import CommandFailed, Kube, wait_until
from localcluster.trouble import Trouble

AGENTS = "demo"
TOOL = "search_knowledge_base"
PROBES_MET = 5


def say(text: str = "") -> None:
    print(text, flush=True)


def headline(text: str) -> None:
    say(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


def table(kube: Kube) -> None:
    """What an on-call engineer would type, and see."""
    say("$ kubectl get toolpolicies -n demo")
    say(kube.kubectl("get", "toolpolicies", "-n", AGENTS).rstrip())


def fault(kube: Kube, mode: str) -> None:
    code = (
        "import urllib.request as u;"
        f"u.urlopen(u.Request('http://127.0.0.1:8080/faults/{TOOL}/{mode}', method='POST', data=b''))"
    )
    kube.kubectl("exec", "-n", "demo-tools", "deployment/kb", "--", "python", "-c", code)


def policy(kube: Kube) -> Any:
    return kube.get("toolpolicy", "agent", AGENTS)


def circuit(kube: Kube) -> str:
    tools = policy(kube).get("status", {}).get("tools", [])
    return next((str(tool["state"]) for tool in tools if tool["name"] == TOOL), "not seen yet")


def call_once(kube: Kube, tool: str, arguments: dict[str, str]) -> dict[str, Any]:
    out = kube.kubectl(
        "exec", "-n", AGENTS, "deployment/agent", "-c", "agent", "--",
        "python", "agent.py", "call", tool, json.dumps(arguments),
    )  # fmt: skip
    answer: dict[str, Any] = json.loads(out)
    return answer


def show_call(kube: Kube, tool: str, arguments: dict[str, str]) -> None:
    show(tool, arguments, call_once(kube, tool, arguments))


def show_refusal(kube: Kube, tool: str, arguments: dict[str, str]) -> None:
    """Every few seconds one call is the probe that finds out whether the tool is back: that one has to wait."""
    for _ in range(PROBES_MET):
        answer = call_once(kube, tool, arguments)
        if "is not called for now" in answer["text"]:
            break
    show(tool, arguments, answer)


def show(tool: str, arguments: dict[str, str], answer: dict[str, Any]) -> None:
    say(
        f"{tool}({', '.join(arguments.values())}) → {'error' if answer['error'] else 'ok'}, {answer['ms']:.0f} ms"
    )
    say(f"    {answer['text']}")


def deploy(kube: Kube) -> None:
    """Agents and tools, until all of them are well."""
    product.deploy_demo(kube)
    fault(kube, "none")
    wait_until(
        lambda: policy(kube).get("status", {}).get("ready") == "3/3" and circuit(kube) == "Closed",
        seconds=60,
        what="three agents enforce the policy",
    )


def main() -> None:
    started = time.monotonic()
    headline("1. A Kubernetes of its own")
    kube = localcluster.up()
    tag = product.load_images()

    headline("2. helm install, and three agents in a namespace labelled toolpolicy.dev/inject=enabled")
    product.install(kube, tag)
    deploy(kube)

    headline("3. All is well")
    table(kube)
    say("Three pods enforce the policy, no circuit is open, nothing fails.")
    say("\nWhat a model gets to see of a result that holds an address, a card and a token:")
    show_call(kube, "lookup_customer", {"ticket": "42"})

    headline(f"4. {TOOL} hangs")
    fault(kube, "hang")
    broken = time.monotonic()
    wait_until(lambda: circuit(kube) == "Open", seconds=90, what="the circuit is open in every pod")
    table(kube)
    say(
        f"{time.monotonic() - broken:.0f} s later: OPEN names the tool that broke, and in how many pods. The agents are"
    )
    say("not hanging: each call is answered at once, and says what to do.")
    show_refusal(kube, TOOL, {"query": "invoices"})

    headline(f"5. {TOOL} works again")
    fault(kube, "none")
    mended = time.monotonic()
    wait_until(lambda: circuit(kube) == "Closed", seconds=90, what="the circuit is closed in every pod")
    table(kube)
    say(
        f"{time.monotonic() - mended:.0f} s later: one probe per pod succeeded, so the circuits closed by themselves."
    )
    say("ERR% still shows the last five minutes.")

    headline(f"Done in {time.monotonic() - started:.0f} s. The cluster is still up. Look around:")
    prefix = "python3 -m localcluster kubectl"
    say(f"  {prefix} get toolpolicies -A -o wide")
    say(f"  {prefix} describe toolpolicy agent -n demo")
    say(f"  {prefix} get events -n demo --field-selector involvedObject.kind=ToolPolicy")
    say(f"  {prefix} logs -n demo deployment/agent -c toolpolicy")
    say("End it, leaving nothing behind:\n  make cluster-down")


if __name__ == "__main__":
    try:
        main()
    except (Trouble, CommandFailed, TimeoutError) as failed:
        sys.exit(f"\nThe demo stops here: {failed}\nEnd what is running: make cluster-down")

"""The main job: break a tool of a running agent and see the truth in kubectl. Figures are printed."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster.kube import wait_until
from tests.e2e.world import AGENTS, World
from tests.measured import measured

pytestmark = pytest.mark.e2e
SECRET = "sk-e2e-abcdefgh12345678"


TOOLS = ("search_knowledge_base", "recommend_article", "lookup_customer", "create_ticket")


@pytest.fixture(autouse=True)
def healthy(world: World) -> Iterator[None]:
    """Every test begins with working tools and closed circuits, and leaves none broken."""
    for tool in TOOLS:
        world.fault(tool, "none")

    def closed() -> bool:
        """The agents go on calling, so that circuits close by themselves."""
        tools = world.status().get("tools", [])
        return bool(tools) and all(tool["state"] == "Closed" for tool in tools)

    wait_until(closed, seconds=60, what="all circuits closed", every_s=0.5)
    world.forget_calls()
    yield
    for tool in TOOLS:
        world.fault(tool, "none")


def test_the_pod_was_injected_as_a_native_sidecar(world: World) -> None:
    pod = world.kube.get("pods", world.agent(), AGENTS)
    sidecar = pod["spec"]["initContainers"][0]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("toolpolicy", "Always")
    assert [container["name"] for container in pod["spec"]["containers"]] == ["agent"]
    env = {item["name"]: item["value"] for item in pod["spec"]["containers"][0]["env"]}
    assert env["TOOLPOLICY_URL"] == "http://127.0.0.1:19001"
    assert env["TOOLPOLICY_KB_URL"] == "http://127.0.0.1:19001/kb"
    assert env["TOOLPOLICY_TICKETS_URL"] == "http://127.0.0.1:19001/tickets"


def test_a_secret_in_the_arguments_never_reaches_the_tool(world: World) -> None:
    (answer,) = world.call("search_knowledge_base", query=f"why does {SECRET} of bob@example.com fail")
    assert not answer.error
    (arguments,) = [a for a in world.reached("search_knowledge_base") if "fail" in a["query"]]
    assert arguments["query"] == "why does [redacted:token] of [redacted:Email] fail"


def test_a_secret_in_the_result_never_reaches_the_agent(world: World) -> None:
    (answer,) = world.call("lookup_customer", ticket="1")
    assert answer.text == "Jane Doe <[redacted:Email]>, card [redacted:CreditCard], token [redacted:token]"


def test_no_secret_in_what_the_sidecar_says(world: World) -> None:
    pod = world.agent()
    world.call("search_knowledge_base", pod=pod, query=SECRET)
    wait_until(
        lambda: (
            '"search_knowledge_base"' in world.kube.kubectl("logs", "-n", AGENTS, pod, "-c", "toolpolicy")
        ),
        seconds=10,
        what="the call's log line",
    )
    log = world.kube.kubectl("logs", "-n", AGENTS, pod, "-c", "toolpolicy")
    metrics = world.execute(
        pod,
        "python",
        "-c",
        "import urllib.request as u;print(u.urlopen('http://127.0.0.1:19090/metrics').read().decode())",
    )
    for text in (log, metrics, str(world.admin(pod, "/admin/circuits")), str(world.policy())):
        assert "sk-e2e" not in text
        assert "jane.doe" not in text


def test_a_plain_http_tool(world: World) -> None:
    code = (
        "import urllib.request as u, os, sys\n"
        "r = u.Request(os.environ['TOOLPOLICY_TICKETS_URL'] + sys.argv[1], method='POST',"
        " data=b'{\"mail\": \"bob@example.com\"}', headers={'content-type': 'application/json'})\n"
        "try: a = u.urlopen(r)\n"
        "except u.HTTPError as e: a = e\n"
        "print(a.status, a.read().decode())"
    ).replace("u.HTTPError", "__import__('urllib.error').error.HTTPError")
    answer = world.execute(world.agent(), "python", "-c", code, "/v1/tickets")
    assert answer.startswith("201 ")
    assert "[redacted:Email]" in answer
    assert world.reached("create_ticket") == [{"mail": "[redacted:Email]"}]


def test_a_hanging_tool_returns_at_its_timeout(world: World) -> None:
    world.fault("search_knowledge_base", "hang")
    (answer,) = world.call("search_knowledge_base", query="hang")
    measured(
        f"hanging tool, timeout 1000 ms: the agent had its answer after {answer.ms:.0f} ms: {answer.text!r}"
    )
    assert answer.error
    assert "search_knowledge_base" in answer.text
    assert "MCPError" not in answer.text
    assert answer.ms >= 990
    assert answer.ms < 5000


def test_the_circuit_opens_and_closes_in_front_of_kubectl(world: World) -> None:
    pod = world.agent()
    world.fault("search_knowledge_base", "hang")
    answers = world.call("search_knowledge_base", 3, pod=pod, query="break it")
    opened = time.monotonic()
    assert all(answer.error for answer in answers)
    tool = wait_until(
        lambda: (t := world.tool("search_knowledge_base")) and t["pods"].get("open", 0) >= 1 and t,
        seconds=15,
        what="kubectl shows the open circuit",
        every_s=0.05,
    )
    shown_open_s = time.monotonic() - opened
    assert "search_knowledge_base" in world.status()["open"]
    assert tool["state"] in {"Open", "Mixed"}

    before = len(world.reached("search_knowledge_base"))
    queries = [""]

    def all_refused() -> list[dict[str, Any]]:
        """Their answers; none if it took so long to ask that one of them was let through as a probe."""
        queries.append(f"refused {len(queries)}")
        answers = world.raw_call("search_knowledge_base", 5, pod=pod, query=queries[-1])
        return answers if all("CircuitOpen" in answer["body"] for answer in answers) else []

    refused = wait_until(all_refused, seconds=60, what="five calls are refused")
    times = sorted(answer["ms"] for answer in refused[1:])
    assert all(answer["status"] == 200 and '"isError":true' in answer["body"] for answer in refused)
    assert not [a for a in world.reached("search_knowledge_base") if a["query"] == queries[-1]]
    median = statistics.median(times)
    measured(f"open circuit: refused in {median:.2f} ms (median of {len(times)}), none reached the tool")
    measured(f"kubectl showed the open circuit {shown_open_s:.2f} s after the third failure was answered")
    measured(world.table().rstrip())

    world.fault("search_knowledge_base", "none")

    def recovered() -> bool:
        return not world.call("search_knowledge_base", pod=pod, query="again")[0].error

    wait_until(recovered, seconds=20, what="the agent's calls succeed again", every_s=0.2)
    closed = time.monotonic()

    def shown_closed() -> bool:
        """In this pod: the others close by calls of their own."""
        found = world.tool("search_knowledge_base")
        return found and pod not in [bad["pod"] for bad in found.get("worstPods", [])]

    wait_until(shown_closed, seconds=15, what="kubectl shows it closed", every_s=0.05)
    measured(f"kubectl showed it closed {time.monotonic() - closed:.2f} s after the first good answer")
    measured(world.table().rstrip())
    assert before <= len(world.reached("search_knowledge_base"))

    def told() -> bool:
        events = world.kube.get("events", namespace=AGENTS)
        reasons = {e["reason"] for e in events if e["involvedObject"]["kind"] == "ToolPolicy"}
        return {"CircuitOpened", "CircuitClosed"} <= reasons

    wait_until(told, seconds=15, what="Events tell of both")


def test_an_optional_tool_tells_the_agent_to_go_on(world: World) -> None:
    world.fault("recommend_article", "error")
    (answer,) = world.call("recommend_article", topic="x")
    assert answer.error
    assert "without" in answer.text

"""What a command is told."""

from pathlib import Path

import pytest

from toolpolicy_sidecar.run.environment import around, covers
from toolpolicy_sidecar.settings import Address


def told(servers: dict[str, str], **base: str) -> dict[str, str]:
    return around(
        base,
        reverse=Address("127.0.0.1", 1001),
        forward=Address("127.0.0.1", 1002),
        admin=Address("127.0.0.1", 1000),
        bundle=Path("/tmp/x/ca.pem"),  # noqa: S108 -- only a name
        servers=servers,
    )


def test_all_of_it() -> None:
    proxy, file = "http://127.0.0.1:1002", "/tmp/x/ca.pem"  # noqa: S108 -- only a name
    direct = "127.0.0.1,localhost,::1"
    assert told({"kb-eu": "kb.internal", "notes": ""}, PATH="/bin", ALL_PROXY="socks5://x") == {
        "PATH": "/bin",
        "HTTP_PROXY": proxy,
        "http_proxy": proxy,
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "NO_PROXY": direct,
        "no_proxy": direct,
        "SSL_CERT_FILE": file,
        "REQUESTS_CA_BUNDLE": file,
        "CURL_CA_BUNDLE": file,
        "NODE_EXTRA_CA_CERTS": file,
        "NODE_USE_ENV_PROXY": "1",
        "TOOLPOLICY_ADMIN": "127.0.0.1:1000",
        "TOOLPOLICY_URL": "http://127.0.0.1:1001",
        "TOOLPOLICY_KB_EU_URL": "http://127.0.0.1:1001/kb-eu",
    }


@pytest.mark.parametrize(
    ("hosts", "no_proxy", "url"),
    [
        (["127.0.0.1"], "localhost,::1", "http://localhost:1001"),
        (["127.0.0.1", "localhost"], "::1", "http://[::1]:1001"),
        (["127.0.0.1", "localhost", "::1"], "", "http://127.0.0.1:1001"),
    ],
)
def test_a_tool_on_this_machine_is_not_asked_past_the_proxy(
    hosts: list[str], no_proxy: str, url: str
) -> None:
    env = told({f"s{index}": host for index, host in enumerate(hosts)})
    assert (env["NO_PROXY"], env["TOOLPOLICY_URL"]) == (no_proxy, url)


def test_what_was_direct_stays_direct_unless_a_policy_names_it() -> None:
    env = told(
        {"kb": "kb.corp", "db": "10.1.2.3"}, no_proxy="model.example, .corp,10.0.0.0/8,169.254.169.254"
    )
    assert env["NO_PROXY"] == "model.example,169.254.169.254,127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("entry", "host", "covered"),
    [
        ("*", "kb.corp", True),
        ("corp", "kb.corp", True),
        (".CORP", "kb.corp", True),
        ("kb.corp:443", "kb.corp", True),
        ("b.corp", "kb.corp", False),
        ("10.0.0.0/8", "10.1.1.1", True),
        ("10.0.0.0/8", "kb.corp", False),
        ("10.1.1.1", "10.1.1.1", True),
        ("10.1.1.2", "10.1.1.1", False),
    ],
)
def test_entries_of_no_proxy(entry: str, host: str, covered: bool) -> None:
    assert covers(entry, host) == covered

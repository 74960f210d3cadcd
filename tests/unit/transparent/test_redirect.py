"""The rules that `toolpolicy redirect` gives to the kernel."""

from ipaddress import ip_network

import pytest

from toolpolicy_sidecar import redirect


def test_the_rules_as_the_kernel_reads_them() -> None:
    text = redirect.rules(19003, 61903, [ip_network("10.96.0.1/32"), ip_network("fd00::/8")])
    assert text.splitlines()[3:12] == [
        "  chain outbound {",
        "    type nat hook output priority -100; policy accept;",
        "    meta skuid 61903 return",
        "    ip daddr 127.0.0.0/8 return",
        "    ip6 daddr ::1 return",
        "    tcp dport 53 return",
        "    ip daddr 10.96.0.1/32 return",
        "    ip6 daddr fd00::/8 return",
        "    meta l4proto tcp redirect to :19003",
    ]


def test_what_the_kernel_refuses_is_told(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path_factory.mktemp("bin")
    (folder / "nft").write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n", encoding="utf-8")
    (folder / "nft").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    assert redirect.run(["--port=19003", "--uid=61903"]) == 1
    assert "NET_ADMIN?): Operation not permitted" in capsys.readouterr().err


def test_what_is_wrong_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        redirect.run(["--port=x", "--uid=1"])
    assert ended.value.code == 2
    assert "--port" in capsys.readouterr().err

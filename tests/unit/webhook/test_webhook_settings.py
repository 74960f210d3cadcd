"""Flags of the webhook process: what is wrong ends it with 2 and one line that names the flag."""

import pytest

from toolpolicy_operator.webhook.settings import parse

NEEDED = ["--image=toolpolicy:1", "--operator=wss://operator:443"]


def test_all_have_defaults_but_two() -> None:
    settings = parse(NEEDED)
    assert (settings.port, settings.health_port, settings.log_level) == (8443, 9090, "info")
    assert settings.sidecar._replace(version="") == settings.sidecar.__class__(
        image="toolpolicy:1", operator="wss://operator:443"
    )


def test_the_environment_counts_and_flags_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLPOLICY_IMAGE", "from-environment")
    monkeypatch.setenv("TOOLPOLICY_PORT", "1")
    settings = parse(["--operator=wss://x", "--port=2"])
    assert (settings.sidecar.image, settings.port) == ("from-environment", 2)


def test_lists_are_split_at_commas() -> None:
    flags = ["--no-proxy= a.example, 10.0.0.0/8,", "--intercept-domains=svc", "--forward=false"]
    sidecar = parse([*NEEDED, *flags]).sidecar
    assert (sidecar.no_proxy, sidecar.domains) == (("a.example", "10.0.0.0/8"), ("svc",))
    assert not sidecar.forward


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("--port=https", "https"),
        ("--forward=maybe", "--forward"),
        ("--cold-start=Maybe", "--cold-start"),
        ("--log-level=loud", "--log-level"),
        ("--sidecar-resources=[]", "--sidecar-resources is no object of requests and limits"),
        ('--sidecar-resources={"request": {}}', "--sidecar-resources is no object of requests and limits"),
        ("--sidecar-resources={", "Expecting property name"),
        ("--max-body-bytes=lots", "lots"),
    ],
)
def test_what_is_wrong_is_named(flag: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([*NEEDED, flag])
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_without_an_image_there_is_nothing_to_inject(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([])
    assert "--image" in capsys.readouterr().err

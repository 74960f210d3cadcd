"""Whose sidecar it is."""

from pathlib import Path

import pytest

from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.process import _pod
from toolpolicy_sidecar.settings import parse


@pytest.mark.parametrize(
    ("labels", "flags", "agent"),
    [
        ('app="support"\nteam="a"\n', [], "support"),
        ('app="support"\napp.kubernetes.io/name="helper"\n', [], "helper"),
        ('app="support"\n', ["--agent", "mine"], "mine"),
        ("broken", [], None),
        ('team="a"\n', [], None),
        (None, [], None),
    ],
)
def test_an_agent_is_called_as_its_labels_call_it(
    tmp_path: Path, labels: str | None, flags: list[str], agent: str | None
) -> None:
    file = tmp_path / "labels"
    if labels is not None:
        file.write_text(labels, encoding="utf-8")
    given = ["--policies", "x", "--labels-file", str(file), "--service-account", "sa", *flags]
    assert _pod(parse(given)) == Pod(agent, "sa")

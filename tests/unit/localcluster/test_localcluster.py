"""The pure parts of the local cluster, and its care about processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import localcluster
from localcluster import binaries, versions
from localcluster.images import Image
from localcluster.kube import wait_until
from localcluster.processes import Processes, born

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_process_is_started_once_and_ended(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    processes.start("one", SLEEP)
    first = (tmp_path / "run" / "one.json").read_text(encoding="utf-8")
    processes.start("one", SLEEP)
    assert (tmp_path / "run" / "one.json").read_text(encoding="utf-8") == first
    assert processes.alive("one")
    processes.stop("one")
    assert not processes.alive("one")
    assert processes.names() == []


def test_one_that_does_not_hear_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcluster.processes.TERM_PATIENCE_S", 0.2)
    processes = Processes(tmp_path)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    deaf = f"import signal, time; {ignore}; print('deaf', flush=True); time.sleep(60)"
    processes.start("deaf", [sys.executable, "-c", deaf])
    wait_until(lambda: "deaf" in processes.tail("deaf"), seconds=10, what="it ignores TERM")
    processes.stop("deaf")
    assert not processes.alive("deaf")


def test_a_process_that_only_has_our_pid_is_left_alone(tmp_path: Path) -> None:
    """Pids are reused: the record of a dead process may name somebody else's."""
    with subprocess.Popen(SLEEP) as stranger:
        (tmp_path / "run").mkdir()
        record = f'{{"pid": {stranger.pid}, "born": {(born(stranger.pid) or 0) - 1}, "command": []}}'
        (tmp_path / "run" / "ours.json").write_text(record, encoding="utf-8")
        processes = Processes(tmp_path)
        assert not processes.alive("ours")
        processes.stop("ours")
        assert stranger.poll() is None
        stranger.send_signal(signal.SIGKILL)


def test_the_cache_key_changes_with_the_version() -> None:
    etcd = versions.BINARIES["etcd"]
    assert etcd.key == "etcd-v3.6.5"
    assert etcd._replace(version="v9").key != etcd.key


def test_ready_binaries_win_over_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "etcd").chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries.find("etcd") == tmp_path / "etcd"


def test_an_image_is_new_when_an_input_is(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x\n", encoding="utf-8")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("1", encoding="utf-8")
    (tmp_path / "other").write_text("1", encoding="utf-8")
    image = Image("x:dev", tmp_path, tmp_path / "Dockerfile", ("code",))
    before = image.digest()
    (tmp_path / "other").write_text("2", encoding="utf-8")
    assert image.digest() == before
    (tmp_path / "code" / "a.py").write_text("2", encoding="utf-8")
    assert image.digest() != before


def test_a_cluster_of_ones_own_is_used_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("kubectl",):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("TOOLPOLICY_KUBE_CONTEXT", "kind-mine")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setattr("localcluster.binaries.find", lambda name: tmp_path / name)
    kube = localcluster.up()
    assert (kube.context, kube.kubeconfig) == ("kind-mine", tmp_path / "config")


def test_waiting_says_what_for() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"after 0\.1 s not yet: rain \(last answer: 0\)"):
        wait_until(lambda: 0, seconds=0.1, what="rain", every_s=0.01)
    assert time.monotonic() - started < 5

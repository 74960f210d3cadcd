"""Ends the cluster and leaves nothing of it: processes, containers, mounts, chains, bridge, state."""

import json
import re
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from localcluster.kube import CommandFailed
from localcluster.node import BRIDGE, Node
from localcluster.progress import step
from localcluster.trouble import Trouble


def down(node: Node) -> None:
    """Safe to run twice, and on a cluster that was interrupted at any point."""
    if not node.folder.exists():
        return
    with step("ending the local cluster"):
        if node.processes.alive("kubelet") and node.processes.alive("kube-apiserver"):
            with suppress(CommandFailed):  # the containers are ended below all the same
                node.kube().kubectl(
                    "delete", "pods", "-A", "--all", "--grace-period=0", "--force", "--wait=false"
                )
        for name in ("coredns", "kube-proxy", "kubelet", "kube-scheduler"):
            node.processes.stop(name)
        node.stop()
        _containers(node)
        node.processes.stop("containerd")
        _mounts(node.folder)
        _iptables()
        _network()
        shutil.rmtree(node.folder, ignore_errors=True)
        if node.folder.exists():
            _mounts(node.folder)
            shutil.rmtree(node.folder)


def _containers(node: Node) -> None:
    if not node.processes.alive("containerd"):
        return
    for _ in range(50):
        try:
            tasks = node.ctr("tasks", "ls", "-q").split()
        except Trouble:
            return
        if not tasks:
            return
        for task in tasks:
            subprocess.run(
                ["ctr", "-a", str(node.socket), "-n", "k8s.io", "tasks", "rm", "-f", task],
                capture_output=True,
                check=False,
            )
        time.sleep(0.1)


def _mounts(folder: Path) -> None:
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "-l", point], capture_output=True, check=False)


def _network() -> None:
    """The bridge, and what is plugged into it: pods that ended with the node have left their network namespaces."""
    plugged = _ip_json("link", "show", "master", BRIDGE)
    names = {each["id"]: each["name"] for each in _ip_json("netns", "list") if "id" in each}
    for link in plugged:
        subprocess.run(["ip", "link", "del", link["ifname"]], capture_output=True, check=False)
        name = names.get(link.get("link_netnsid"))
        if name:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False)


def _ip_json(*arguments: str) -> list[dict[str, Any]]:
    """Nothing, when there is no such thing."""
    said = subprocess.run(["ip", "-json", *arguments], capture_output=True, text=True, check=False).stdout
    found: list[dict[str, Any]] = json.loads(said or "[]")
    return found


def _iptables() -> None:
    """kube-proxy's, the kubelet's and the port mapping's chains: rules that jump there first, then the chains."""
    for table in ("nat", "filter", "mangle"):
        saved = subprocess.run(
            ["iptables-save", "-t", table], capture_output=True, text=True, check=False
        ).stdout
        ours = re.compile(r"\b(KUBE-[A-Z0-9-]+|CNI-[A-Za-z0-9-]+)\b")
        kept = [line for line in saved.splitlines() if not ours.search(line)]
        if len(kept) != len(saved.splitlines()):
            subprocess.run(
                ["iptables-restore", "-T", table], input="\n".join(kept) + "\n", text=True, check=False
            )

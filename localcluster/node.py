"""One node made of processes: containerd, kubelet, kube-proxy and DNS beside the control plane."""

import subprocess
import time
from pathlib import Path

from localcluster import binaries, paths, versions
from localcluster.buildah import buildah, save
from localcluster.control_plane import Addresses, ControlPlane
from localcluster.kube import CommandFailed, Kube
from localcluster.progress import step
from localcluster.trouble import Trouble

CONTEXT = "toolpolicy-local"
BRIDGE = "tpnode"
NODE_NAME = "node1"
NODE_ADDRESS = "10.88.0.1"
POD_RANGE = "10.88.0.0/16"
DNS_ADDRESS = "10.96.0.10"
PAUSE_IMAGE = "localhost/pause:1"

ADDRESSES = Addresses(NODE_ADDRESS, 6443, 23790, 23800, 10257, "10.96.0.0/16", "10.96.0.1")

PAUSE_SOURCE = """
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void down(int s) { exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, down); signal(SIGTERM, down); signal(SIGCHLD, reap); for (;;) pause(); }
"""

DNS_MANIFEST = f"""
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {DNS_ADDRESS}
  ports:
  - {{name: dns, port: 53, targetPort: 1053, protocol: UDP}}
  - {{name: dns-tcp, port: 53, targetPort: 1053, protocol: TCP}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns-host, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
ports:
- {{name: dns, port: 1053, protocol: UDP}}
- {{name: dns-tcp, port: 1053, protocol: TCP}}
endpoints: [{{addresses: ["{NODE_ADDRESS}"]}}]
"""


class Node(ControlPlane):
    """The whole cluster in one state folder."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(folder or paths.state(), ADDRESSES, CONTEXT)
        self.socket = self.folder / "containerd" / "containerd.sock"

    def healthy(self) -> bool:
        names = (*(n for n in versions.NODE if n != "kubectl"), "containerd")
        if not all(self.processes.alive(name) for name in names):
            return False
        try:
            return self._ready()
        except CommandFailed:
            return False

    def up(self) -> Kube:
        """Starts what is missing of it. Ready when this returns."""
        with step("starting the control plane"):
            self._bridge()
            kube = self.start("--allocate-node-cidrs=true", f"--cluster-cidr={POD_RANGE}")
        with step("starting the node"):
            self._containerd()
            self._node_processes(kube)
            ends = time.monotonic() + 90
            while not self._ready():
                if time.monotonic() > ends:
                    raise Trouble(
                        f"the node is not Ready; the kubelet's last words:\n{self.processes.tail('kubelet')}"
                    )
                time.sleep(0.2)
        return kube

    def ctr(self, *arguments: str) -> str:
        command = ["ctr", "-a", str(self.socket), "-n", "k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Trouble(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def _ready(self) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        what = ("get", "node", NODE_NAME, "--ignore-not-found", "-o", f"jsonpath={path}")
        return self.kube().kubectl(*what) == "True"

    def _bridge(self) -> None:
        """No dummy device in every kernel: a bridge carries the node's address and the pods."""
        known = subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True, check=False)
        if known.returncode:
            for command in (
                ["ip", "link", "add", BRIDGE, "type", "bridge"],
                ["ip", "addr", "add", f"{NODE_ADDRESS}/16", "dev", BRIDGE],
                ["ip", "link", "set", BRIDGE, "up"],
            ):
                subprocess.run(command, check=True, capture_output=True)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _containerd(self) -> None:
        cni = self.folder / "cni"
        cni.mkdir(exist_ok=True)
        (self.folder / "containerd").mkdir(exist_ok=True)
        (cni / "10-bridge.conflist").write_text(_cni_config(cni))
        config = self.folder / "containerd.toml"
        config.write_text(_containerd_config(self.folder, self.socket, cni))
        self.processes.start("containerd", ["containerd", "-c", str(config)])
        ends = time.monotonic() + 30
        while subprocess.run(
            ["ctr", "-a", str(self.socket), "version"], capture_output=True, check=False
        ).returncode:
            if time.monotonic() > ends or not self.processes.alive("containerd"):
                raise Trouble(
                    f"containerd does not answer; its last words:\n{self.processes.tail('containerd')}"
                )
            time.sleep(0.1)
        if PAUSE_IMAGE not in self.ctr("images", "ls", "-q").split():
            self.ctr("images", "import", str(_pause_archive()))

    def _node_processes(self, kube: Kube) -> None:
        found = binaries.ensure(versions.NODE)
        for user in ("kube-scheduler", "kube-proxy"):
            self.pki.issue(user, f"/CN=system:{user}")
        self.pki.issue(
            "kubelet",
            f"/O=system:nodes/CN=system:node:{NODE_NAME}",
            [f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}", "IP:127.0.0.1"],
        )
        scheduler, proxy, kubelet = (
            self.config_of(user) for user in ("kube-scheduler", "kube-proxy", "kubelet")
        )
        resolv = self.folder / "resolv.conf"
        resolv.write_text("nameserver 127.0.0.1\n")
        settings = self.folder / "kubelet.yaml"
        settings.write_text(self._kubelet_config(resolv))
        self.processes.start(
            "kube-scheduler",
            [
                str(found["kube-scheduler"]),
                f"--kubeconfig={scheduler}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ],
        )
        self.processes.start(
            "kubelet",
            [
                str(found["kubelet"]),
                f"--config={settings}",
                f"--kubeconfig={kubelet}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={NODE_ADDRESS}",
                f"--root-dir={self.folder / 'kubelet'}",
            ],
        )
        self.processes.start(
            "kube-proxy",
            [
                str(found["kube-proxy"]),
                f"--kubeconfig={proxy}",
                "--proxy-mode=iptables",
                f"--cluster-cidr={POD_RANGE}",
                f"--hostname-override={NODE_NAME}",
            ],
        )
        corefile = self.folder / "Corefile"
        corefile.write_text(
            f".:1053 {{\n  bind {NODE_ADDRESS}\n  errors\n  cache 5\n"
            f"  kubernetes cluster.local {{\n    kubeconfig {self.kubeconfig} {CONTEXT}\n    ttl 5\n  }}\n}}\n"
        )
        self.processes.start("coredns", [str(found["coredns"]), "-conf", str(corefile)])
        kube.apply(DNS_MANIFEST)

    def _kubelet_config(self, resolv: Path) -> str:
        pki = self.pki
        return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {{x509: {{clientCAFile: {pki.ca}}}, anonymous: {{enabled: false}}, webhook: {{enabled: true}}}}
authorization: {{mode: Webhook}}
tlsCertFile: {pki.certificate("kubelet")}
tlsPrivateKeyFile: {pki.key("kubelet")}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
clusterDNS: [{DNS_ADDRESS}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://{self.socket}
resolvConf: {resolv}
evictionHard: {{nodefs.available: "1%", imagefs.available: "1%"}}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
enforceNodeAllocatable: []
"""


def _cni_config(cni: Path) -> str:
    return (
        '{"cniVersion":"0.4.0","name":"pods","plugins":[{"type":"bridge","bridge":"' + BRIDGE + '",'
        '"isGateway":true,"hairpinMode":true,"ipam":{"type":"host-local","dataDir":"'
        + str(cni / "ipam")
        + '",'
        '"ranges":[[{"subnet":"'
        + POD_RANGE
        + '","rangeStart":"10.88.1.1"}]],"routes":[{"dst":"0.0.0.0/0"}]}},'
        '{"type":"portmap","capabilities":{"portMappings":true}}]}\n'
    )


def _containerd_config(folder: Path, socket: Path, cni: Path) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower the score and every sandbox fails.
    return f"""version = 2
root = "{folder}/containerd/root"
state = "{folder}/containerd/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _pause_archive() -> Path:
    """The image of the process that holds a pod's namespaces, compiled here: no registry is needed."""
    archive = paths.cache() / "images" / "pause.tar"
    if not archive.exists():
        folder = paths.cache() / "pause"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pause.c").write_text(PAUSE_SOURCE)
        subprocess.run(
            ["gcc", "-static", "-O2", "-o", str(folder / "pause"), str(folder / "pause.c")], check=True
        )
        (folder / "Dockerfile").write_text('FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
        buildah("bud", "--isolation", "chroot", "-q", "-t", PAUSE_IMAGE, str(folder))
        save(PAUSE_IMAGE, archive)
    return archive

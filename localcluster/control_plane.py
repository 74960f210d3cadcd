"""etcd, API server and controller manager: a real API without a node."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from localcluster import binaries, versions
from localcluster.kube import CommandFailed, Kube
from localcluster.pki import Pki, kubeconfig
from localcluster.ports import free_ports
from localcluster.processes import Processes
from localcluster.trouble import Trouble

READY_WITHIN_S = 60.0


class Addresses(NamedTuple):
    """Where the control plane listens. `service_range` must contain `service`, the API server's ClusterIP."""

    host: str
    api_port: int
    etcd_port: int
    etcd_peer_port: int
    controller_port: int
    service_range: str
    service: str


class ControlPlane:
    def __init__(self, folder: Path, addresses: Addresses, context: str) -> None:
        self.folder = folder
        self.addresses = addresses
        self.context = context
        self.server = f"https://{addresses.host}:{addresses.api_port}"
        self.processes = Processes(folder)
        self.kubeconfig = folder / "admin.conf"

    def kube(self) -> Kube:
        return Kube(self.kubeconfig, self.context, str(binaries.find("kubectl")), str(binaries.find("helm")))

    def config_of(self, user: str) -> Path:
        return kubeconfig(
            self.folder / f"{user}.conf", context=self.context, server=self.server, pki=self.pki, user=user
        )

    def start(self, *controllers: str) -> Kube:
        """Ready when this returns. `controllers` are further flags of the controller manager."""
        paths = binaries.ensure(versions.CONTROL_PLANE)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pki = Pki(self.folder / "pki")
        private, public = self.pki.service_account_key()
        host, ports = self.addresses.host, self.addresses
        names = ["IP:127.0.0.1", f"IP:{host}", f"IP:{ports.service}", "DNS:localhost"]
        names += [f"DNS:kubernetes{suffix}" for suffix in ("", ".default", ".default.svc")]
        self.pki.issue("apiserver", "/CN=kube-apiserver", names)
        self.pki.issue("admin", "/O=system:masters/CN=admin")
        self.pki.issue("kubelet-client", "/O=system:masters/CN=apiserver-kubelet-client")
        self.pki.issue("kube-controller-manager", "/CN=system:kube-controller-manager")
        self.config_of("admin")

        etcd = f"http://127.0.0.1:{ports.etcd_port}"
        self.processes.start(
            "etcd",
            [
                str(paths["etcd"]),
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{ports.etcd_peer_port}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
        pki = self.pki
        self.processes.start(
            "kube-apiserver",
            [
                str(paths["kube-apiserver"]),
                f"--etcd-servers={etcd}",
                f"--bind-address={'127.0.0.1' if host == '127.0.0.1' else '0.0.0.0'}",
                f"--advertise-address={'10.255.255.254' if host == '127.0.0.1' else host}",
                f"--secure-port={ports.api_port}",
                f"--service-cluster-ip-range={ports.service_range}",
                f"--tls-cert-file={pki.certificate('apiserver')}",
                f"--tls-private-key-file={pki.key('apiserver')}",
                f"--client-ca-file={pki.ca}",
                f"--kubelet-client-certificate={pki.certificate('kubelet-client')}",
                f"--kubelet-client-key={pki.key('kubelet-client')}",
                f"--kubelet-certificate-authority={pki.ca}",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={public}",
                f"--service-account-signing-key-file={private}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
            ],
        )
        self._wait()
        self.processes.start(
            "kube-controller-manager",
            [
                str(paths["kube-controller-manager"]),
                f"--kubeconfig={self.config_of('kube-controller-manager')}",
                f"--service-account-private-key-file={private}",
                f"--root-ca-file={pki.ca}",
                f"--cluster-signing-cert-file={pki.ca}",
                f"--cluster-signing-key-file={pki.key('ca')}",
                f"--secure-port={ports.controller_port}",
                "--bind-address=127.0.0.1",
                "--use-service-account-credentials",
                "--leader-elect=false",
                *controllers,
            ],
        )
        return self.kube()

    def _wait(self) -> None:
        kube = self.kube()
        ends = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                kube.kubectl("get", "--raw", "/readyz")
            except CommandFailed as failed:
                last = str(failed)
            else:
                return
            for name in ("etcd", "kube-apiserver"):
                if not self.processes.alive(name):
                    raise Trouble(f"{name} has ended; the end of its log:\n{self.processes.tail(name)}")
            if time.monotonic() > ends:
                raise Trouble(f"the API server is not ready after {READY_WITHIN_S:g} s: {last}")
            time.sleep(0.1)

    def stop(self) -> None:
        for name in ("kube-controller-manager", "kube-apiserver", "etcd"):
            self.processes.stop(name)


@contextmanager
def control_plane(folder: Path | None = None) -> Iterator[Kube]:
    """A throw-away control plane on free loopback ports; gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="toolpolicy-cp-") as made:
        api, etcd, peer, controller = free_ports(4)
        addresses = Addresses("127.0.0.1", api, etcd, peer, controller, "10.97.0.0/16", "10.97.0.1")
        plane = ControlPlane(folder or Path(made), addresses, "toolpolicy-control-plane")
        try:
            yield plane.start()
        finally:
            plane.stop()

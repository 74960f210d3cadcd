"""`python3 -m localcluster VERB`: build, up, down, status, kubeconfig, install, logs, kubectl, helm."""

import argparse
import os
import sys
import time

import localcluster
from localcluster import binaries, product, versions
from localcluster.node import Node
from localcluster.progress import note
from localcluster.trouble import Trouble

VERBS = {
    "build": "builds Kubernetes, etcd, helm and CoreDNS into the cache",
    "up": "starts the cluster, or says that it runs",
    "down": "ends it and leaves nothing behind",
    "status": "says whether it runs; exit 1 when not",
    "kubeconfig": "prints the path of its kubeconfig",
    "install": "builds the images, loads them and installs the chart from this working tree",
    "logs": "prints the end of a process's log: logs kubelet",
    "kubectl": "passes everything on to kubectl",
    "helm": "passes everything on to helm",
}


def main() -> int:
    width = max(map(len, VERBS))
    epilog = "\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())
    parser = argparse.ArgumentParser(
        prog="localcluster",
        description=localcluster.__doc__,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…")
    options = parser.parse_args()
    try:
        return _do(options.verb, options.rest)
    except Trouble as trouble:
        print(f"localcluster: {trouble}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlocalcluster: interrupted; `up` or `down` will clean up", file=sys.stderr)
        return 130


def _do(verb: str, rest: list[str]) -> int:
    started = time.monotonic()
    match verb:
        case "build":
            binaries.ensure((*versions.NODE, *versions.CLIENTS))
        case "up":
            localcluster.up()
            note(
                f"up after {time.monotonic() - started:.1f} s; try: python3 -m localcluster kubectl get pods -A"
            )
        case "down":
            localcluster.down()
        case "status":
            running = localcluster.is_up()
            print("running" if running else "not running")
            return 0 if running else 1
        case "kubeconfig":
            print(localcluster.up().kubeconfig)
        case "install":
            kube = localcluster.up()
            product.install(kube, product.load_images())
        case "logs":
            print(Node().processes.tail(rest[0] if rest else "kubelet", 20_000))
        case "kubectl" | "helm":
            kube = localcluster.up()
            flag, path = (
                ("--context", kube.kubectl_path) if verb == "kubectl" else ("--kube-context", kube.helm_path)
            )
            sys.stdout.flush()
            os.execv(  # noqa: S606 -- passing on is the point
                path, [verb, "--kubeconfig", str(kube.kubeconfig), flag, kube.context, *rest]
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())

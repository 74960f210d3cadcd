"""`toolpolicy redirect`: tells the kernel to lead the pod's outbound TCP to the sidecar. In an init container of its
own, which is the only one that needs NET_ADMIN; the rules stay with the pod's network."""

import argparse
import ipaddress
import os
import subprocess
import sys
from collections.abc import Iterable

DNS_PORT = 53


def run(argv: list[str]) -> int:
    """Exit 0 when the rules are in force, 1 when the kernel refuses them, 2 when the command line is wrong."""
    parser = argparse.ArgumentParser(prog="toolpolicy redirect", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="the sidecar's --transparent-port")
    parser.add_argument(
        "--uid", type=int, required=True, help="of the sidecar, whose connections are let alone"
    )
    parser.add_argument(
        "--past",
        default="",
        help="addresses and networks that are let alone, with commas between; what is no address is ignored",
    )
    given = parser.parse_args(argv)
    past = [*_networks(given.past.split(",")), *_networks([os.environ.get("KUBERNETES_SERVICE_HOST", "")])]
    text = rules(given.port, given.uid, past)
    done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True, check=False)  # noqa: S607 -- of the image
    if done.returncode:
        print(  # noqa: T201 -- a command line tool prints
            f"toolpolicy redirect: the kernel refused the rules (NET_ADMIN?): {done.stderr.strip()}",
            file=sys.stderr,
        )
        return 1
    print(f"outbound TCP leads to port {given.port}, but for user {given.uid}")  # noqa: T201 -- the same
    return 0


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def rules(port: int, uid: int, past: Iterable[Network]) -> str:
    """For `nft -f`: all or nothing, and the same when done twice. DNS over TCP is let alone, as it is over UDP."""
    excepted = "".join(f"    {_family(network)} daddr {network} return\n" for network in past)
    return f"""\
table inet toolpolicy {{}}
delete table inet toolpolicy
table inet toolpolicy {{
  chain outbound {{
    type nat hook output priority -100; policy accept;
    meta skuid {uid} return
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    tcp dport {DNS_PORT} return
{excepted}    meta l4proto tcp redirect to :{port}
  }}
}}
"""


def _family(network: Network) -> str:
    return "ip" if network.version == 4 else "ip6"


def _networks(texts: Iterable[str]) -> list[Network]:
    """NO_PROXY's entries may be names: these are not known here."""
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text.strip(), strict=False))
        except ValueError:
            continue
    return found

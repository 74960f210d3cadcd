"""An outage as whoever is on call sees it: the demo's tool hangs for some minutes, then works again.

    python -m examples.outage --picture docs/pictures/on-call.svg   # as root, like `make demo`; a quarter of an hour

A real Prometheus, with the chart's own rules, scrapes sidecars and operator on the local cluster; what is drawn are the
queries of the on-call dashboard. `--faster 30` makes the windows of rules and queries 30 times shorter, and the outage.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import localcluster
from examples.demo.__main__ import deploy, fault, say
from examples.outage.picture import Moments, draw, panels
from localcluster import product
from localcluster.kube import CommandFailed, Kube, wait_until
from localcluster.prometheus import RULES, Prometheus, faster, firing, pods, running
from localcluster.trouble import Trouble

WELL_S, BROKEN_S, AFTER_S = 180, 300, 90
"""How long the tool works before, hangs, and is watched after the last alert has resolved."""
WINDOW_S = 300
"""Of the rules."""
GRACE_S = 60


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", type=Path, required=True, metavar="FILE.svg")
    parser.add_argument("--faster", type=int, default=1, metavar="TIMES")
    options = parser.parse_args()
    kube = localcluster.up()
    product.install(kube, product.load_images())
    deploy(kube)
    rules = faster(RULES.read_text(encoding="utf-8"), options.faster)
    with (
        tempfile.TemporaryDirectory(prefix="outage-") as folder,
        running(Path(folder), [pods(kube)], rules=rules) as prometheus,
    ):
        moments = outage(kube, prometheus, options.faster)
        draw(options.picture, panels(prometheus, moments, options.faster), moments, options.faster)
    say(f"drawn: {options.picture}")


def outage(kube: Kube, prometheus: Prometheus, factor: int) -> Moments:
    patience_s = WINDOW_S / factor + GRACE_S
    wait_until(prometheus.quiet, seconds=patience_s, what="all is scraped, and well")
    began = time.time()
    time.sleep(WELL_S / factor)
    fault(kube, "hang")
    broken = time.time()
    wait_until(lambda: firing(prometheus, began), seconds=patience_s, what="an alert fires", every_s=1)
    (alert,) = firing(prometheus, began)
    say(f"{time.time() - broken:.0f} s after the tool began to hang: {alert.labels['alertname']}")
    time.sleep(max(0.0, broken + BROKEN_S / factor - time.time()))
    fault(kube, "none")
    mended = time.time()
    wait_until(
        lambda: not prometheus.query('ALERTS{alertstate="firing"}'),
        seconds=patience_s,
        what="the alert resolves",
        every_s=1,
    )
    resolved = time.time()
    say(f"{resolved - mended:.0f} s after it worked again: resolved")
    time.sleep(AFTER_S / factor)
    alerts = sorted({each.labels["alertname"] for each in firing(prometheus, began)})
    say(f"all that fired: {', '.join(alerts)}")
    return Moments(began, broken, alert.points[0][0], mended, resolved, time.time())


if __name__ == "__main__":
    try:
        main()
    except (Trouble, CommandFailed, TimeoutError) as failed:
        sys.exit(f"\nThe outage stops here: {failed}\nEnd what is running: make cluster-down")

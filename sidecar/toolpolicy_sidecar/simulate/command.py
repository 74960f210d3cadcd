"""`toolpolicy simulate POLICY.yaml --faults SCENARIO.yaml`."""

import argparse
import sys
import time
from pathlib import Path

import msgspec

from toolpolicy_sidecar.config.files import BadPolicies, compile_files, content
from toolpolicy_sidecar.simulate.plot import NoPlot, plot, refuse_impossible
from toolpolicy_sidecar.simulate.report import report
from toolpolicy_sidecar.simulate.scenario import BadScenario, read
from toolpolicy_sidecar.simulate.simulation import simulate
from toolpolicy_sidecar.simulate.table import text


def run(argv: list[str]) -> int:
    """Exit 0: the report is on stdout. 2: the policy, the scenario or the plot's file is wrong. 130: interrupted."""
    parser = argparse.ArgumentParser(
        prog="toolpolicy simulate",
        description="What a policy would do in an incident: the sidecar's own code in virtual time.",
    )
    parser.add_argument("policies", type=Path, metavar="POLICY.yaml", help="a file or folder of ToolPolicies")
    parser.add_argument(
        "--faults", type=Path, required=True, metavar="SCENARIO.yaml", help="load, and what goes wrong when"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="instead of the scenario's own")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, too: .svg or .png")
    parser.add_argument("--json", action="store_true", help="for machines, in place of the table")
    given = parser.parse_args(argv)
    try:
        if given.plot is not None:
            refuse_impossible(given.plot)
        policies, scenario = compile_files(content(given.policies)), read(given.faults)
        if given.seed is not None:
            scenario = scenario.model_copy(update={"seed": given.seed})
        began = time.perf_counter()
        observed = simulate(policies, scenario)
        took_s = time.perf_counter() - began
        if given.plot is not None:
            plot(given.plot, observed, scenario, title=f"{given.policies.name} in {given.faults.name}")
    except (BadPolicies, BadScenario, NoPlot) as wrong:
        print(wrong, file=sys.stderr)  # noqa: T201 -- a command line tool prints
        return 2
    except KeyboardInterrupt:
        return 130
    found = report(observed, seed=scenario.seed, pods=scenario.pods)
    print(msgspec.json.encode(found).decode() if given.json else text(found))  # noqa: T201 -- the same
    calls = sum(sum(tool.calls) for tool in observed)
    speed = (
        f"{calls:,} calls of {scenario.duration} simulated in {took_s:.1f} s: {calls / took_s:,.0f} a second"
    )
    print(speed, file=sys.stderr)  # noqa: T201 -- the same; not part of the report, which is equal in every run
    return 0

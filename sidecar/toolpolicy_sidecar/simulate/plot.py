"""A simulation as a picture: what became of the calls, what the tool's server got, and which circuits were open."""

import math
from array import array
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from toolpolicy_sidecar.simulate.observed import Switch, ToolObserved
from toolpolicy_sidecar.simulate.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BINS = 360
_MINUTES_FROM_S = 300
_FATES = (("answered", "#56B4E9"), ("failed", "#D55E00"), ("refused", "#BBBBBB"))
"""Colours that everybody can tell apart (Okabe and Ito, 2008)."""


class NoPlot(ValueError):  # noqa: N818 -- a verdict on input
    """The file cannot be drawn, and why."""


def refuse_impossible(path: Path) -> None:
    """Before a long simulation, not after it. Raises NoPlot."""
    if path.suffix not in {".svg", ".png"}:
        raise NoPlot(f"--plot {path}: the name must end with .svg or .png")
    if not path.parent.is_dir():
        raise NoPlot(f"--plot {path}: there is no folder {path.parent}")
    if find_spec("matplotlib") is None:
        raise NoPlot("--plot needs matplotlib, which is not installed; pip install 'toolpolicy[simulate]'")


def plot(path: Path, observed: Sequence[ToolObserved], scenario: Scenario, *, title: str) -> None:
    """Raises NoPlot when the file cannot be written."""
    from matplotlib import rc_context  # noqa: PLC0415 -- an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415 -- the same

    # Text stays text, and equal simulations give equal files.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "toolpolicy", "font.size": 9}):
        figure = Figure(figsize=(11, 0.8 + 3.6 * len(observed)), layout="constrained")
        grid = figure.add_gridspec(2 * len(observed), 1, height_ratios=[3, 1] * len(observed))
        for index, tool in enumerate(observed):
            traffic = figure.add_subplot(grid[2 * index])
            circuits = figure.add_subplot(grid[2 * index + 1], sharex=traffic)
            _traffic(traffic, tool, scenario)
            _circuits(circuits, tool, scenario)
            _phases(traffic, circuits, tool)
        pods = "1 pod" if scenario.pods == 1 else f"{scenario.pods} pods"
        figure.suptitle(f"{title}: {pods}, seed {scenario.seed}")
        try:
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise NoPlot(f"--plot {path}: {error.strerror}") from None


def _traffic(axes: "Axes", tool: ToolObserved, scenario: Scenario) -> None:
    bin_s = math.ceil(len(tool.calls) / _MOST_BINS)
    edges = [_x(second, scenario) for second in range(0, len(tool.calls), bin_s)]
    edges.append(_x(scenario.duration_s, scenario))
    fates = [_rates(values, bin_s) for values in (tool.answered, tool.failed, tool.refused)]
    axes.stackplot(
        edges,
        [[*rates, rates[-1]] for rates in fates],
        labels=[f"calls {name}" for name, _ in _FATES],
        colors=[colour for _, colour in _FATES],
        step="post",
        linewidth=0,
    )
    attempts = _rates(tool.attempts, bin_s)
    axes.stairs(attempts, edges, color="black", linewidth=0.9, label="attempts at the tool", baseline=None)
    axes.set_xlim(0, edges[-1])
    axes.set_ylim(bottom=0)
    mean = "" if bin_s == 1 else f"\n(means of {bin_s} s)"
    axes.set_ylabel(f"per second{mean}")
    axes.tick_params(labelbottom=False)
    axes.set_title(tool.name, loc="left", fontweight="bold", pad=18)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.08), ncols=4, frameon=False, borderaxespad=0)


def _circuits(axes: "Axes", tool: ToolObserved, scenario: Scenario) -> None:
    times, counts = _not_closed(tool.switches, scenario.duration_s)
    axes.fill_between(
        [_x(time, scenario) for time in times], counts, step="post", color="#333333", linewidth=0
    )
    axes.set_ylim(0, scenario.pods)
    axes.set_yticks([0, scenario.pods])
    axes.set_ylabel("pods whose\ncircuit is\nnot closed")
    axes.set_xlabel("minutes" if scenario.duration_s >= _MINUTES_FROM_S else "seconds")


def _phases(traffic: "Axes", circuits: "Axes", tool: ToolObserved) -> None:
    unit_s = traffic.get_xlim()[1] / max(span.end_s for span in tool.spans)
    for span in tool.spans:
        if span.fault is None:
            continue
        for axes in (traffic, circuits):
            for edge in (span.start_s, span.end_s):
                axes.axvline(edge * unit_s, color="black", linewidth=0.7, linestyle=(0, (2, 2)))
        middle = (span.start_s + span.end_s) / 2 * unit_s
        traffic.annotate(
            span.fault, (middle, 1.0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
            ha="center", va="bottom", annotation_clip=False,
        )  # fmt: skip


def _rates(values: "array[int]", bin_s: int) -> list[float]:
    """Means per second. The last bin may be shorter."""
    starts = [*range(0, len(values), bin_s), len(values)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(starts)]


def _not_closed(switches: Sequence[Switch], duration_s: float) -> tuple[list[float], list[int]]:
    """Exact, however short: not by the bins of the traffic."""
    away: set[int] = set()
    times, counts = [0.0], [0]
    for switch in switches:
        (away.discard if switch.after == "Closed" else away.add)(switch.pod)
        times.append(min(switch.at_s, duration_s))
        counts.append(len(away))
    return [*times, duration_s], [*counts, counts[-1]]


def _x(seconds: float, scenario: Scenario) -> float:
    return seconds / 60 if scenario.duration_s >= _MINUTES_FROM_S else seconds

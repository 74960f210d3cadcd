"""What the on-call dashboard showed during an outage, as one picture."""

import json
import math
import re
from pathlib import Path
from typing import NamedTuple

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from localcluster.paths import ROOT
from localcluster.prometheus import Prometheus, Series, faster

DASHBOARD = ROOT / "charts" / "toolpolicy" / "files" / "dashboards" / "on-call.json"
DRAWN = {
    "Alerts": "",
    "Circuits: the worst pod of each tool": "",
    "Calls that fail": "share",
    "Why": "calls/s",
    "Duration, p95": "s",
    "Failed calls, by policy and pod": "calls/s",
}
"""Panels of the dashboard, by title, with the unit of what they draw as lines."""
POINTS = 240
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Colours that everybody can tell apart (Okabe and Ito, 2008)."""
_STATES = {1: ("half-open", "#F0E442"), 2: ("open", "#D55E00"), 3: ("disabled", "#0072B2")}


class Moments(NamedTuple):
    """Unix seconds: it begins; the tool breaks; its alert fires; the tool works again; the alert resolves; it ends."""

    began: float
    broken: float
    fired: float
    mended: float
    resolved: float
    ended: float


class Panel(NamedTuple):
    title: str
    unit: str
    series: list[tuple[str, Series]]
    """With their names in the legend."""


def panels(prometheus: Prometheus, moments: Moments, factor: int) -> list[Panel]:
    """The dashboard's own queries, over the whole outage, of all policies and tools."""
    shown = {panel["title"]: panel for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]}
    step_s = max(1, math.ceil((moments.ended - moments.began) / POINTS))
    found = []
    for title, unit in DRAWN.items():
        (target,) = shown[title]["targets"]
        expr = faster(target["expr"].replace("$policy", ".*").replace("$tool", ".*"), factor)
        series = prometheus.range(expr, moments.began, moments.ended, step_s)
        legend = target.get("legendFormat") or "{{alertname}} {{tool}}"
        found.append(Panel(title, unit, [(_named(legend, each.labels), each) for each in series]))
    return found


def _named(legend: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda label: labels.get(label[1], ""), legend).strip()


def draw(path: Path, shown: list[Panel], moments: Moments, factor: int) -> None:
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "toolpolicy", "font.size": 9}):
        figure = Figure(figsize=(11, 11), layout="constrained")
        heights = [len(panel.series) * 0.35 + 0.4 if not panel.unit else 2.0 for panel in shown]
        grid = figure.add_gridspec(len(shown), 1, height_ratios=heights)
        for row, panel in enumerate(shown):
            axes = figure.add_subplot(grid[row])
            if panel.unit:
                _lines(axes, panel, moments)
            else:
                _bars(axes, panel, moments)
            axes.set_xlim(0, _minutes(moments.ended, moments))
            axes.axvspan(
                _minutes(moments.fired, moments),
                _minutes(moments.resolved, moments),
                color="#D55E00",
                alpha=0.07,
            )
            axes.tick_params(labelbottom=row == len(shown) - 1)
            axes.set_title(panel.title, loc="left", fontweight="bold")
            axes.spines[["top", "right"]].set_visible(False)
            for at in (moments.broken, moments.mended):
                axes.axvline(_minutes(at, moments), color="black", linewidth=0.8, linestyle="--")
            if row == 0:
                _said(axes, moments)
        quick = "" if factor == 1 else f" (rules and queries {factor} times faster than the chart's)"
        axes.set_xlabel(f"minutes{quick}")
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _minutes(at: float, moments: Moments) -> float:
    return (at - moments.began) / 60


def _said(axes: Axes, moments: Moments) -> None:
    for at, words in ((moments.broken, "the tool hangs"), (moments.mended, "it works again")):
        axes.annotate(
            words, (_minutes(at, moments), 1), (3, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", va="bottom",
        )  # fmt: skip


def _lines(axes: Axes, panel: Panel, moments: Moments) -> None:
    for index, (name, series) in enumerate(panel.series):
        x = [_minutes(at, moments) for at, _ in series.points]
        y = [value for _, value in series.points]
        axes.plot(x, y, color=_COLOURS[index % len(_COLOURS)], linewidth=1.4, label=name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel(panel.unit)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)


def _bars(axes: Axes, panel: Panel, moments: Moments) -> None:
    """One row a series: nothing where all is well."""
    for row, (_, series) in enumerate(panel.series):
        pause_s = min(
            (b[0] - a[0] for a, b in zip(series.points, series.points[1:], strict=False)), default=1
        )
        for at, value in series.points:
            colour = "#D55E00" if panel.title == "Alerts" else _STATES.get(int(value), ("", ""))[1]
            if colour:
                axes.barh(
                    row, pause_s / 60, left=_minutes(at, moments), height=0.7, color=colour, linewidth=0
                )
    axes.set_yticks(range(len(panel.series)), [name for name, _ in panel.series], fontsize=8)
    axes.set_ylim(len(panel.series) - 0.4, -0.6)
    if panel.title != "Alerts":
        for state, (name, colour) in _STATES.items():
            if any(value == state for _, series in panel.series for _, value in series.points):
                axes.barh(0, 0, color=colour, label=name)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)

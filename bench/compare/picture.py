"""The comparison as a picture."""

from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from bench.compare.result import Result

_COLOURS = {"nginx, plain": "#BBBBBB", "Envoy + Lua": "#56B4E9", "toolpolicy": "#D55E00"}
"""Colours that everybody can tell apart (Okabe and Ito, 2008)."""
_PANELS = (
    ("calls per second on one core", "per_s"),
    ("CPU per call, µs", "cpu_us"),
    ("added at 200 calls/s, median, µs", "p50_us"),
    ("added at 200 calls/s, p99, µs", "p99_us"),
    ("memory after load, MiB", "rss_mib"),
    ("start to first answer, ms", "start_ms"),
)


def draw(path: Path, results: list[Result]) -> None:
    cases = list(dict.fromkeys(result.case for result in results))
    names = [name for name in _COLOURS if any(result.name == name for result in results)]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "toolpolicy", "font.size": 9}):
        figure = Figure(figsize=(11, 5.5), layout="constrained")
        for place, (title, field) in enumerate(_PANELS):
            axes = figure.add_subplot(2, 3, place + 1)
            for row, name in enumerate(names):
                values = {r.case: getattr(r, field) for r in results if r.name == name}
                at = [index + row / (len(names) + 1) for index in range(len(cases))]
                heights = [values.get(case) or 0 for case in cases]
                bars = axes.barh(at, heights, 1 / (len(names) + 1), color=_COLOURS[name], label=name)
                axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=7)
            axes.set_yticks([index + 0.25 for index in range(len(cases))], cases if place % 3 == 0 else [])
            axes.invert_yaxis()
            axes.margins(x=0.15)
            axes.set_title(title, loc="left", fontweight="bold")
            axes.spines[["top", "right"]].set_visible(False)
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names)
        )
        figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)

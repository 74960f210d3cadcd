"""What was found, and how it is printed."""

from typing import NamedTuple


class Result(NamedTuple):
    """Times are the median and the 99th percentile at a constant rate: what was added to the direct way, or for
    `direct` the way itself."""

    case: str
    name: str
    per_s: float
    p50_us: float
    p99_us: float
    cpu_us: float | None = None
    rss_mib: float | None = None
    start_ms: float | None = None


COLUMNS = ("req/s", "p50 µs", "p99 µs", "CPU µs", "RSS MiB", "start ms")


def table(results: list[Result]) -> str:
    """One block for each case. Beside Envoy's, how many times its calls per second we have."""
    lines = []
    for case in dict.fromkeys(result.case for result in results):
        lines += ["", f"{case:24}" + "".join(f"{column:>10}" for column in COLUMNS)]
        lines += [_row(result) for result in results if result.case == case]
    lines += ["", "p50, p99: at 200 calls a second, direct as it is, for the others what they add to it.", ""]
    return "\n".join(lines) + ratios(results)


def ratios(results: list[Result]) -> str:
    found = {(result.case, result.name): result.per_s for result in results}
    shown = [
        f"{case}: {ours / theirs:.2f}"
        for (case, name), ours in found.items()
        if name == "toolpolicy" and (theirs := found.get((case, "Envoy + Lua")))
    ]
    return f"calls per second, Envoy = 1: {'; '.join(shown)}" if shown else ""


def _row(result: Result) -> str:
    figures = (result.per_s, result.p50_us, result.p99_us, result.cpu_us, result.rss_mib, result.start_ms)
    return f"  {result.name:22}" + "".join(f"{'':10}" if f is None else f"{f:10,.0f}" for f in figures)

"""Pictures of what was measured: time over size, and ratios per workload."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Patch

from suite.engines import CLASSES, OWN
from suite.report import engines_of, entries, exact_enough

Record = dict[str, Any]
COLORS = {name: f"C{number}" for number, name in enumerate(CLASSES)}
AXES = {
    "scaling-square": ("M = N", "rows", 2),
    "scaling-columns": ("N, with M fixed", "columns", 1),
}
"""Of each series the label of the horizontal axis, its number, and the power of it that the number of pairs is."""


def draw_scaling(records: Sequence[Record], title: str, path: Path) -> bool:
    """Time over size, one panel per series and dtype; whether there was anything to draw."""
    found = [record for record in records if record["series"] and "median" in record]
    if not found:
        return False
    series = [name for name in AXES if any(record["workload"] == name for record in found)]
    dtypes = list(dict.fromkeys(record["dtype"] for record in found))
    figure, panels = plt.subplots(
        len(dtypes), len(series), figsize=(5 * len(series), 4 * len(dtypes)), squeeze=False, layout="constrained"
    )
    for row, dtype in zip(panels, dtypes, strict=True):
        for panel, name in zip(row, series, strict=True):
            here = [record for record in found if (record["workload"], record["dtype"]) == (name, dtype)]
            draw_series(panel, name, here)
            panel.set_title(f"{name}, {dtype}")
    panels[0, 0].legend()
    save(figure, f"Gaussian sums in 3D, {title}", path)
    return True


def draw_series(panel: Any, name: str, records: Sequence[Record]) -> None:
    """One line per engine, and a grey one through clreduce's last point that is linear in the number of pairs."""
    label, axis, power = AXES[name]
    for engine in engines_of(records):
        points = [(record[axis], record["median"]) for record in records if record["engine"] == engine]
        panel.loglog(*zip(*points, strict=True), "o-", color=COLORS[engine], label=engine)
        if engine == OWN:
            last, seconds = points[-1]
            sizes = [size for size, _ in points]
            linear = [seconds * (size / last) ** power for size in sizes]
            panel.loglog(sizes, linear, "--", color="grey", label="linear in pairs", zorder=0)
    panel.set(xlabel=label, ylabel="seconds per call")
    panel.grid(alpha=0.3)


def draw_ratios(records: Sequence[Record], title: str, path: Path) -> bool:
    """Bars of peer / clreduce for each workload, one panel per dtype; whether there was anything to draw."""
    lines = [
        (line, found) for line, found in entries(records)
        if not line["series"] and OWN in found and len(found) > 1
    ]  # fmt: skip
    if not lines:
        return False
    peers = [name for name in engines_of(records) if name != OWN]
    dtypes = list(dict.fromkeys(line["dtype"] for line, _ in lines))
    counts = [sum(line["dtype"] == dtype for line, _ in lines) for dtype in dtypes]
    height = 2 + 0.05 * max(counts) * (len(peers) + 1)
    figure, panels = plt.subplots(
        1, len(dtypes), figsize=(8 * len(dtypes), height), squeeze=False, layout="constrained"
    )  # fmt: skip
    for panel, dtype in zip(panels[0], dtypes, strict=True):
        draw_bars(panel, peers, [(line, found) for line, found in lines if line["dtype"] == dtype])
        panel.set_title(dtype)
    handles = [Patch(color=COLORS[name], label=name) for name in peers]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(peers)), fontsize="small")
    save(figure, f"time / clreduce's time, {title}", path)
    return True


def draw_bars(panel: Any, peers: Sequence[str], lines: Sequence[tuple[Record, dict[str, Record]]]) -> None:
    """A group of bars for each line, from the top down; right of 1 clreduce is faster. Wrong results have no bar."""
    thickness = 1 / (len(peers) + 1)
    for place, (_, found) in enumerate(lines):
        # Only peers that have a number take room: the group is centred, and gaps would look like zeros.
        present = [name for name in peers if name in found and exact_enough(found[name])]
        for number, name in enumerate(present):
            ratio = found[name]["median"] / found[OWN]["median"]
            middle = place + (number - (len(present) - 1) / 2) * thickness
            panel.barh(middle, ratio - 1, height=thickness, left=1, color=COLORS[name])
    panel.set_yticks(range(len(lines)), [line["workload"] for line, _ in lines], fontsize="small")
    panel.set_xscale("log")
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.margins(x=0.12)
    panel.set_xlabel("right of 1: clreduce is faster")
    panel.grid(axis="x", alpha=0.3)


def save(figure: Any, title: str, path: Path) -> None:
    figure.suptitle(title, fontsize="medium")
    figure.savefig(path, dpi=150)
    plt.close(figure)

"""A picture of a profile, drawn with Matplotlib."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from clreduce.runtime.profile import BUILDING, LAUNCHING, TRANSFERS, WAITING, DeviceCommand, HostSpan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from clreduce.call.profile import Profile

_COLORS = {BUILDING: "tab:orange", TRANSFERS: "tab:green", LAUNCHING: "tab:purple", WAITING: "tab:gray"}
_KERNELS = ("tab:blue", "tab:red", "tab:olive", "tab:cyan", "tab:pink", "tab:brown")
"""Colors of the kinds of kernels, the longest total first. Further kinds share the last color."""
_LONGEST_LABEL = 60


def draw(profile: Profile, path_or_axes: str | os.PathLike[str] | Axes) -> Axes:
    """Draw into axes, or into a new file at that path; returns the axes."""
    if not isinstance(path_or_axes, (str, os.PathLike)):
        _draw(profile, path_or_axes)
        return path_or_axes
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.add_subplot()
    _draw(profile, axes)
    figure.savefig(path_or_axes, dpi=120)
    return axes


def _draw(profile: Profile, axes: Any) -> None:
    unit, scale = ("s", 1.0) if profile.wall >= 1 else ("ms", 1e3)
    titles = [f"{total.role} | {total.formula}" for total in profile.kernels]
    colors = {title: _KERNELS[min(n, len(_KERNELS) - 1)] for n, title in enumerate(dict.fromkeys(titles))}
    rows: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for record in profile.records:
        if isinstance(record, HostSpan):
            is_own = record.thread == profile.thread
            row, label = "host" if is_own else f"host, thread {record.thread}", record.category
        elif isinstance(record, DeviceCommand) and not math.isnan(record.start):
            row = record.device
            label = TRANSFERS if record.role == "copy" else f"{record.role} | {record.formula}"
        else:
            continue
        bars = rows.setdefault(row, {}).setdefault(label, [])
        bars.append((scale * record.start, scale * record.seconds))
    order = sorted(rows, key=lambda row: (not row.startswith("host"), row != "host"))
    others = [row for row in order if row.startswith("host, ")]
    names = {row: f"host, thread {number}" for number, row in enumerate(others, 2)}  # their own names are long numbers
    titles_of_rows = [names.get(row, row).replace(" (", "\n(") for row in order]
    labelled: set[str] = set()
    for place, row in enumerate(order):
        for label, bars in rows[row].items():
            text = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 3]}..."
            color = {**_COLORS, **colors}[label]
            axes.broken_barh(
                bars, (place - 0.4, 0.8), color=color, label=text if label not in labelled else None,
                linewidth=0.5, edgecolor=color,
            )  # fmt: skip
            labelled.add(label)
    axes.set_yticks(range(len(order)), titles_of_rows)
    axes.invert_yaxis()
    axes.set_xlim(0, scale * profile.wall)
    axes.set_xlabel(f"time / {unit}")
    python = profile.host["Python"]
    axes.set_title(f"{scale * profile.wall:.4g} {unit}, of which Python (white) {scale * python:.4g} {unit}")
    if labelled:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize="small", ncols=2)

"""What the examples share: their command line, timing, a table of errors and times, and the look of their plots.

Nothing in here is needed to use clreduce.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, SupportsFloat, TypeVar

import numpy as np

import clreduce

Array = np.ndarray[Any, Any]
T = TypeVar("T")


def output_folder(description: str | None) -> Path:
    """The folder for the plot, from the command line; created if need be."""
    parser = argparse.ArgumentParser(description=(description or "").strip().split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="FOLDER", help="where the plot goes")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scaled(size: int) -> int:
    """``size`` times the environment variable ``CLREDUCE_EXAMPLE_SCALE``, which makes a quick run of an example."""
    return max(3, round(size * float(os.environ.get("CLREDUCE_EXAMPLE_SCALE") or 1)))


def precisions() -> tuple[str, ...]:
    """The dtypes that the current device computes in, the best one last; prints a line where that is float32."""
    if clreduce.current_device().facts.has_double:
        return "float32", "float64"
    print("this device has no float64: clreduce computes in float32, with wider limits")
    return ("float32",)


def timed(function: Callable[..., T], *args: Any, calls: int = 10) -> tuple[T, float]:
    """The result of ``function(*args)``, and the median seconds of a call.

    The first call, which may compile, counts only if there is no other.
    """
    seconds = []
    for _ in range(calls):
        start = time.perf_counter()
        result = function(*args)
        seconds.append(time.perf_counter() - start)
    return result, median(seconds[1:] or seconds)


def relative_error(computed: Array, exact: Array) -> float:
    """The largest relative error of any entry."""
    return float(np.max(np.abs(computed - exact) / np.abs(exact)))


def norm_ratio(computed: Array, reference: Array) -> float:
    """The norm of the difference over that of ``reference``; taken in float64, so that no error of its own enters."""
    computed, reference = computed.astype("float64"), reference.astype("float64")
    return float(np.linalg.norm(computed - reference) / np.linalg.norm(reference))


@dataclass
class Table:
    """Rows of text under a header: the first column to the left, the others to the right."""

    header: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        self.rows.append(cells)

    def __str__(self) -> str:
        lines: list[Sequence[str]] = [self.header, *self.rows]
        first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join([line[0].ljust(first), *map(str.rjust, line[1:], others)]) for line in lines]
        return "\n".join([text[0], "-" * len(text[0]), *text[1:]])


def milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


class Limits:
    """Collects what is larger than it may be; `check` ends the program with a message if anything is."""

    def __init__(self) -> None:
        self.exceeded: list[str] = []

    def expect(self, what: str, value: SupportsFloat, limit: float) -> None:
        if not float(value) <= limit:  # so that nan is too large as well
            self.exceeded.append(f"{what}: {float(value):.1e} is larger than {limit:.0e}")

    def check(self) -> None:
        if self.exceeded:
            sys.exit("\n".join(["FAILED", *self.exceeded]))


# -------------------------------------------------------------------------------------------------------- the plots

LINE, MARKS, INK, FAINT = "#2a6f97", "#d1495b", "#22303c", "#d9dfe4"
COLOURS = (LINE, MARKS, "#edae49", "#601830", "#30d8c0", "#c0a8f0")
"""One per class; the first two are those of lines and of marks. Colour-blind readers can tell them apart, too."""


@contextmanager
def figure(path: Path, title: str, rows: int, columns: int, size: tuple[float, float]) -> Iterator[Any]:
    """The axes (rows, columns) of a figure of ``size`` inches, which is saved when the block ends."""
    if not sys.platform.startswith(("win", "darwin")) and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MPLBACKEND", "Agg")
    import matplotlib.pyplot as plt

    style = {
        "font.size": 10.5, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
        "axes.edgecolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": FAINT, "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.titlelocation": "left",
        "axes.titlesize": 11.5, "axes.titlepad": 8, "legend.frameon": False,
    }  # fmt: skip
    with plt.rc_context(style):
        drawn, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        drawn.get_layout_engine().set(h_pad=0.12, w_pad=0.1)
        drawn.suptitle(title, x=0.012, ha="left", fontsize=13.5, fontweight="bold")
        yield axes
        drawn.savefig(path, dpi=120)
        plt.close(drawn)
    print(f"plot: {path} ({path.stat().st_size / 1024:.0f} kB)")


def plane(axis: Any, title: str) -> None:
    """Make ``axis`` one for points of the plane: both directions to the same scale, without a grid."""
    axis.set_title(title)
    axis.set_aspect("equal")
    axis.grid(False)


def mesh(low: float, high: float, count: int) -> Array:
    """The points (count^2, 2) of a square mesh over [low, high]^2, row by row from below."""
    ticks = np.linspace(low, high, count)
    return np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)


@dataclass(frozen=True)
class Panel:
    """One of the plots that stand above each other: ``line`` and ``marks`` are two computations of the same numbers."""

    title: str
    xlabel: str
    ylabel: str
    line: Array
    marks: Array
    log: bool = False


def plot(path: Path, title: str, names: tuple[str, str], panels: Iterable[Panel], entries: int = 40) -> None:
    """Save the first ``entries`` numbers of each panel; ``names`` are those of the line and of the marks."""
    panels = list(panels)
    with figure(path, title, len(panels), 1, (9, 3.3 * len(panels))) as axes:
        for axis, panel in zip(axes[:, 0], panels, strict=True):
            line, marks = panel.line.ravel()[:entries], panel.marks.ravel()[:entries]
            index = np.arange(len(line))
            axis.plot(index, line, color=LINE, linewidth=1.8, label=names[0])
            axis.plot(index, marks, "o", color=MARKS, markersize=5.5, fillstyle="none", label=names[1])
            axis.set(xlabel=panel.xlabel, ylabel=panel.ylabel, xlim=(-0.8, len(line) - 0.2), title=panel.title)
            axis.set_yscale("log" if panel.log else "linear")
        axes[0, 0].legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, handlelength=1.8)

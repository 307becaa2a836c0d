"""Draws which pairs of blocks a search for nearest neighbours visits: docs/images/pruning.png.

python docs/make_pruning_picture.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from clreduce.call.backend import executor_for
from clreduce.call.options import Options
from clreduce.call.pruning.blocks import BlockPairs
from clreduce.call.pruning.selection import Selection
from clreduce.call.work import Work
from clreduce.language.formula import parse
from clreduce.program import map_reduce
from clreduce.runtime.region import Region

COUNT, BLOCK, NEIGHBOURS, SHOWN = 6000, 32, 5, 101
INK, NEAR, FAR = "#1f2933", "#d9822b", "#c3cfdb"


def main() -> None:
    rng = np.random.default_rng(4)
    centres = rng.random((14, 2))
    points = centres[rng.integers(0, 14, COUNT)] + 0.06 * rng.normal(size=(COUNT, 2))
    points = points.astype(np.float32)
    program, _ = map_reduce([parse("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"]).expr], "ArgKMin", NEIGHBOURS)
    work = Work(program, Options(), Region(COUNT, COUNT), "float32")
    selection = Selection(BlockPairs.of(work, [points, points], executor_for("auto", -1, None, None), BLOCK))
    visited = selection.pairs_to_visit()
    side = selection.pairs.rows
    near = side.partition
    blocks = near.count
    table = np.zeros((blocks, blocks), bool)
    for owner, (start, end) in zip(visited.owners, visited.pieces, strict=True):
        table[owner, start // BLOCK : -(-end // BLOCK)] = True
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.4), facecolor="white")
    boxes = near.boxes(points[near.order])
    left.scatter(*points.T, s=2, color="#8fa1b3", linewidths=0)
    for number in range(blocks):
        own, met = number == SHOWN, table[SHOWN, number]
        corner, size = boxes.low[number], boxes.high[number] - boxes.low[number]
        left.add_patch(
            Rectangle(
                tuple(corner), *size, fill=own or met, alpha=0.85 if own else 0.45 if met else 0.5, linewidth=0.7,
                facecolor=INK if own else NEAR, edgecolor=INK if own else NEAR if met else FAR,
            )
        )  # fmt: skip
    left.set(aspect="equal", xticks=[], yticks=[])
    left.set_title(f"One block of {BLOCK} rows (dark) meets {table[SHOWN].sum()} of {blocks} blocks", color=INK)
    right.imshow(~table, cmap="gray", interpolation="nearest")
    right.set_title(f"All pairs of blocks: {table.mean():.1%} are visited (black)", color=INK)
    right.set(xlabel="blocks of columns", ylabel="blocks of rows")
    for axes in (left, right):
        for spine in axes.spines.values():
            spine.set_color(FAR)
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "images" / "pruning.png", dpi=110)


if __name__ == "__main__":
    main()

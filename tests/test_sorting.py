"""Long sorted lists: the networks on zeros and ones, and K nearest terms by them against NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from clreduce.codegen.schedule import DIRECT, SORTED_LIST, Schedule
from clreduce.codegen.sorting import Pass, merging, padded, sorting
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.numpy import Genred
from clreduce.numpy.cluster import from_matrix
from clreduce.ops.derived import squared_distance
from clreduce.ops.shape import extract
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.plan import Plan, Signature

Array = np.ndarray[Any, Any]


def applied(passes: Sequence[Pass], rows: Array) -> Array:
    """What the passes make of each row."""
    rows = rows.copy()
    for one in passes:
        for block, i in product(range(0, rows.shape[1], one.block), range(one.width)):
            places = [block + first + sign * i for first, sign in one.places]
            for a, b in one.pairs:
                pair = rows[:, [places[a], places[b]]]
                rows[:, places[a]], rows[:, places[b]] = pair.min(1), pair.max(1)
    return rows


# A network of comparisons that sorts all rows of zeros and ones sorts all rows (Knuth, The art of computer programming,
# vol. 3, section 5.3.4).


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16])
def test_zeros_and_ones_are_sorted(length: int) -> None:
    rows = np.array(list(product((0, 1), repeat=length)), dtype=np.int8)
    np.testing.assert_array_equal(applied(sorting(length), rows), np.sort(rows))


@pytest.mark.parametrize("length", [32, 64, 128])
def test_random_rows_are_sorted(length: int) -> None:
    rng = np.random.default_rng(length)
    rows = rng.integers(0, rng.integers(2, 2 * length, size=(2000, 1)), size=(2000, length))
    np.testing.assert_array_equal(applied(sorting(length), rows), np.sort(rows))


@pytest.mark.parametrize("length", [1, 2, 4, 8, 16, 32, 64, 128])
def test_what_rises_and_falls_is_sorted(length: int) -> None:
    place = np.arange(length)
    rows = np.array([(start <= place) & (place < end) for end in range(length + 1) for start in range(end + 1)], int)
    for some in (rows, 1 - rows):
        np.testing.assert_array_equal(applied(merging(length), some), np.sort(some))


def test_padding() -> None:
    assert [padded(count) for count in (1, 2, 3, 24, 32, 33, 128)] == [1, 2, 4, 32, 32, 64, 128]


# ------------------------------------------------------------------------------------------------ in kernels


def nearest(reduction: str, count: int) -> MapReduce:
    x, y = variable("x", 2, Domain.I), variable("y", 2, Domain.J)
    return map_reduce([squared_distance(x, y) - extract(y, 1, 1)], reduction, count)[0]


def points(rng: np.random.Generator, columns: int, order: str, dtype: str) -> Array:
    """Of many equal terms, so that the order of equals shows; or each nearer to the origin than the one before."""
    y = rng.integers(0, 12, size=(columns, 2)).astype(dtype)
    if order == "falling":
        y[:] = np.arange(columns, 0, -1)[:, None]
    y[rng.random(columns) < 0.05, 0] = np.nan
    y[rng.random(columns) < 0.05, 0] = np.inf  # an infinite term
    return y


CASES = [
    # K, columns, order, sizes of the schedule
    (SORTED_LIST, 3000, "any", {"rows": 1, "cols": 8, "queue": 32, "prefilter": 4, "split": 1}),
    (33, 20, "any", {"rows": 2, "cols": 4, "queue": 16, "split": 1}),
    (64, 900, "any", {"rows": 1, "cols": 8, "queue": 64, "split": 3}),
    (100, 7000, "any", {"rows": 2, "cols": 8, "queue": 32, "prefilter": 2, "split": 2}),
    (30, 2500, "falling", {"rows": 1, "cols": 1, "queue": 32, "prefilter": 1, "split": 1}),  # of several tiles
]


REDUCTIONS = ["KMin", "ArgKMin", "KMin_ArgKMin", "ArgKMax"]
PRECISIONS = [("float32", 1), ("float32", 16), ("float64", 8), ("float64", 4)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("dtype", "lanes"), PRECISIONS)
def test_long_lists(device: Any, reduction: str, dtype: str, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    # One case for each of these: all have kernels of their own.
    turn = REDUCTIONS.index(reduction) + 2 * PRECISIONS.index((dtype, lanes))
    count, columns, order, sizes = CASES[turn % len(CASES)]
    program = nearest(reduction, count)
    plan = Plan(program, Signature(dtype), device, Schedule(**sizes, lanes=lanes, shape=DIRECT, group=1))
    assert "enter_terms" in plan.source
    x, y = points(rng, 19, "any", dtype), points(rng, columns, order, dtype)
    x[~np.isfinite(x)] = 0
    for found, wanted in zip(plan([x, y], 19, columns), program.reference([x, y], 19, columns), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_terms_before_all_others(device: Any) -> None:
    """-inf in a list of the smallest, which is also what its padding holds."""
    x, y = variable("x", 1, Domain.I), variable("y", 1, Domain.J)
    program, _ = map_reduce([x + y], "KMin_ArgKMin", 40)
    plan = Plan(program, Signature("float32"), device)
    plan = Plan(program, plan.signature, device, replace(plan.schedule, queue=32))
    terms = np.random.default_rng(0).normal(size=(5000, 1)).astype("float32")
    terms[100::100] = -np.inf
    values, places = plan([np.zeros((20, 1), "float32"), terms], 20, 5000)
    assert (values == -np.inf).all()
    np.testing.assert_array_equal(places, np.broadcast_to(np.arange(100, 4001, 100), (20, 40)))


def test_blocks_of_pairs(device: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((70, 2), "float32"), rng.random((900, 2), "float32")
    ranges = from_matrix(
        np.array([[0, 30], [30, 70]]), np.array([[0, 500], [500, 900]]), np.array([[True, False], [True, True]])
    )
    found = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "ArgKMin", axis=1, opt_arg=50)(x, y, ranges=ranges)
    table = ((x[:, None] - y[None]) ** 2).sum(-1)
    table[:30, 500:] = np.inf
    np.testing.assert_array_equal(found, np.argsort(table, 1, kind="stable")[:, :50])


def test_a_queue_of_another_length_is_not_sorted(device: Any) -> None:
    plan = Plan(nearest("ArgKMin", 40), Signature("float32"), device)
    other = Plan(plan.program, plan.signature, device, replace(plan.schedule, queue=31))
    assert "enter_terms" not in other.source
    x, y = (np.random.default_rng(0).random((rows, 2), "float32") for rows in (30, 5000))
    np.testing.assert_array_equal(other([x, y], 30, 5000)[0], plan([x, y], 30, 5000)[0])

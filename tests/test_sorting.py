"""Long sorted lists: the networks on zeros and ones, and K nearest terms by them against NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from clreduce.codegen.schedule import SORTED_LIST
from clreduce.codegen.sorting import Pass, merging, padded, sorting
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.ops.derived import squared_distance
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
    return map_reduce([squared_distance(x, y)], reduction, count)[0]


def exact(reduction: str, count: int, x: Array, y: Array) -> list[Array]:
    """By a stable sort; nan terms and those that are the neutral value are no terms."""
    sign = -1 if "Max" in reduction else 1
    terms = sign * ((x[:, None] - y[None]) ** 2).sum(-1)
    terms = np.pad(np.where(np.isnan(terms), np.inf, terms), ((0, 0), (0, count)), constant_values=np.inf)
    places = np.argsort(terms, 1, kind="stable")[:, :count]
    values = np.take_along_axis(terms, places, 1)
    places = np.where(values == np.inf, -1, places)
    return [{"K": sign * values, "A": places}[part[0]] for part in reduction.split("_")]


@pytest.mark.parametrize("reduction", ["KMin", "ArgKMin", "KMin_ArgKMin", "ArgKMax"])
@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 1), ("float32", 16), ("float64", 8), ("float64", 2)])
def test_long_lists(device: Any, reduction: str, dtype: str, lanes: int) -> None:
    """Of many equal terms, so that the order of equals shows; with and without a look beforehand."""
    rng = np.random.default_rng(lanes)
    for count, columns, queue, preview in (
        (SORTED_LIST, 3000, 32, 4), (33, 20, 16, 0), (64, 900, 64, 0), (100, 7000, 32, 2),
    ):  # fmt: skip
        program = nearest(reduction, count)
        plan = Plan(program, Signature(dtype), device)
        schedule = replace(plan.schedule, lanes=lanes, rows=1, cols=8, queue=queue, preview=preview)
        if schedule.shape != "mapreduce":
            schedule = replace(schedule, preview=0)
        plan = Plan(program, Signature(dtype), device, schedule)
        assert "enter_terms" in plan.source
        x, y = (rng.integers(0, 12, size=(rows, 2)).astype(dtype) for rows in (19, columns))
        y[rng.random(columns) < 0.1] = np.nan
        y[rng.random(columns) < 0.1] = np.inf
        for found, wanted in zip(plan([x, y], 19, columns), exact(reduction, count, x, y), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_a_queue_of_another_length_is_not_sorted(device: Any) -> None:
    plan = Plan(nearest("ArgKMin", 40), Signature("float32"), device)
    other = Plan(plan.program, plan.signature, device, replace(plan.schedule, queue=31))
    assert "enter_terms" not in other.source
    x, y = (np.random.default_rng(0).random((rows, 2), "float32") for rows in (30, 5000))
    np.testing.assert_array_equal(other([x, y], 30, 5000)[0], plan([x, y], 30, 5000)[0])

"""Lists that take in terms up to a limit of their row give what the formula says; they begin with that limit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_sorting import CASES as LONG
from test_sorting import points

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render
from clreduce.codegen.schedule import DIRECT, Schedule, for_few_columns
from clreduce.codegen.thresholds import threshold_of, up_to
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import constant, variable
from clreduce.ops.compare import less_equal, where
from clreduce.ops.derived import squared_distance
from clreduce.ops.shape import extract
from clreduce.program import MapReduce, map_reduce
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.ranges import Ranges

X, Y, LIMIT = variable("x", 2, Domain.I), variable("y", 2, Domain.J), variable("limit", 1, Domain.I)
TERM = squared_distance(X, Y) - extract(Y, 1, 1)


def limited(reduction: str, count: int) -> tuple[MapReduce, tuple[Expr, ...]]:
    """The program, and its variables in their order."""
    return map_reduce([up_to(TERM, LIMIT, "Min" in reduction)], reduction, count)


def limits_of(reduction: str, dtype: str) -> np.ndarray[Any, Any]:
    """Terms as they occur, numbers between two of them, and all special ones."""
    largest = float(np.finfo(dtype).max)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, largest, -largest, 1e-30]
    some = [3.0, 10.0, 10.5, 40.0, -2.0, 1000.0, -1000.0, 7.0, 1.0, 80.0, 20.0]
    return np.array(some + special, dtype).reshape(-1, 1) * (1 if "Min" in reduction else -1)


SHORT = [
    (2, 300, "any", {"rows": 2, "cols": 4}),
    (11, 3000, "falling", {"rows": 1, "cols": 8, "queue": 32, "prefilter": 4, "split": 1}),
    (7, 900, "any", {"rows": 1, "cols": 8, "queue": 16, "split": 3}),
    (4, 50, "any", {"rows": 3, "cols": 1, "prefilter": 1}),
]


@pytest.mark.parametrize("reduction", ["KMin", "ArgKMin", "KMin_ArgKMin", "KMax_ArgKMax"])
@pytest.mark.parametrize(("dtype", "lanes"), [("float32", 1), ("float32", 16), ("float64", 8)])
def test_terms_up_to_a_limit(device: Any, reduction: str, dtype: str, lanes: int) -> None:
    if dtype == "float64" and not device.facts.has_double:
        pytest.skip("this device has no float64")
    rng = np.random.default_rng(lanes)
    limits = limits_of(reduction, dtype)
    for count, columns, order, sizes in (SHORT[lanes % 4], SHORT[(lanes + 2) % 4], LONG[lanes % len(LONG)]):
        program, given = limited(reduction, count)
        plan = Plan(program, Signature(dtype), device, Schedule(**sizes, lanes=lanes, shape=DIRECT, group=1))
        x, y = points(rng, len(limits), "any", dtype), points(rng, columns, order, dtype)
        x[~np.isfinite(x)] = 0
        arrays = [{LIMIT: limits, X: x, Y: y}[leaf] for leaf in given]
        results = plan(arrays, len(x), columns)
        for found, wanted in zip(results, program.reference(arrays, len(x), columns), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_lists_begin_with_the_limit() -> None:
    """The formula of the kernel is the term alone: it compares with nothing but its list."""
    plain, with_limit = map_reduce([TERM], "KMin_ArgKMin", 11)[0], limited("KMin_ArgKMin", 11)[0]
    schedule = Schedule(lanes=8, rows=1, cols=1)
    texts = [render(lower(program, "float", schedule, DeviceFacts()).pair) for program in (plain, with_limit)]
    until_tested = [text.split("j < tile_end")[-1].split("if (ANY")[0] for text in texts]
    assert until_tested[0].count("?") == until_tested[1].count("?") > 0


def test_other_formulas_have_no_threshold() -> None:
    assert threshold_of(limited("KMin", 4)[0]) is not None
    for value, reduction, count in (
        (TERM, "KMin", 4),
        (up_to(TERM, LIMIT, True), "KMax", 4),  # the largest: terms up to a limit are no list's beginning
        (up_to(TERM, LIMIT, True), "KMin", 1),  # a single term is no list
        (up_to(TERM, extract(X, 0, 1), True), "KMin", 4),
        (where(less_equal(TERM, LIMIT), TERM, constant(0)), "KMin", 4),
        (where(less_equal(TERM, LIMIT), 2 * TERM, constant(np.inf)), "KMin", 4),
    ):
        assert threshold_of(map_reduce([value], reduction, count)[0]) is None


def test_lists_that_meet_few_columns_have_no_queue() -> None:
    blocks = np.array([[0, 64], [64, 128]])
    few, many = (Ranges(blocks, np.arange(2), np.array([[0, size], [10, 10 + size]])) for size in (100, 1000))
    assert (few.visits, many.visits) == (128, 0)
    queued, plain = Schedule(queue=32), map_reduce([TERM], "KMin_ArgKMin", 11)[0]
    assert for_few_columns(plain, queued, few.visits).queue == 0
    assert for_few_columns(plain, queued, many.visits) == queued
    assert for_few_columns(plain, queued, 256) == queued
    assert for_few_columns(map_reduce([TERM], "KMin", 10)[0], queued, 256).queue == 0
    assert for_few_columns(limited("KMin_ArgKMin", 11)[0], queued, few.visits) == queued

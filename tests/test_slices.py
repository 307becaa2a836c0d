"""Long calls, launched in slices: the same bits, and Ctrl-C comes through between two of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clreduce.codegen.schedule import LOCAL, Schedule
from clreduce.numpy import Genred, KernelSolve
from clreduce.runtime import launch
from clreduce.runtime.plan import Plan, Signature, signature_of
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.ranges import Ranges
from clreduce.runtime.slices import Pace, in_slices

ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * Exp(b)", ALIASES, "Sum", axis=1)
NEAREST = Genred("SqDist(x, y) + Exp(b)", ALIASES, "ArgKMin", axis=1, opt_arg=3)
LONG = Genred("Sum(x * y) * b", ["x = Vi(40)", "y = Vj(40)", "b = Vj(1)"], "Sum", axis=1)
SCHEDULES = {
    "lanes": Schedule(lanes=8, rows=2, cols=2),
    "local": Schedule(lanes=1, rows=2, cols=2, shape=LOCAL, group=4, tile=16),
    "parts": Schedule(lanes=4, rows=1, cols=2, split=3, tile=16),
}


class Tiny(Pace):
    """A pace at which every call is long, and each launch has a few groups."""

    longest = 10**9

    def __init__(self, *given: Any) -> None:
        self.first, self.most = 1.0, 0.0

    def note(self, pairs: float, seconds: float) -> None:
        self.first = 1.6 * pairs


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Calls of new plans are cut; the list tells in how many launches each was."""
    from clreduce.runtime import plan

    counts: list[int] = []

    def counted(run: Any, wait: Any, *given: Any) -> None:
        counts.append(0)

        def launched(*part: int) -> None:
            counts[-1] += 1
            run(*part)

        in_slices(launched, wait, *given)

    monkeypatch.setattr(plan, "Pace", Tiny)
    monkeypatch.setattr(launch, "in_slices", counted)
    PLANS.clear()
    yield counts
    PLANS.clear()


def arrays(*batch: int, dim: int = 2) -> list[Any]:
    random = np.random.default_rng(0)
    shapes = (*batch, 150, dim), (*batch, 70, dim), (*batch, 70, 1)
    return [random.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def uncut(plan: Plan) -> Plan:
    other = Plan(plan.program, plan.signature, plan.device, plan.schedule)
    other.pace.most = math.inf
    return other


@pytest.mark.parametrize("routine", [GAUSSIAN, NEAREST, LONG], ids=["stored j", "indices", "panels"])
@pytest.mark.parametrize("batch", [(), (5,)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_same_bits(device: Any, cut: list[int], routine: Any, batch: tuple[int, ...], schedule: str) -> None:
    data = routine._in_slots(arrays(*batch, dim=40 if routine is LONG else 2))
    plan = Plan(routine.program, Signature("float32", bool(batch)), device, SCHEDULES[schedule])
    (expected,) = uncut(plan)(data, 150, 70, batch=batch)
    assert not cut
    (found,) = plan(data, 150, 70, batch=batch)
    assert cut[0] > 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("batch", [(), (5,)])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_block_sparse_calls(device: Any, cut: list[int], batch: tuple[int, ...], schedule: str) -> None:
    data, routine = LONG._in_slots(arrays(*batch, dim=40)), LONG
    blocks = np.array([[0, 40], [50, 130], [130, 150]])
    ranges = Ranges.of(blocks, np.array([2, 3, 4]), np.array([[0, 20], [30, 70], [10, 15], [0, 70]]))
    signature = replace(signature_of("float32", ranges=ranges), batched=bool(batch))
    plan = Plan(routine.program, signature, device, SCHEDULES[schedule])
    (expected,) = uncut(plan)(data, 150, 70, batch=batch, ranges=ranges)
    (found,) = plan(data, 150, 70, batch=batch, ranges=ranges)
    assert cut[0] > 1
    np.testing.assert_array_equal(found, expected)


def test_positions_are_those_of_the_whole(device: Any, cut: list[int]) -> None:
    from clreduce.numpy import LazyTensor

    x, y, _ = arrays()
    x_i, y_j = LazyTensor(x[:, None]), LazyTensor(y[None])
    K = (x_i * y_j).sum(-1)
    found = K.where(K.i < K.j).sum(axis=1)
    np.testing.assert_allclose(found[:, 0], np.triu(x @ y.T, 1).sum(1), atol=1e-4)
    assert max(cut) > 1


def test_systems(device: Any, cut: list[int]) -> None:
    _, y, b = arrays()
    found = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)(y, y, b, alpha=0.5, eps=1e-4)
    kernel = np.exp(-((y[:, None].astype(float) - y) ** 2).sum(-1))
    np.testing.assert_allclose(kernel @ found + 0.5 * found, b, atol=1e-3)
    assert max(cut) > 1


def test_an_interruption_between_two_slices(device: Any, cut: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(GAUSSIAN.program, Signature("float32"), device, SCHEDULES["lanes"])
    noted: list[float] = []

    def note(pairs: float, seconds: float) -> None:
        noted.append(seconds)
        raise KeyboardInterrupt

    monkeypatch.setattr(plan.pace, "note", note)
    with pytest.raises(KeyboardInterrupt):
        plan(GAUSSIAN._in_slots(arrays()), 150, 70)
    assert (cut, len(noted)) == ([1], 1)


@given(
    groups=st.integers(1, 50),
    parts=st.integers(1, 9),
    count=st.integers(1, 7),
    units=st.integers(1, 9),
    first=st.floats(0.1, 1e5),
)
def test_slices_cover_everything_once(groups: int, parts: int, count: int, units: int, first: float) -> None:
    pace = Tiny()
    pace.first = first
    visited = np.zeros((count, groups, parts), int)

    def run(group: int, size: int, part: int, own: int, index: int, indices: int) -> None:
        assert min(size, own, indices) > 0
        visited[index : index + indices, group : group + size, part : part + own] += 1

    in_slices(run, lambda: None, groups, parts, count, 100.0, pace, units)
    assert (visited == 1).all()


@pytest.mark.parametrize("routine", [GAUSSIAN, NEAREST], ids=["sums", "indices"])
def test_few_rows_are_cut_along_j(device: Any, cut: list[int], monkeypatch: pytest.MonkeyPatch, routine: Any) -> None:
    """One work-group has more pairs than a launch shall have: the parts of j are launched one after the other."""
    monkeypatch.setattr(Tiny, "longest", 16)
    x, y, b = arrays()
    plan = Plan(routine.program, Signature("float32"), device, Schedule(lanes=1, rows=1, cols=1, tile=8))
    feeds = routine._in_slots([x[:1], y, b])
    items, parts = plan.cut(1, 70, 1)
    assert (items, parts.count) == (1, 5)
    (found,) = plan(feeds, 1, 70)
    assert cut == [5]
    (expected,) = uncut(plan)(feeds, 1, 70)
    np.testing.assert_array_equal(found, expected)
    terms = ((x[:1, None].astype(float) - y) ** 2).sum(-1)
    exact = np.exp(-terms) @ np.exp(b) if routine is GAUSSIAN else (terms + np.exp(b).T).argsort()[:, :3]
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_a_pace_follows_the_clock(device: Any) -> None:
    pace = Pace(GAUSSIAN.program, device.facts, "float", 8)
    assert 0 < pace.first < pace.most
    pace.note(1e9, 0.5)
    assert 0.5e9 < pace.first < pace.most < 4e9

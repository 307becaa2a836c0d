"""Any cut of a call = the whole: in rows, in columns, in indices of a batch; by memory, by hand, and in any bracketing.

Cuts in i change no bit, nor do cuts in j where parts of j end. Other cuts in j change sums within rounding, and no
selection.
"""

from __future__ import annotations

import pickle
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from oracle import dense as dense_of
from oracle import random_arrays, scale_of

import clreduce
from clreduce.call.executor import OneDevice
from clreduce.call.options import Options
from clreduce.call.states import State
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.errors import DeviceError, OptionError, OutOfMemoryError, ShapeError
from clreduce.ir.op import position, variable
from clreduce.memo import Memo
from clreduce.numpy import Genred
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.indices import as_real
from clreduce.program import map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.blocks import Parts
from clreduce.runtime.budget import Budget, bytes_of, memory_limit
from clreduce.runtime.cuts import Bytes, Grain, cut, leaves
from clreduce.runtime.memory import Memory
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.region import Region

NAMES = [(name, None) for name in REDUCTIONS] + [(name, 3) for name in FAMILIES]
CASES = [(*case, ("float32", "float64")[n % 2]) for n, case in enumerate(NAMES)]
EXACT = ("Min", "Max", "Any", "All", "Count")
"""Reductions that select or count, unless they add up what they have selected."""
M, N = 150, 701


def program_of(name, count, positions=True):
    """A program of a reduction, which reads positions; terms are small whole numbers with many ties, or reals."""
    record = REDUCTIONS.get(name) or FAMILIES[name].build(count)
    x, y, b = variable("x", 2, Domain.I), variable("y", 2, Domain.J), variable("b", 1, Domain.J)
    term = exp(-squared_distance(x, y)) + b
    if positions:
        term = term + as_real(position(Domain.J)) * 1e-3 - as_real(position(Domain.I)) * 1e-3
    values = [term] if record.formulas == 1 else [term, y]
    if name in ("Any", "All", "Count"):
        values = [term]
    return map_reduce(values, name, count)[0]


def assert_same(found, wanted, program, arrays, rows=M, columns=N):
    """Equal bits where a reduction selects, else within rounding."""
    for ours, theirs in zip(found, wanted, strict=True):
        name = program.reduction.name
        selects = any(word in name for word in EXACT) and "Sum" not in name
        if ours.dtype.kind == "i" or selects:
            np.testing.assert_array_equal(ours, theirs)
        else:
            scale = scale_of(program, dense_of(program, arrays, rows, columns)).max()
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=scale * (4e-6 if ours.dtype == np.float32 else 1e-13))


def parts_of(program, arrays, region):
    """The parts of arrays that a region of the whole call reads."""
    places = [region.within(Region(M, N), slot.domain) for slot in program.slots]
    return [array[place] for array, place in zip(arrays, places, strict=True)]


def evaluate(work, arrays, device, limit=None):
    return OneDevice(device, limit).run((work, Memo(), arrays))


@pytest.mark.parametrize(("name", "count", "dtype"), CASES)
def test_any_cut_is_the_whole(device, name, count, dtype):
    program = program_of(name, count)
    arrays = random_arrays(program, M, N, dtype, seed=3)
    work = Work(program, Options(), Region(M, N), dtype)
    whole = evaluate(work, arrays, device)
    random, plan = Random(name), work.plan(device)
    smallest = Region(min(M, plan.schedule.group_rows), min(N, max(1, plan.schedule.tile)))
    least, most = (plan.bytes(region, Parts(1, N)).total for region in (smallest, work.region))
    for limit in sorted({least, (least + most) // 2, most - 1}):
        assert_same(evaluate(work, arrays, device, limit), whole, program, arrays)
    rows = sorted(random.sample(range(1, M), 2))
    columns = sorted(random.sample(range(1, N), 3))
    results = []
    for start, stop in zip([0, *rows], [*rows, M], strict=True):
        states = []
        for first, last in zip([0, *columns], [*columns, N], strict=True):
            region = work.region.part(rows=(start, stop), columns=(first, last))
            own = parts_of(program, arrays, region)
            slots = OneDevice(device).partial((work.on(region), Memo(), own))
            states.append(pickle.loads(pickle.dumps(State(work.on(region), slots))))
        a, b, c, d = states
        left, right = a.merge(b).merge(c).merge(d).finish(), a.merge(b.merge(c.merge(d))).finish()
        balanced = a.merge(b).merge(c.merge(d)).finish()
        for other in (right, balanced):
            assert_same(other, left, program, arrays)
        results.append(left)
    joined = [np.concatenate(parts) for parts in zip(*results, strict=True)]
    assert_same(joined, whole, program, arrays)


ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]


def gaussian_arrays(dtype="float32", rows=150, columns=701, batch=()):
    rng = np.random.default_rng(5)
    return [rng.normal(size=(*batch, size, dim)).astype(dtype) for size, dim in ((rows, 2), (columns, 2), (columns, 1))]


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Var"])
def test_cuts_where_parts_end_change_no_bit(device, reduction):
    """Rows are cut anywhere, columns where parts of j end."""
    program = program_of(reduction, None)
    arrays = random_arrays(program, M, N, "float32", seed=1)
    schedule = replace(Work(program, Options(), Region(M, N), "float32").plan(device).schedule, split=5)
    plan = Plan(program, Signature("float32"), device, schedule)
    whole, parts = plan(arrays, M, N), plan.cut(M, N, 1)[1]
    assert parts.count > 2
    for step in (1, 2):
        state = ()
        for start in range(0, N, step * parts.length):
            region = Region(M, N).part(columns=(start, min(start + step * parts.length, N)))
            own = parts_of(program, arrays, region)
            state = plan.partial(own, region, parts, state)
        np.testing.assert_array_equal(plan.finish(state, Region(M, N))[0], whole[0])
    rows = Region(M, N).part(rows=(64, M))
    own = parts_of(program, arrays, rows)
    np.testing.assert_array_equal(plan.run(own, rows, None, parts)[0], whole[0][64:])


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
@pytest.mark.parametrize("has_ranges", [False, True])
@pytest.mark.parametrize("formula", ["Exp(-SqDist(x, y)) * b", "SqDist(x, y) + b"])
def test_a_limit_of_memory_changes_no_number(device, formula, batch, has_ranges):
    """Calls and their gradients, in batches, with ranges; also where one index of the batch has to be cut."""
    x, y, b = gaussian_arrays(batch=batch)
    reduction = "Sum" if formula.startswith("Exp") else "ArgKMin"
    routine = Genred(formula, ALIASES, reduction, axis=1, opt_arg=4 if reduction == "ArgKMin" else None)
    ranges = None
    if has_ranges:
        blocks = np.array([[0, 50], [50, 140]]), np.array([2, 3]), np.array([[0, 90], [100, 701], [400, 600]])
        back = np.array([[0, 400], [400, 701]]), np.array([1, 2]), np.array([[0, 50], [0, 140]])
        ranges = (*blocks, *back)
    whole = routine(x, y, b, ranges=ranges)
    for limit in ("9KB", "20KB"):
        np.testing.assert_allclose(routine(x, y, b, ranges=ranges, max_memory=limit), whole, rtol=1e-5, atol=1e-5)
    if reduction == "Sum":
        cotangent = np.ones_like(whole)
        gradients = routine.vjp(x, y, b, cotangent=cotangent, ranges=ranges)
        limited = routine.vjp(x, y, b, cotangent=cotangent, ranges=ranges, max_memory="20KB")
        for ours, theirs in zip(limited, gradients, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype_acc", ["auto", "float64"])
@pytest.mark.parametrize("sum_scheme", ["auto", "kahan_scheme", "direct_sum"])
def test_deterministic_calls_have_the_same_bits_everywhere(device, dtype_acc, sum_scheme, monkeypatch):
    """For any limit of memory, rows alone or among others, and whatever was measured."""
    if sum_scheme == "kahan_scheme" and dtype_acc == "float64":
        pytest.skip("no such combination")
    monkeypatch.setattr("clreduce.runtime.plan.PART", 256)
    PLANS.clear()
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1, dtype_acc=dtype_acc, sum_scheme=sum_scheme)
    x, y, b = gaussian_arrays()
    wanted = routine(x, y, b, deterministic=True)
    for limit in ("20KB", "14KB"):
        np.testing.assert_array_equal(routine(x, y, b, deterministic=True, max_memory=limit), wanted)
    np.testing.assert_array_equal(routine(x[70:75], y, b, deterministic=True), wanted[70:75])
    clreduce.set_deterministic()
    try:
        np.testing.assert_array_equal(routine(x, y, b), wanted)
    finally:
        clreduce.set_deterministic(False)
    PLANS.clear()


@pytest.mark.parametrize("dtype_acc", ["auto", "float64"])
@pytest.mark.parametrize(("limit", "cuts_columns"), [("24KB", False), ("10KB", True)])
def test_what_leaves_share_stays_on_a_device_with_its_own_memory(device, monkeypatch, limit, cuts_columns, dtype_acc):
    """Blocks of rows send the columns once, and states do not travel between blocks of columns."""
    cl = pytest.importorskip("pyopencl")
    x, y, b = gaussian_arrays(rows=3000)
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1, dtype_acc=dtype_acc)
    in_place = routine(x, y, b, max_memory=limit)
    monkeypatch.setattr(device, "facts", replace(device.facts, shares_addresses=False, shares_host_memory=False))
    sent, read, buffer, copy = [], [], Memory._buffer, cl.enqueue_copy

    def counted_buffer(memory, flags, size, array):
        sent.append(0 if array is None else array.nbytes)
        return buffer(memory, flags, size, array)

    def counted_copy(queue, target, source, **options):
        read.append(target.nbytes)
        return copy(queue, target, source, **options)

    monkeypatch.setattr(Memory, "_buffer", counted_buffer)
    monkeypatch.setattr(cl, "enqueue_copy", counted_copy)
    work = Work(routine.program, routine.options, Region(3000, N), "float32")
    tree = OneDevice(device, bytes_of(limit, "limit")).prepare((work, Memo(), [x, y, b])).tree
    rows = {leaf.region.first_row for leaf in leaves(tree)}
    columns = {leaf.region.first_column for leaf in leaves(tree)}
    assert len(rows) > 2
    assert (len(columns) > 1) == cuts_columns
    np.testing.assert_array_equal(routine(x, y, b, max_memory=limit), in_place)
    assert sum(sent) == x.nbytes + (len(rows) if cuts_columns else 1) * (y.nbytes + b.nbytes)
    assert sum(read) == in_place.nbytes * (2 if dtype_acc == "float64" else 1)


def test_leaves_read_each_block_of_a_source_once(device):
    """Blocks of rows read the columns of a file once, not once for each block of rows."""

    class Counted:
        def __init__(self, array):
            self.array, self.shape, self.dtype, self.rows = array, array.shape, array.dtype, 0

        def __getitem__(self, place):
            self.rows += len(self.array[place])
            return self.array[place]

    x, y, b = gaussian_arrays(rows=900, columns=300)
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    sources = [Counted(array) for array in (x, y, b)]
    found = routine(*sources, max_memory="20KB")
    np.testing.assert_allclose(found, routine(x, y, b), rtol=1e-5, atol=1e-5)
    assert [source.rows for source in sources] == [900, 300, 300]


def test_a_driver_without_memory_gets_smaller_blocks(device, monkeypatch):
    """Its error comes from a buffer that it cannot make: of more than a few thousand numbers, here."""
    cl = pytest.importorskip("pyopencl")
    x, y, b = gaussian_arrays()
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    whole, make, asked = routine(x, y, b), Memory.input, []

    def too_large(memory, array):
        asked.append(array.nbytes)
        if array.nbytes > 3000:
            raise cl.MemoryError(cl._cl._ErrorRecord("clCreateBuffer", -4, "none left"))
        return make(memory, array)

    monkeypatch.setattr(Memory, "input", too_large)
    np.testing.assert_allclose(routine(x, y, b), whole, rtol=1e-5)
    assert max(asked) > 3000 > asked[-1]
    monkeypatch.setattr(Memory, "input", lambda memory, array: too_large(memory, np.empty(1000)))
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        routine(x, y, b)
    monkeypatch.undo()
    np.testing.assert_array_equal(routine(x, y, b), whole)


@pytest.mark.parametrize("limit", [0, -5, True, "many", "5 apples", 0.5, ""])
def test_limits_that_are_none(limit):
    x, y, b = gaussian_arrays()
    with pytest.raises(OptionError, match=r"max_memory is a number of bytes, or text such as '512MB'"):
        Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)(x, y, b, max_memory=limit)
    with pytest.raises(OptionError, match="max_memory"):
        clreduce.set_max_memory(limit)


def test_a_limit_below_the_smallest_block(device):
    x, y, b = gaussian_arrays()
    with pytest.raises(OutOfMemoryError, match=r"smallest block of this call, \d+ rows by \d+ columns, takes [\d,]+"):
        Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)(x, y, b, max_memory=100)
    with pytest.raises(MemoryError):
        Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)(x, y, b, max_memory="1B")


def test_the_environment_and_the_program_set_limits(device, monkeypatch):
    assert memory_limit() is None
    monkeypatch.setenv("CLREDUCE_MAX_MEMORY", "20KB")
    x, y, b = gaussian_arrays(rows=1000)
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    assert memory_limit() == 20_000
    assert routine.memory_estimate(x, y, b).blocks > 1
    clreduce.set_max_memory("1GB")
    try:
        assert routine.memory_estimate(x, y, b).blocks == 1
    finally:
        clreduce.set_max_memory(None)
    estimate = routine.memory_estimate(x, y, b, max_memory="15KB")
    assert estimate.blocks > 1
    assert estimate.total <= 15_000 < estimate.host
    assert estimate.seconds > 0
    assert "blocks" in repr(estimate)
    monkeypatch.setenv("CLREDUCE_MAX_MEMORY", "lots")
    with pytest.raises(OptionError, match="CLREDUCE_MAX_MEMORY"):
        routine(x, y, b)


def test_states_that_do_not_belong_together(device):
    x, y, b = gaussian_arrays()
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    one, two = routine.partial(x, y[:300], b[:300]), routine.partial(x, y[300:], b[300:], first_column=300)
    np.testing.assert_allclose(routine.finish(one.merge(two)), routine(x, y, b), rtol=1e-5, atol=1e-5)
    for before, after in ((two, one), (one, one), (one, routine.partial(x[:9], y[300:], b[300:], first_column=300))):
        with pytest.raises(ShapeError, match="adjacent columns"):
            before.merge(after)


def test_states_with_ranges(device):
    """Ranges of a part count from its first row and column; the parts give what the whole gives."""
    x, y, b = gaussian_arrays()
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    blocks, all_rows = np.array([[0, 50], [50, 150]]), np.array([[0, 150]])
    near, far = np.array([[0, 300], [100, 300]]), np.array([[0, 401], [0, 200]])
    whole = np.array([[0, 701], [100, 500]])

    def ranges(intervals, columns):
        back = np.array([[0, columns]]), np.array([1]), all_rows
        return (blocks, np.array([1, 2]), intervals, *back)

    one = routine.partial(x, y[:300], b[:300], ranges=ranges(near, 300))
    two = routine.partial(x, y[300:], b[300:], first_column=300, ranges=ranges(far, 401))
    wanted = routine(x, y, b, ranges=ranges(whole, 701))
    parts = [np.concatenate(routine.finish(state)) for state in (one, two)]
    np.testing.assert_allclose(parts[0] + parts[1], wanted.ravel(), rtol=1e-4, atol=1e-4)


def test_wrong_states(device, recwarn):
    x, y, b = gaussian_arrays()
    routine, other = (Genred(text, ALIASES, "ArgKMin", axis=1, opt_arg=3) for text in ("SqDist(x, y)*b", "(x|y)*b"))
    for wrong in (-1, 1.5, "a", True, None):
        for name in ("first_row", "first_column"):
            with pytest.raises(ShapeError, match=f"{name} must be a whole number from 0"):
                routine.partial(x, y, b, **{name: wrong})
    state = routine.partial(x, y[:2], b[:2])  # fewer columns than K: others may follow
    assert not recwarn.list
    with pytest.raises(ShapeError, match="this state belongs to another routine"):
        other.finish(state)
    with pytest.raises(ShapeError, match="needs a state"):
        routine.finish(x)
    with pytest.raises(ShapeError, match="merge needs another state"):
        state.merge(x)


def test_a_tree_covers_its_region_once():
    """Whatever the budget: all pairs, each once, and no leaf beyond the budget."""

    def cost(region):
        row, column = 12 * region.rows * region.count, 8 * region.columns * region.count
        return Bytes(row + column, 4 * region.rows * region.count, 0, max(row, column))

    for batch in ((), (3,), (2, 3)):
        for total in (10**6, 5000, 2500, 1500, 1000):
            region = Region(100, 90, batch, first_row=7, first_column=11)
            tree = cut(region, cost, Budget(total, 900), Grain(16, 10))
            if tree is None:
                assert not cost(Region(16, 10)).fits(Budget(total, 900))
                continue
            seen = np.zeros((*batch, 100, 90), int)
            for leaf in leaves(tree):
                assert cost(leaf.region).fits(Budget(total, 900))
                place = leaf.region.within(region, Domain.I) + leaf.region.within(region, Domain.J)[len(batch) :]
                seen[place] += 1
            assert (seen == 1).all()


@pytest.mark.parametrize(("formula", "reduction", "count"), [("b * x", "Sum", None), ("b + x", "KMin_ArgKMin", 2)])
def test_rows_that_are_too_long_for_a_kernel(device, formula, reduction, count):
    """They are computed in tiles of components; so are their gradients, and results that are lists."""
    length = 300_000
    rng = np.random.default_rng(0)
    x, b = rng.integers(-9, 9, (2, 1)).astype(float), rng.integers(-9, 9, (5, length)).astype(float)
    routine = Genred(formula, ["x = Vi(1)", f"b = Vj({length})"], reduction, axis=1, opt_arg=count)
    if reduction == "Sum":
        np.testing.assert_array_equal(routine(x, b), (x[:, None] * b).sum(1))
        (gradient,) = routine.vjp(x, b, cotangent=np.ones((2, length)), wrt="b")
        np.testing.assert_array_equal(gradient, np.broadcast_to(x.sum(), b.shape))
    else:
        values, places = routine(x, b)
        order = np.argsort(b, axis=0, kind="stable")[:2]
        np.testing.assert_array_equal(places, np.broadcast_to(order, (2, 2, length)))
        np.testing.assert_array_equal(values, x[:, None] + np.take_along_axis(b, order, 0))


@pytest.mark.parametrize("name", ["ArgMin", "ArgKMin", "Min_ArgMin"])
def test_positions_beyond_32_bits(device, name):
    """Of a part of a call with more than 2^32 rows and columns: numbers are those of the whole, and ties, too."""
    x, y = np.zeros((3, 1)), np.array([[5.0], [2.0], [7.0], [2.0]])
    first = 2**33 + 5
    routine = Genred("(x - y)**2", ["x = Vi(1)", "y = Vj(1)"], name, axis=1, opt_arg=2 if "K" in name else None)
    found = routine.finish(routine.partial(x, y, first_row=2**34, first_column=first))
    places = found[-1] if isinstance(found, tuple) else found
    assert places.tolist() == [[first + 1, first + 3][: places.shape[1]]] * 3
    with pytest.raises(DeviceError, match="need 64 bits"):
        routine.partial(x.astype("float32"), y.astype("float32"), first_column=first)


def test_deterministic_calls_with_ranges_are_not_cut_between_columns(device):
    """They are cut in rows, which changes no bit; where all columns do not fit, an error says so."""
    x, y, b = gaussian_arrays(rows=3000)
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    blocks = np.array([[0, 1400], [1400, 3000]]), np.array([2, 3]), np.array([[0, 90], [100, 701], [400, 600]])
    back = np.array([[0, 400], [400, 701]]), np.array([1, 2]), np.array([[0, 1400], [0, 3000]])
    ranges = (*blocks, *back)
    wanted = routine(x, y, b, ranges=ranges, deterministic=True)
    np.testing.assert_array_equal(routine(x, y, b, ranges=ranges, deterministic=True, max_memory="20KB"), wanted)
    with pytest.raises(OutOfMemoryError, match=r"the smallest block of this call, \d+ rows by 701 columns"):
        routine(x, y, b, ranges=ranges, deterministic=True, max_memory="6KB")

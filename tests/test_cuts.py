"""Any cut of a call = the whole: in rows, in columns, in indices of a batch; by memory, by hand, and in any bracketing.

Cuts in i change no bit, nor do cuts in j where parts of j end. Other cuts in j change sums within rounding, and no
selection.
"""

from __future__ import annotations

import pickle
from random import Random

import numpy as np
import pytest
from oracle import dense as dense_of
from oracle import random_arrays, scale_of

from clreduce.call.executor import OneDevice
from clreduce.call.options import Options
from clreduce.call.states import State
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.ir.op import position, variable
from clreduce.memo import Memo
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.ops.indices import as_real
from clreduce.program import map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.blocks import Parts
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
            own = [
                array[region.within(work.region, slot.domain)]
                for slot, array in zip(program.slots, arrays, strict=True)
            ]
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

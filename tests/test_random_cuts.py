"""Random programs and their gradients, cut at random, give what the whole gives. ``tests/fuzz.py --cuts`` runs more."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_cuts import Cuts, cuts_of, random_cuts
from random_programs import Sample

from clreduce.call.states import State
from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@settings(max_examples=5, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_any_cut_of_a_random_program_is_the_whole(random: Random, device: Device) -> None:
    cuts = random_cuts(random, device.facts.has_double)
    plain = replace(cuts.sample.schedule, lanes=1, rows=1, cols=1)
    cuts = replace(cuts, sample=replace(cuts.sample, schedule=plain))
    wrong = cuts.failures(device)
    assert not wrong, "\n".join([*wrong, str(cuts)])


def test_each_kind_of_case_is_drawn() -> None:
    cases = [random_cuts(Random(n)) for n in range(200)]
    assert {case.sample.reduction for case in cases} == {*REDUCTIONS, *FAMILIES}
    assert {case.batch for case in cases} == {(), (2,), (3,), (1, 2)}
    assert {case.period for case in cases} == {0, 1, 4}
    assert {case.has_ranges for case in cases} == {True, False}
    assert {case.sample.dtype for case in cases} == {"float32", "float64"}
    assert all(cuts_of(case.blob()) == case for case in cases[:20])


@pytest.mark.parametrize(("reduction", "count"), [("Sum", None), ("LogSumExp", None), ("ArgKMin", 2)])
def test_wrong_merges_are_noticed(
    device: Device, monkeypatch: pytest.MonkeyPatch, reduction: str, count: int | None
) -> None:
    """Merges that forget the columns of one state."""
    x, y = variable(("wide", 0), 2, Domain.I), variable(("wide", 1), 2, Domain.J)
    sample = Sample(
        (exp(-squared_distance(x, y)),), reduction, count, 7, 31, "float32", Schedule(lanes=1, cols=1), 0, ()
    )  # fmt: skip
    cuts = Cuts(sample, (), (), 0, False, 0)
    assert not cuts.failures(device)
    merge = State.merge
    monkeypatch.setattr(State, "merge", lambda one, other: State(merge(one, other).work, one.slots))
    assert any("merged from columns" in line for line in cuts.failures(device))

"""Derivatives of selections visit the pairs that were selected, and give what a visit of all pairs gives."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Array

from clreduce.call import work
from clreduce.call.pruning import running, selected_visits
from clreduce.call.pruning.selected_terms import places_of_terms
from clreduce.domain import Domain
from clreduce.ir.op import OPS, constant, position, variable
from clreduce.numpy import Genred
from clreduce.runtime.device import Device
from clreduce.runtime.ranges import Ranges

ROWS, COLUMNS = 40, 60
ALIASES = ["x = Vi(2)", "y = Vj(2)", "p = Pm(1)"]
CASES = {
    "Min": ("p * SqDist(x, y)", None), "Max_ArgMax": ("p * SqDist(x, y)", None), "KMin": ("Norm2(p * (x - y))", 3),
    "Max": ("p * x * y", None),
}  # fmt: skip


@pytest.fixture(autouse=True)
def only_selected(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that calls of few pairs count as large."""
    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 0)
    monkeypatch.setattr(selected_visits, "_ON_GPUS", 0)


def told_of_gradients(routine: Genred[Any]) -> list[running.Skipped]:
    gradients = routine.program.vjp(range(len(routine.program.slots)))
    return [running.LAST[gradient.program] for gradient in gradients]


def data(seed: int, batch: tuple[int, ...] = ()) -> tuple[list[Array], Array]:
    """Points, many of which are equal to each other, and a cotangent for each row."""
    rng = np.random.default_rng(seed)
    x, y = (rng.integers(0, 5, (*batch, count, 2)).astype(np.float32) for count in (ROWS, COLUMNS))
    return [x, y, np.array([1.5], np.float32)], rng.normal(size=(*batch, ROWS, 1)).astype(np.float32)


def test_gradients_visit_what_was_selected(device: Device, plain_kernels: None) -> None:
    for name, (text, count) in CASES.items():
        routine = Genred(text, ALIASES, name, axis=1, opt_arg=count)
        arrays, _ = data(0)
        result = routine(*arrays)
        values = result[0] if isinstance(result, tuple) else result
        cotangent = np.random.default_rng(1).normal(size=values.shape).astype(np.float32)
        whole, selected = (routine.vjp(*arrays, cotangent=cotangent, prune=prune) for prune in (False, True))
        for gradient, other in zip(selected, whole, strict=True):
            np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-4)
        for told in told_of_gradients(routine):
            assert not told.reason
            assert told.visited <= ROWS * values[0].size
        tangents = {"x": np.ones_like(arrays[0]), "y": arrays[1], "p": np.ones(1, np.float32)}
        if name != "KMin":
            continue  # one list of terms stands for all in the other modes, whose kernels take long to compile
        forward, all_pairs = (routine.jvp(*arrays, tangents=tangents, prune=prune) for prune in (True, False))
        np.testing.assert_allclose(forward, all_pairs, rtol=1e-4, atol=1e-4)
        second, of_all_pairs = (
            routine.hvp(*arrays, cotangent=cotangent, tangents=tangents, prune=prune)
            for prune in (True, False)
        )  # fmt: skip
        for gradient, other in zip(second, of_all_pairs, strict=True):
            np.testing.assert_allclose(gradient, other, rtol=1e-3, atol=1e-3)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, COLUMNS), max_size=3), axis=st.integers(0, 1))
def test_gradients_over_ranges(seed: int, cuts: list[int], axis: int, device: Device, plain_kernels: None) -> None:
    """Rows that ranges leave out select nothing."""
    arrays, _ = data(seed)
    rng = np.random.default_rng(seed)
    edges = sorted({0, COLUMNS, *cuts})
    columns, rows = np.stack((edges[:-1], edges[1:]), axis=1), np.array([[0, 10], [10, 30], [30, ROWS]])
    named = rng.random((len(rows), len(columns))) < 0.6
    ranges = (
        rows, np.cumsum(named.sum(axis=1)), columns[np.nonzero(named)[1]],
        columns, np.cumsum(named.sum(axis=0)), rows[np.nonzero(named.T)[1]],
    )  # fmt: skip
    routine = NEAREST[axis]
    cotangent = rng.normal(size=(ROWS if axis else COLUMNS, 2)).astype(np.float32)
    whole, selected = (
        routine.vjp(*arrays, cotangent=cotangent, ranges=ranges, prune=prune)
        for prune in (False, True)
    )  # fmt: skip
    for gradient, other in zip(selected, whole, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-4)


NEAREST = [Genred("p * SqDist(x, y)", ALIASES, "KMin", axis=axis, opt_arg=2) for axis in (0, 1)]


def test_batches(device: Device, plain_kernels: None) -> None:
    """Each index of a batch has selected pairs of its own; what all of them share gets the sum."""
    (x, y, p), cotangent = data(3, (3,))
    routine = Genred("p * SqDist(x, y)", ALIASES, "Min", axis=1)
    whole, selected = (routine.vjp(x, y[:1], p, cotangent=cotangent, prune=prune) for prune in (False, True))
    for gradient, other in zip(selected, whole, strict=True):
        np.testing.assert_allclose(gradient, other, rtol=1e-4, atol=1e-4)


def test_points_that_are_not_selected_do_not_matter(device: Device, plain_kernels: None) -> None:
    """A nan is never selected, and reaches no gradient of another point."""
    arrays, cotangent = data(4)
    arrays[1][7] = np.nan
    routine = Genred("p * SqDist(x, y)", ALIASES, "Min", axis=1)
    in_x, in_y, in_p = routine.vjp(*arrays, cotangent=cotangent)
    for gradient in (in_x, in_y, in_p):
        assert np.isfinite(gradient).all()
    assert (in_y[7] == 0).all()


def test_small_calls_visit_all_pairs_and_explain_tells_of_large_ones(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, cotangent = data(5)
    routine = Genred("3 * p * SqDist(x, y)", ALIASES, "Min", axis=1)
    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 2**12)
    routine.vjp(*arrays, cotangent=cotangent)
    assert "the last gradient in x" not in explanation(routine)
    monkeypatch.setattr(work, "_PAIRS_PER_SELECTED", 0)
    routine.vjp(*arrays, cotangent=cotangent, prune=True)
    assert f"the last gradient in x visited {ROWS} of {ROWS * COLUMNS:,} pairs" in explanation(routine)


def explanation(routine: Genred[Any]) -> str:
    written = io.StringIO()
    routine.explain(file=written)
    return written.getvalue()


def test_tensors_keep_what_the_forward_call_asked_for(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch computes indices along with values; that call skips pairs, too, and second derivatives follow."""
    torch = pytest.importorskip("torch")
    from clreduce.torch import Genred as OfTorch

    monkeypatch.setattr(running, "BLOCK", 8)
    rng = np.random.default_rng(0)
    x, y = (torch.tensor(rng.random((count, 2)), requires_grad=True) for count in (ROWS, COLUMNS))
    routine = OfTorch("SqDist(x, y) + 0.5", ["x = Vi(2)", "y = Vj(2)"], "Min", axis=1)
    gradients = {}
    for prune in (True, False):
        slopes = torch.autograd.grad(routine(x, y, prune=prune).pow(2).sum(), (x, y), create_graph=True)
        seconds = torch.autograd.grad(slopes[0].pow(2).sum(), (x, y))
        gradients[prune] = [*slopes, *seconds]
        if prune:
            assert running.LAST[routine.program.residual].reason == ""
    for selected, whole in zip(gradients[True], gradients[False], strict=True):
        torch.testing.assert_close(selected, whole)


def test_formulas_tell_where_they_are_zero() -> None:
    index, f = variable("index", 2, Domain.I, "index"), variable("f", 2, Domain.IJ)
    j, zero = position(Domain.J), constant(0)
    chosen = OPS["where"](OPS["equal"](j, index), f, zero)
    for term in (
        chosen,
        -chosen,
        chosen * f,
        chosen + chosen,
        chosen - 0 * f,
        OPS["where"](OPS["less"](f, 1), chosen, zero),
    ):
        assert places_of_terms(term, Domain.J) == {index}
        assert places_of_terms(term, Domain.I) is None
    for term in (f, chosen + f, OPS["where"](OPS["equal"](j, index), zero, f), OPS["exp"](chosen)):
        assert places_of_terms(term, Domain.J) is None


@given(data=st.data())
def test_common_pairs_are_those_of_both(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    edges = np.unique([0, rows, *rng.integers(0, rows, 3)])
    blocks = rng.permutation(np.stack((edges[:-1], edges[1:]), axis=1))[: data.draw(st.integers(0, 4))]
    dense, pieces, slices = np.zeros((rows, columns), bool), [], []
    for start, end in blocks:
        for _ in range(int(rng.integers(0, 3))):
            piece = np.sort(rng.integers(0, columns + 1, 2))
            pieces.append(piece)
            dense[start:end, slice(*piece)] = True
        slices.append(len(pieces))
    others = Ranges.of(blocks, np.array(slices, np.int64), np.array(pieces, np.int64).reshape(-1, 2)).once()
    singles = rng.random((rows, columns)) < 0.4
    row, column = np.nonzero(singles)
    some, counts = np.unique(row, return_counts=True)
    pairs = Ranges.of(
        np.stack((some, some + 1), axis=1), np.cumsum(counts), np.stack((column, column + 1), axis=1)
    )  # fmt: skip
    found, both = selected_visits.common(pairs, others), np.zeros_like(dense)
    for owner, piece in zip(found.owners, found.pieces, strict=True):
        both[slice(*found.blocks[owner]), slice(*piece)] = True
    np.testing.assert_array_equal(both, dense & singles)


def test_derivatives_that_read_results_keep_the_tolerance(
    device: Device, plain_kernels: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of 1e-4 of a logarithm of about -2000 would make weights wrong by a fifth."""
    if not device.facts.has_double:
        pytest.skip("rounding errors of float32 would hide those of what is skipped")
    monkeypatch.setattr(running, "BLOCK", 8)
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.random((60, 1)), 0), rng.random((400, 1))
    routine: Genred[Array] = Genred("-300 * SqDist(x, y) - 2000", ["x = Vi(1)", "y = Vj(1)"], "LogSumExp", axis=1)
    weights = np.exp(-300 * (x - y.T) ** 2)
    exact = -600 * ((x - y.T) * weights).sum(1, keepdims=True) / weights.sum(1, keepdims=True)
    (slope,) = routine.vjp(x, y, cotangent=np.ones((60, 1)), wrt=["x"], rtol=1e-4)
    assert (np.abs(slope - exact) <= 1.001e-4 * np.abs(exact) + 1e-9).all()
    (gradient,) = routine.program.vjp([0])
    for program in (routine.program, gradient.program):
        assert running.LAST[program].visited < running.LAST[program].pairs

"""Larger blocks first: pairs that are found from level to level are those that bounds of all pairs find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import Array
from tolerances import excess, random_case

from clreduce.call.pruning import blocks, running
from clreduce.call.pruning.words import Words, pairs_of_words, runs_of_words
from clreduce.numpy import Genred
from clreduce.runtime.device import Device


@pytest.fixture
def many_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few points make several levels."""
    monkeypatch.setattr(running, "BLOCK", 8)
    monkeypatch.setattr(blocks, "ONE_LEVEL", 4)
    monkeypatch.setattr(blocks, "_MASKS", 64)


@st.composite
def masks(draw: st.DrawFn) -> Array:
    """Which pairs of blocks of rows and of columns are in a set."""
    rows, columns = draw(st.integers(0, 5)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.random((rows, columns)) < draw(st.sampled_from([0.0, 0.2, 0.9, 1.0]))


def words_of(mask: Array) -> Words:
    wide = np.pad(mask, ((0, 0), (0, -mask.shape[1] % 16)))
    bits = np.packbits(wide, axis=1, bitorder="little").view("<u2")
    row, group = np.nonzero(bits)
    return Words(bits[row, group], row, group)


@given(mask=masks())
def test_words_hold_pairs_of_blocks(mask: Array) -> None:
    words = words_of(mask)
    np.testing.assert_array_equal(pairs_of_words([words]), np.nonzero(mask))
    found = np.zeros_like(mask)
    for row, first, last in zip(*runs_of_words([words]), strict=True):
        assert not found[row, first : last + 1].any()
        assert first // 16 == last // 16
        found[row, first : last + 1] = True
    np.testing.assert_array_equal(found, mask)


@pytest.mark.parametrize(("rows", "columns"), [(300, 700), (1100, 130), (17, 2100)])
def test_selections_from_level_to_level(
    rows: int, columns: int, many_levels: None, device: Device, plain_kernels: None
) -> None:
    rng = np.random.default_rng(rows)
    x, y = (rng.normal(size=(count, 2)).astype(np.float32) for count in (rows, columns))
    routine = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "KMin_ArgKMin", axis=1, opt_arg=3)
    for result, other in zip(routine(x, y, prune=True), routine(x, y, prune=False), strict=True):
        np.testing.assert_array_equal(result, other)
    assert running.LAST[routine.program].visited < 0.9 * rows * columns


def test_random_sums_from_level_to_level(many_levels: None, device: Device, plain_kernels: None) -> None:
    """Tolerances are kept, whatever part of them larger blocks take."""
    if not device.facts.has_double:
        pytest.skip("rounding errors of float32 would hide those of what is skipped")
    rng = np.random.default_rng(55)  # one softmax, one LogSumExp and one sum
    for _ in range(3):
        assert excess(random_case(rng, rows=700, columns=1100))[0] <= 1


def test_some_blocks_of_rows_tell_how_much_is_visited(
    many_levels: None, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that are far from each other are not joined into one of the next level, which would seem to visit all."""
    monkeypatch.setattr(running, "_SAMPLED", 0)
    monkeypatch.setattr(running, "_PROMISING", -1.0)
    monkeypatch.setattr(blocks, "ONE_LEVEL", 2**10)
    x = np.random.default_rng(0).random((6000, 2), "float32")
    routine = Genred("Exp(-20000 * SqDist(x, y))", ["x = Vi(2)", "y = Vj(2)"], "Sum", axis=1)
    routine(x, x, rtol=1e-6)
    record = running.LAST[routine.program]
    assert record.reason == ""
    assert record.visited < 0.2 * record.pairs

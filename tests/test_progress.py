"""Long calls show how far they are; short ones, and those of programs that want none, write nothing."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import clreduce
from clreduce.errors import OptionError
from clreduce.numpy import Genred, KernelSolve
from clreduce.runtime import progress
from clreduce.runtime.plan_cache import PLANS

ROUTINE = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], axis=1)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(size, dim)).astype("float32") for size, dim in ((400, 2), (300, 2), (300, 1))]


@pytest.fixture
def slow(monkeypatch, device):
    """Kernels of a device that is so slow that it launches a few rows at a time."""
    monkeypatch.setattr(progress, "_LONG", 0.0)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    PLANS.clear()
    plan = ROUTINE.plan("float32")
    plan.pace.first = plan.pace.most = 20_000.0
    monkeypatch.setattr(type(plan.pace), "note", lambda pace, pairs, seconds: None)
    yield
    PLANS.clear()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("CLREDUCE_PROGRESS", raising=False)
    yield
    clreduce.set_progress(None)


def test_a_long_call_shows_its_pairs(slow, arrays, capsys, monkeypatch):
    told = []
    advance = progress.Progress.advance
    monkeypatch.setattr(progress.Progress, "advance", lambda bar, pairs: (told.append(pairs), advance(bar, pairs)))
    clreduce.set_progress(True)
    result = ROUTINE(*arrays)
    shown = capsys.readouterr().err
    assert "clreduce" in shown
    assert "120k" in shown
    assert len(told) > 3
    assert 0 < sum(told) < 120_000  # the last launch ends with the call
    clreduce.set_progress(False)
    np.testing.assert_array_equal(ROUTINE(*arrays), result)
    assert capsys.readouterr().err == ""


def test_a_call_in_blocks_shows_one_bar(slow, arrays, capsys, monkeypatch):
    bars, close = [], progress.Progress.close
    monkeypatch.setattr(progress.Progress, "close", lambda bar: (bars.append(bar), close(bar)))
    clreduce.set_progress(True)
    ROUTINE(*arrays, max_memory="6KB")
    assert capsys.readouterr().err.count(" 0.00/120k") == 1
    (bar,) = bars
    assert bar._visited == 120_000


def test_bars_are_for_terminals_unless_the_environment_says_else(slow, arrays, capsys, monkeypatch):
    ROUTINE(*arrays)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("CLREDUCE_PROGRESS", "1")
    ROUTINE(*arrays)
    assert "clreduce" in capsys.readouterr().err
    monkeypatch.setenv("CLREDUCE_PROGRESS", "0")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    ROUTINE(*arrays)
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("CLREDUCE_PROGRESS")
    assert progress.is_shown()


def test_a_short_call_shows_nothing(device, arrays, capsys):
    clreduce.set_progress(True)
    ROUTINE(*arrays)
    assert capsys.readouterr().err == ""


def test_a_bar_comes_after_its_time(monkeypatch, capsys):
    """When a call has shown that it takes two seconds, and not before; on a clock of its own."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    quick, long = progress.Progress(100.0), progress.Progress(100.0)
    now[0] = 0.5
    quick.advance(50.0)
    long.advance(10.0)
    quick.close()
    assert quick._bar is None
    assert long._bar is not None
    assert long._bar.n == 10.0
    long.close()


def test_an_interrupted_call_closes_its_bar(slow, arrays, capsys, monkeypatch):
    def interrupted(bar, pairs):
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Progress, "advance", interrupted)
    clreduce.set_progress(True)
    with pytest.raises(KeyboardInterrupt):
        ROUTINE(*arrays)
    assert progress.current() is None
    monkeypatch.undo()
    assert ROUTINE(*arrays).shape == (400, 1)


def test_what_set_progress_takes():
    with pytest.raises(OptionError, match="True, False or None"):
        clreduce.set_progress("yes")


def test_set_progress_is_for_solves_and_searches_too(capsys, monkeypatch):
    """Their lines are drawn where nobody says otherwise in the call."""
    monkeypatch.setattr("clreduce.solve.progress._PATIENCE", 0.0)
    x, b = np.random.default_rng(0).normal(size=(50, 2)), np.ones((50, 1))
    solver = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], "b", axis=1)
    for chosen, option, shown in ((True, None, True), (True, False, False), (None, None, False), (False, True, True)):
        clreduce.set_progress(chosen)
        solver(x, x, b, alpha=1.0, progress=option)
        clreduce.set_progress(None)
        assert ("solve [" in capsys.readouterr().err) == shown

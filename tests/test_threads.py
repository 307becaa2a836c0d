"""Passes in threads cover each number once, by the caller alone where no other thread starts, and hand on errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from clreduce.threads import in_threads

AT_EXIT = """
import atexit
import os
import numpy as np
from clreduce.partition import partition

os.cpu_count = lambda: 4
atexit.register(lambda: print(np.sort(partition(np.random.default_rng(0).random((200_000, 2)), 16).order)[-1]))
"""


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)


@pytest.mark.parametrize(("count", "size"), [(0, 4), (3, 4), (4, 4), (1000, 7)])
def test_each_number_is_covered_once(count: int, size: int) -> None:
    numbers: list[int] = []
    in_threads(lambda start, end: numbers.extend(range(start, end)), count, size)
    assert sorted(numbers) == list(range(count))


@pytest.mark.parametrize("allowed", [0, 1])
def test_without_other_threads_the_caller_covers_all(allowed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    start, tried = threading.Thread.start, 0

    def limited(thread: threading.Thread) -> None:
        nonlocal tried
        tried += 1
        if tried > allowed:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    times = np.zeros(1000, int)

    def count(first: int, end: int) -> None:
        times[first:end] += 1

    in_threads(count, 1000, 7)
    assert (times == 1).all()
    assert tried >= 1


def test_points_are_sorted_while_python_exits() -> None:
    """No pool of threads takes work then."""
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("199999\n", "")


def test_errors_reach_the_caller() -> None:
    def fail(start: int, end: int) -> None:
        if start == 8:
            raise ValueError("of the third part")

    with pytest.raises(ValueError, match="of the third part"):
        in_threads(fail, 100, 4)


def test_no_part_begins_after_an_interruption() -> None:
    begun = []

    def interrupted(start: int, end: int) -> None:
        begun.append(start)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(interrupted, 10_000, 1)
    assert len(begun) <= 4


@pytest.mark.filterwarnings("error")
def test_threads_have_the_errstate_of_the_caller() -> None:
    large = np.full(1000, 1e300)

    def work(start: int, end: int) -> None:
        large[start:end] *= 1e300

    with np.errstate(all="ignore"):
        in_threads(work, 1000, 10)
    assert np.isinf(large).all()

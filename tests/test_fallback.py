"""Kernels that a driver refuses: a simpler schedule takes over, and what it computes is right."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.fallback import simpler
from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule
from clreduce.errors import CompileError
from clreduce.numpy import Genred, KernelSolve
from clreduce.runtime import choices
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.plan import Plan, Signature
from clreduce.runtime.plan_cache import PLANS

ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
GAUSSIAN = Genred("Exp(-SqDist(x, y)) * b", ALIASES, "Sum", axis=1)
REFUSED = Schedule(lanes=16, rows=2, cols=4)


@pytest.fixture
def refuse(device: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """``refuse(words)`` has the driver refuse all sources with one of the words, and gives the list of those."""
    build = PROGRAMS.build

    def refusing(*words: str) -> list[str]:
        refused: list[str] = []

        def picky(source: str, *rest: Any) -> Any:
            if any(word in source for word in words):
                refused.append(source)
                raise CompileError(f"refused: {len(refused)}", source=source)
            return build(source, *rest)

        monkeypatch.setattr(PROGRAMS, "build", picky)
        return refused

    monkeypatch.setattr(choices, "choose_schedule", lambda *case: REFUSED)
    PLANS.clear()
    yield refusing
    PLANS.clear()


def arrays(*batch: int) -> list[Any]:
    random = np.random.default_rng(0)
    shapes = (*batch, 19, 2), (*batch, 23, 2), (*batch, 23, 1)
    return [random.uniform(-0.5, 0.5, shape).astype(np.float32) for shape in shapes]


def dense(x: Any, y: Any) -> Any:
    return np.exp(-((x[..., :, None, :] - y[..., None, :, :]).astype(float) ** 2).sum(-1))


def test_a_call_gets_a_simpler_schedule_once(refuse: Any, caplog: pytest.LogCaptureFixture) -> None:
    refused = refuse("float16", "float4")
    x, y, b = arrays()
    with caplog.at_level(logging.WARNING, "clreduce"):
        for _ in range(2):
            np.testing.assert_allclose(GAUSSIAN(x, y, b), dense(x, y) @ b, atol=1e-5)
    assert len(refused) == 3  # two with 16 lanes, one with 4
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert "lanes=16, rows=2, cols=4" in caplog.records[0].getMessage()


def test_batches_ranges_derivatives_and_systems(refuse: Any) -> None:
    refuse("float16")
    x, y, b = arrays(3)
    np.testing.assert_allclose(GAUSSIAN(x, y, b), dense(x, y) @ b, atol=1e-5)
    x, y, b = arrays()
    half = np.array([[0, 10], [10, 19]]), np.array([1, 2]), np.array([[0, 5], [4, 23]])
    kernel = dense(x, y)
    kernel[:10, 5:] = kernel[10:, :4] = 0
    found = GAUSSIAN(x, y, b, ranges=(*half, *(np.zeros(shape, int) for shape in ((0, 2), 0, (0, 2)))))
    np.testing.assert_allclose(found, kernel @ b, atol=1e-5)
    e = np.ones((19, 1), np.float32)
    gradients = GAUSSIAN.vjp(x, y, b, cotangent=e)
    np.testing.assert_allclose(gradients[2], dense(x, y).sum(0)[:, None], atol=1e-5)
    solution = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)(y, y, b, alpha=0.5)
    np.testing.assert_allclose(dense(y, y) @ solution + 0.5 * solution, b, atol=1e-4)


def test_threads_agree_on_the_successor(refuse: Any) -> None:
    refuse("float16")
    x, y, b = arrays()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(GAUSSIAN(x, y, b))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for result in found:
        np.testing.assert_allclose(result, dense(x, y) @ b, atol=1e-5)


def test_the_first_refusal_is_raised_where_nothing_is_left(refuse: Any) -> None:
    refused = refuse("__kernel")
    for _ in range(2):
        with pytest.raises(CompileError, match=r"(?s)refused: 1\n.*Tried:.*lanes=16, rows=2.*lanes=1,") as caught:
            GAUSSIAN(*arrays())
        assert caught.value.source == refused[0]
    assert len(refused) == 4  # with 16 lanes twice, 4 and 1; the second call asks nobody


def test_a_schedule_that_was_asked_for_is_not_replaced(refuse: Any, device: Any) -> None:
    refuse("float16")
    plan = Plan(GAUSSIAN.program, Signature("float32"), device, REFUSED)
    with pytest.raises(CompileError, match="refused: 1"):
        plan(GAUSSIAN._in_slots(arrays()), 19, 23)


@pytest.mark.parametrize("shape", [DIRECT, LOCAL])
def test_every_chain_is_legal_and_ends(shape: str) -> None:
    group = 256 if shape == LOCAL else 1
    schedule = Schedule(lanes=16, rows=4, cols=8, queue=16, prefilter=0, shape=shape, group=group)
    chain = [schedule]
    while (following := simpler(chain[-1])) is not None:
        following.check(DeviceFacts())
        assert following not in chain
        assert (following.tile, following.flush) == (schedule.tile, schedule.flush)
        chain.append(following)
    assert (chain[-1].lanes, chain[-1].group, chain[-1].shape) == (1, 1, DIRECT)

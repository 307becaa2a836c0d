"""Conjugate gradients on a device give what those on the host give: results, reports, derivatives and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest
from test_cl import new_queue, some

import clreduce.cl as front
import clreduce.numpy as host
from clreduce.errors import NotConverged, SolveError
from clreduce.runtime import descent
from clreduce.solve.resident_conjugate import ResidentConjugateGradients

pytestmark = pytest.mark.usefixtures("device", "plain_kernels")


@pytest.fixture(name="on")
def placed(device: Any) -> Callable[[Any], Any]:
    """A copy of an array on the device."""
    queue = new_queue(device)
    return lambda array: cl.array.to_device(queue, np.ascontiguousarray(array))


Problem = tuple[str, list[str], list[Any], dict[str, Any]]


def problem(name: str) -> Problem:
    """A formula, its aliases, its arrays, the unknown last, and options of the solve."""
    (x, b), (many,) = some((70, 3), (70, 1)), some((70, 40))
    options: dict[str, Any] = {"alpha": 0.5, "eps": 1e-5}
    formula, aliases = "Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)"]
    if name == "coupled":
        formula = "Exp(-SqDist(x, y)) * Concat(2 * Elem(b, 0) + Elem(b, 1), Elem(b, 0) + 2 * Elem(b, 1), Elem(b, 2))"
        return formula, [*aliases, "b = Vj(3)"], [x, x, many[:, :3]], options
    if name == "weighted":
        return (
            f"w * {formula}",
            [*aliases, "w = Vi(1)", "b = Vj(1)"],
            [x, x, np.abs(b) + 1, b],
            options | {"alpha": 2.0},
        )
    if name == "batch":
        return formula, [*aliases, "b = Vj(2)"], [np.stack([x, 2 * x]), np.stack([x, 2 * x]), many[:, :2]], options
    columns = {"many columns": 40, "preconditioned": 3}.get(name, 1)
    right = many[:, :columns].copy()
    if name == "preconditioned":
        options["preconditioner"] = "diagonal"
        right[:, 1] = 0  # a system whose solution is zero
    if name == "float64":
        return formula, [*aliases, "b = Vj(1)"], [x.astype(float), x.astype(float), b.astype(float)], options
    if name == "started":
        options["x0"] = some((70, 1))[0]
    return formula, [*aliases, f"b = Vj({columns})"], [x, x, right], options


PROBLEMS = ["plain", "coupled", "weighted", "batch", "many columns", "preconditioned", "float64", "started"]


def solved(module: Any, on: Callable[[Any], Any], name: str, **more: Any) -> Any:
    formula, aliases, arrays, options = problem(name)
    options = {key: on(value) if isinstance(value, np.ndarray) else value for key, value in options.items()}
    solve = module.KernelSolve(formula, aliases, "b", axis=1)
    return solve(*map(on, arrays), info=True, **options, **more)


def check_equal(on: Callable[[Any], Any], name: str) -> None:
    solution, how = solved(front, on, name)
    wanted, known = solved(host, np.ascontiguousarray, name)
    np.testing.assert_allclose(solution.get(), wanted, rtol=1e-3, atol=1e-4)
    assert how.converged
    assert how.residuals.shape == known.residuals.shape
    assert abs(how.iterations - known.iterations) <= 1


@pytest.mark.parametrize("name", PROBLEMS)
def test_solutions_are_those_of_the_host(on: Any, name: str) -> None:
    check_equal(on, name)


@pytest.mark.parametrize("name", PROBLEMS)
def test_work_groups_of_many_items_give_the_same(on: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The layout for GPUs, on any device; its work-groups have 16 items, so that all loops have several turns."""
    layout_of = descent.layout_of

    def for_gpus(facts: Any, *rest: Any) -> Any:
        return layout_of(replace(facts, kind="gpu", max_group=min(16, facts.max_group)), *rest)

    monkeypatch.setattr(descent, "layout_of", for_gpus)
    check_equal(on, name)


@pytest.mark.parametrize("name", ["plain", "batch"])
def test_reports_are_those_of_the_host(on: Any, name: str) -> None:
    told: dict[Any, list[tuple[int, Any]]] = {front: [], host: []}
    for module, place in ((front, on), (host, np.ascontiguousarray)):
        solved(module, place, name, callback=lambda *report, module=module: told[module].append(report), maxiter=6)
    assert [count for count, _ in told[front]] == [count for count, _ in told[host]]
    for (_, here), (_, there) in zip(told[front], told[host], strict=True):
        assert here.shape == there.shape
        np.testing.assert_allclose(here, there, rtol=1e-3)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 12])
def test_iterations_end_at_the_limit(on: Any, limit: int) -> None:
    with pytest.warns(UserWarning, match=f"after {limit} products"):
        _, how = solved(front, on, "plain", maxiter=limit)
    assert (how.iterations, how.reason) == (limit, "maxiter")


def test_an_exception_of_a_callback_comes_through_and_leaves_the_queue_usable(on: Any) -> None:
    def interrupt(count: int, residuals: Any) -> None:
        if count == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solved(front, on, "plain", callback=interrupt)
    check_equal(on, "plain")


def errors(on: Callable[[Any], Any], formula: str, alpha: float) -> list[str]:
    """What solves of a system say, on the device and on the host."""
    x, b = some((40, 1), (40, 1))
    told = []
    for module, place in ((front, on), (host, np.ascontiguousarray)):
        solve = module.KernelSolve(formula, ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
        with pytest.raises((SolveError, NotConverged)) as error:
            solve(place(x), place(x), place(b), alpha=alpha)
        told.append(str(error.value).split(":")[0])
    return told


@pytest.mark.parametrize(
    ("formula", "alpha", "message"),
    [
        ("-Exp(-SqDist(x, y)) * b", 0.01, "not positive definite"),
        ("Cos(3 * (x - y)) * b", -5.0, "not positive definite"),
        ("Exp(x - y - SqDist(x, y)) * b", 20.0, "not symmetric"),
        ("Exp(2000 * x * x) * Exp(-SqDist(x, y)) * b", 1.0, "nan or inf"),
    ],
)
def test_errors_are_those_of_the_host(on: Any, formula: str, alpha: float, message: str) -> None:
    here, there = errors(on, formula, alpha)
    assert message in here
    assert here == there


def test_directions_without_curvature_end_their_own_system(on: Any) -> None:
    """<p, K p> is 0 for one system, which stays as it is; the one beside goes on."""
    (x,) = some((30, 3), dtype="float64")
    x[15:] = 0
    b = np.stack([np.arange(30) >= 15, x @ [1, 2, 3]], axis=1).astype(float)
    results = []
    for module, place in ((front, on), (host, np.ascontiguousarray)):
        solve = module.KernelSolve("(x | y) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], "b", axis=1)
        with pytest.warns(UserWarning, match="rounding allows no less"):
            results.append(solve(place(x), place(x), place(b), alpha=0.0, info=True, maxiter=20)[1])
    here, there = results
    assert here.iterations == there.iterations
    assert here.residuals[0] == there.residuals[0] == 1
    assert here.residuals[1] < 1e-6


def test_solves_on_queues_out_of_order(device: Any) -> None:
    queue = new_queue(device, cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE)
    check_equal(lambda array: cl.array.to_device(queue, np.ascontiguousarray(array)), "plain")


def test_coefficients_of_the_descent_are_those_of_the_host(on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They make the same tridiagonal matrix."""
    made: list[Any] = []
    start = ResidentConjugateGradients.__init__
    monkeypatch.setattr(
        ResidentConjugateGradients, "__init__", lambda self, *rest: made.append(self) or start(self, *rest)
    )
    _, how = solved(front, on, "float64")
    recurrence = made[0].recurrences[0]
    assert len(recurrence.lengths) == how.iterations
    ((diagonal, beside),) = recurrence.tridiagonals()
    x = problem("float64")[2][0]
    matrix = np.exp(-((x[:, None] - x) ** 2).sum(-1)) + 0.5 * np.eye(len(x))
    largest = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))[-1]
    assert largest == pytest.approx(np.linalg.eigvalsh(matrix)[-1], rel=1e-6)

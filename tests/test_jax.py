"""`clreduce.jax`: results, derivatives and batches equal those of dense arrays of JAX, inside and outside of ``jit``.

What a device computes is the same with and without JAX, so tests with many kernels run on the current device only.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import clreduce as cr  # noqa: E402
import clreduce.numpy  # noqa: E402
from clreduce.errors import DtypeError, OptionError, ShapeError, TraceError  # noqa: E402
from clreduce.jax import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj, cluster  # noqa: E402
from clreduce.runtime.launch import Call  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")

ROOT = Path(__file__).resolve().parents[1]
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
KERNEL = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, "Sum", axis=1)
SOLVE = KernelSolve("Exp(-SqDist(x, y) * p) * b", ALIASES, "b", axis=1)
ALL = (0, 1, 2, 3)


enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64


@pytest.fixture(autouse=True)
def in_double_precision() -> Iterator[None]:
    with enable_x64(True):
        yield


def uniform(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).uniform(size=shape)


X, Y, B, P = uniform(4, 3), uniform(5, 3, seed=1), uniform(5, 2), uniform(1)
MANY_X, MANY_P = uniform(8, 4, 3, seed=2), uniform(8, 1, seed=2)


def dense(x: Any, y: Any, b: Any, p: Any) -> Any:
    return jnp.exp(-p * ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)) @ b


def lazy(x: Any, y: Any, b: Any, p: Any) -> Any:
    return (-Vi(x).sqdist(Vj(y)) * Pm(p)).exp() @ b


def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    """A nonlinear function of all numbers of the result, so that cotangents differ."""
    return lambda *args: jnp.sin(function(*args)).sum()


def arrays(*args: Any) -> list[Any]:
    return [jnp.asarray(arg) for arg in args]


def close(found: Any, expected: Any, tolerance: float = 1e-9) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many kernels were launched, by role."""
    counted: Counter[str] = Counter()
    launch = Call._launch

    def counting(self: Call, role: Any, *args: Any) -> None:
        counted["all" if isinstance(role, tuple) else role] += 1
        launch(self, role, *args)

    monkeypatch.setattr(Call, "_launch", counting)
    return counted


# ------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.parametrize("jit", [lambda function: function, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("routine", [KERNEL, lazy], ids=["Genred", "LazyTensor"])
@pytest.mark.parametrize("transform", [jax.value_and_grad, jax.jacfwd])
def test_derivatives_of_a_number(transform: Any, routine: Any, jit: Any) -> None:
    data = arrays(X, Y, B, P)
    close(jit(transform(scalar(routine), ALL))(*data), transform(scalar(dense), ALL)(*data))


@pytest.mark.parametrize("outer", [jax.jacfwd, jax.jacrev])
@pytest.mark.parametrize("inner", [jax.jacfwd, jax.jacrev])
def test_second_derivatives_in_any_modes(outer: Any, inner: Any) -> None:
    data = arrays(X, Y, B, P)
    close(jax.jit(outer(inner(KERNEL, 0), (1, 3)))(*data), outer(inner(dense, 0), (1, 3))(*data))


def test_third_derivatives() -> None:
    data = arrays(X, Y, B, P)

    def third(function: Any) -> Any:
        return jax.jit(jax.grad(lambda p: jax.hessian(scalar(function), 3)(*data[:3], p).sum()))(data[3])

    close(third(KERNEL), third(dense))


@pytest.mark.parametrize(
    ("reduction", "options"),
    [("Sum", {}), ("LogSumExp", {}), ("SumSoftMaxWeight", {"formula2": "b"}), ("Min", {}), ("KMin", {"opt_arg": 2})],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_gradients_are_those_of_finite_differences(reduction: str, options: dict[str, Any]) -> None:
    """Of first and second order, in both modes."""
    formula = "Exp(-SqDist(x, y) * p)" + ("" if options.get("formula2") else " + 0 * Sum(b)")
    routine = Genred(formula, ALIASES, reduction, axis=1, **options)
    check_grads(lambda x, p: routine(x, Y, B, p), arrays(X, P), order=2, atol=1e-5, rtol=1e-5)


def test_indices_have_zero_tangents() -> None:
    nearest = Genred("SqDist(x, y)", ALIASES[:2], "ArgKMin", axis=1, opt_arg=2)
    both = Genred("SqDist(x, y)", ALIASES[:2], "Min_ArgMin", axis=1)
    x, y = arrays(X, Y)

    def dense_distance(x: Any) -> Any:
        return (((x[:, None] - y) ** 2).sum(-1)).min(1).sum()

    indices, tangents = jax.jvp(lambda x: nearest(x, y), (x,), (x,))
    assert tangents.dtype == jax.dtypes.float0
    assert indices.dtype == jnp.int64
    close(jax.jit(jax.grad(lambda x: ((x - y[nearest(x, y)[:, 0]]) ** 2).sum()))(x), jax.grad(dense_distance)(x))

    def by_both(x: Any) -> tuple[Any, Any]:
        least, where = both(x, y)
        return least.sum(), where

    gradient, where = jax.jit(jax.grad(by_both, has_aux=True))(x)
    close(gradient, jax.grad(dense_distance)(x))
    assert where[:, 0].tolist() == nearest(x, y)[:, 0].tolist()


def test_linear_functions_transpose() -> None:
    """A sum is linear in b; so are its tangents and its gradients in theirs, whose transposes lead back."""
    x, y, b, p = arrays(X, Y, B, P)
    push = jax.linearize(lambda x: KERNEL(x, y, b, p), x)[1]
    dense_push = jax.linearize(lambda x: dense(x, y, b, p), x)[1]
    cotangent = jnp.asarray(uniform(4, 2))
    close(push(2 * x), dense_push(2 * x))
    close(jax.linear_transpose(push, x)(cotangent), jax.linear_transpose(dense_push, x)(cotangent))
    pull, dense_pull = (jax.vjp(lambda x, f=f: f(x, y, b, p), x)[1] for f in (KERNEL, dense))
    close(jax.linear_transpose(pull, cotangent)((x,)), jax.linear_transpose(dense_pull, cotangent)((x,)))
    for function in (KERNEL, jax.jit(KERNEL)):
        (found,) = jax.linear_transpose(lambda b, f=function: f(x, y, b, p), b)(cotangent)
        close(found, dense(y, x, cotangent, p))
    with pytest.raises(NotImplementedError, match=r"is not linear in Var\(2, 1, 2\), so it has no transpose"):
        jax.linear_transpose(lambda p: KERNEL(x, y, b, p), p)(cotangent)


def test_solvers_of_jax_take_products() -> None:
    """Those for matrices that are not symmetric ask for the transpose of the product before they run."""
    x, y = arrays(uniform(12, 3), uniform(12, 3, seed=1))
    right = jnp.asarray(uniform(12))

    def product(v: Any) -> Any:
        return v + 0.05 * (-Vi(x).sqdist(Vj(y))).exp() @ v

    solution, _ = jax.scipy.sparse.linalg.gmres(product, right, tol=1e-12)
    close(product(solution), right)
    slope = jax.grad(lambda right: jax.scipy.sparse.linalg.gmres(product, right, tol=1e-12)[0].sum())(right)
    close(jax.linear_transpose(product, right)(slope)[0], jnp.ones(12))


def test_methods_of_a_routine_are_followed() -> None:
    data = arrays(X, Y, B, P)
    cotangent = jnp.asarray(uniform(4, 2))
    pulled = jax.jit(lambda *args: KERNEL.vjp(*args, cotangent=cotangent))(*data)
    close(pulled, jax.vjp(dense, *data)[1](cotangent))
    pushed = jax.jit(lambda x, *args: KERNEL.jvp(x, *args, tangents={"x": x}))(*data)
    close(pushed, jax.jvp(lambda x: dense(x, *data[1:]), (data[0],), (data[0],))[1])


# ----------------------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("axes", [(0, None, None, None), (0, None, None, 0), (None, None, None, 0)])
def test_vmap_is_a_batch(axes: tuple[int | None, ...], launches: Counter[str]) -> None:
    """The results, gradients and Hessians for each of 8 problems take the kernels that one problem takes."""
    one = arrays(X, Y, B, P)
    many = [
        jnp.asarray(wide) if axis == 0 else array
        for axis, wide, array in zip(axes, (MANY_X, 0, 0, MANY_P), one, strict=True)
    ]

    def count(function: Callable[..., Any], *args: Any) -> tuple[Any, dict[str, int]]:
        launches.clear()
        result = jax.block_until_ready(function(*args))
        return result, dict(launches)

    for of_kernel, of_dense in (
        (KERNEL, dense), (jax.grad(scalar(KERNEL), ALL), jax.grad(scalar(dense), ALL)),
        (jax.hessian(scalar(KERNEL), 3), jax.hessian(scalar(dense), 3)),
    ):  # fmt: skip
        found, batched = count(jax.jit(jax.vmap(of_kernel, axes)), *many)
        _, single = count(jax.jit(of_kernel), *one)
        close(found, jax.vmap(of_dense, axes)(*many))
        assert batched == single != {}


def test_nested_batches(launches: Counter[str]) -> None:
    x, p = jnp.asarray(np.moveaxis(MANY_X, 0, 2)), jnp.asarray(MANY_P[:3])
    y, b = arrays(Y, B)

    def nested(function: Any) -> Any:
        return jax.vmap(jax.vmap(function, (2, None, None, None), 1), (None, None, None, 0))(x, y, b, p)

    close(nested(lazy), nested(dense))
    launches.clear()
    nested(KERNEL)
    assert launches == {"pair": 1}


def test_gradients_through_batches() -> None:
    """The gradient of a sum over problems, in what serves all of them, adds up."""
    data = [jnp.asarray(MANY_X), *arrays(Y, B, P)]

    def loss(function: Any) -> Any:
        return lambda *args: jnp.sin(jax.vmap(function, (0, None, None, None))(*args)).sum()

    close(jax.jit(jax.grad(loss(KERNEL), ALL))(*data), jax.grad(loss(dense), ALL)(*data))


# ---------------------------------------------------------------------------------------- compiled functions, programs


def test_a_training_loop() -> None:
    """A loop that JAX compiles, with a checkpoint inside, gives what the dense one gives step by step."""
    x, y, b, p = arrays(X, Y, B, P)

    def step(function: Any, b: Any, _: Any) -> tuple[Any, Any]:
        loss, gradient = jax.value_and_grad(lambda b: (jax.checkpoint(function)(x, y, b, p) ** 2).mean())(b)
        return b - 0.1 * gradient, loss

    trained, losses = jax.jit(lambda b: jax.lax.scan(partial(step, KERNEL), b, None, length=20))(b)
    expected = b
    for loss in losses:
        expected, dense_loss = step(dense, expected, None)
        close(loss, dense_loss)
    close(trained, expected)
    assert losses[-1] < losses[0] / 2


def test_one_compiled_function_serves_all_values() -> None:
    traced = 0

    @jax.jit
    def function(x: Any, p: Any) -> Any:
        nonlocal traced
        traced += 1
        return KERNEL(x, Y, B, p)

    for p in (0.5, 1.0, 2.0):
        close(function(jnp.asarray(X) * p, jnp.array([p])), dense(X * p, Y, B, jnp.array([p])))
    assert traced == 1


def test_python_decides_while_tracing() -> None:
    """Shapes and options are known while JAX traces; arrays of NumPy that a function closes over are constants."""

    @partial(jax.jit, static_argnames="axis")
    def means(x: Any, axis: int) -> Any:
        K = (-Vi(x).sqdist(Vj(Y))).exp()
        return K.sum(axis=axis) / K.shape[axis] if K.shape[0] < K.shape[1] else K.mean(axis=axis)

    for rows in (4, 5):
        x = uniform(rows, 3)
        table = np.exp(-((x[:, None] - Y) ** 2).sum(-1))
        for axis in (0, 1):
            np.testing.assert_allclose(means(x, axis=axis)[:, 0], table.mean(axis))


def test_single_precision_is_what_jax_has_by_default() -> None:
    with enable_x64(False):
        x = jnp.asarray(X)
        found = KERNEL(x, Y, B, 0.5)  # arrays of NumPy are read as JAX reads them
        assert (found.dtype, KERNEL(x, Y, B, P).dtype) == (jnp.float32, jnp.float32)
        np.testing.assert_allclose(found, dense(X, Y, B, 0.5), rtol=1e-5)
        nearest = Vi(x).sqdist(Vj(jnp.asarray(Y))).argmin(axis=1)
        assert nearest.dtype == jax.jit(lambda x: Vi(x).sqdist(Vj(Y)).argmin(axis=1))(x).dtype == jnp.int32
        counts = Genred("x - y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(jnp.arange(3), jnp.arange(4))
        assert counts.dtype == jnp.float32
        solution = SOLVE(x, x, B[:4], P, alpha=0.1)
        close(jax.jit(lambda x: SOLVE(x, x, B[:4], P, alpha=0.1))(x), solution, 1e-4)
        assert solution.dtype == jnp.float32


def test_numbers_take_the_precision_of_arrays() -> None:
    """So do numbers that JAX traces, which have none of their own: those are weakly typed."""
    x, y, b = (jnp.asarray(array, jnp.float32) for array in (X, Y, B))
    assert jax.jit(KERNEL)(x, y, b, 0.5).dtype == jnp.float32
    assert jax.jit(lambda x, p: (Vi(x) * p).sum(axis=0))(x, 0.5).dtype == jnp.float32
    assert jax.jit(KERNEL)(x, y, b, jnp.float64(0.5)).dtype == jnp.float64
    half = KERNEL(x.astype(jnp.bfloat16), y, b, 0.5), KERNEL(*(a.astype(jnp.bfloat16) for a in (x, y, b)), 0.5)
    assert [one.dtype for one in half] == [jnp.float32, jnp.bfloat16]


def test_complex_numbers() -> None:
    z = jnp.asarray(X[:, 0] + 1j * X[:, 1])

    def waves(y: Any, z: Any) -> Any:
        K = (LazyTensor(z[:, None, None]) * Vj(y[:, :1])).exp()
        return K.sum(axis=1)

    def of_dense(y: Any, z: Any) -> Any:
        return jnp.exp(z[:, None] * y[:, 0]).sum(1)[:, None]

    close(jax.jit(waves)(jnp.asarray(Y), z), of_dense(jnp.asarray(Y), z))
    gradients = [jax.grad(lambda y, f=f: jnp.abs(f(y, z)).sum())(jnp.asarray(Y)) for f in (waves, of_dense)]
    close(*gradients)


def test_empty_arrays() -> None:
    for rows, columns in ((0, 5), (4, 0), (0, 0)):
        x, y, b = jnp.zeros((rows, 3)), jnp.zeros((columns, 3)), jnp.zeros((columns, 2))
        for function in (KERNEL, jax.jit(KERNEL)):
            close(function(x, y, b, P), jnp.zeros((rows, 2)))
        gradients = jax.jit(jax.grad(lambda *args: KERNEL(*args).sum(), ALL))(x, y, b, jnp.asarray(P))
        close(gradients, (jnp.zeros_like(x), jnp.zeros_like(y), jnp.zeros_like(b), jnp.zeros(1)))


def test_ranges_and_options_inside_jit() -> None:
    ranges = tuple(
        np.array(a) for a in ([[0, 2], [2, 4]], [1, 2], [[0, 3], [3, 5]], [[0, 3], [3, 5]], [1, 2], [[0, 2], [2, 4]])
    )
    mask = np.zeros((4, 5))
    mask[:2, :3] = mask[2:, 3:] = 1

    def masked(x: Any) -> Any:
        return (jnp.exp(-P * ((x[:, None] - Y) ** 2).sum(-1)) * mask) @ B

    x = jnp.asarray(X)
    found = jax.jit(jax.value_and_grad(scalar(lambda x: KERNEL(x, Y, B, P, ranges=ranges, max_memory="1MB"))))(x)
    close(found, jax.value_and_grad(scalar(masked))(x))


# ------------------------------------------------------------------------------------------------------------- solves


def solve(x: Any, b: Any, p: Any, alpha: Any) -> Any:
    return SOLVE(x, x, b, p, alpha=alpha, eps=1e-13)


def dense_solve(x: Any, b: Any, p: Any, alpha: Any) -> Any:
    matrix = jnp.exp(-p * ((x[:, None] - x[None]) ** 2).sum(-1))
    return jnp.linalg.solve(matrix + alpha * jnp.eye(len(x)), b)


def test_derivatives_of_solutions() -> None:
    data = arrays(X, B[:4], P, np.array(0.3))
    close(jax.jit(solve)(*data), dense_solve(*data), 1e-8)
    for transform in (jax.grad, jax.jacfwd):
        close(jax.jit(transform(scalar(solve), ALL))(*data), transform(scalar(dense_solve), ALL)(*data), 1e-7)
    close(jax.hessian(scalar(solve), 2)(*data), jax.hessian(scalar(dense_solve), 2)(*data), 1e-6)
    alphas = jnp.array([0.1, 0.3, 1.0])
    found, expected = (
        jax.vmap(jax.grad(scalar(f), (0, 3)), (None, None, None, 0))(*data[:3], alphas) for f in (solve, dense_solve)
    )
    close(found, expected, 1e-7)


def test_derivatives_of_solutions_with_any_operator() -> None:
    """The operator is not symmetric, so gradients are solutions with the transposed one."""
    routine = KernelSolve(
        "Exp(-SqDist(x, y)) * w * b", ["x = Vi(3)", "y = Vj(3)", "w = Vi(1)", "b = Vj(1)"], "b", axis=1
    )

    def of_kernel(x: Any, w: Any, b: Any) -> Any:
        return routine(x, x, w + x[:, :1], b, alpha=1.0, eps=1e-13, solver="gmres")

    def of_dense(x: Any, w: Any, b: Any) -> Any:
        matrix = jnp.exp(-((x[:, None] - x[None]) ** 2).sum(-1)) * (w + x[:, :1])
        return jnp.linalg.solve(matrix + jnp.eye(len(x)), b)

    data = arrays(X, uniform(4, 1), B[:4, :1])
    close(jax.grad(scalar(of_kernel), (0, 1, 2))(*data), jax.grad(scalar(of_dense), (0, 1, 2))(*data), 1e-7)
    close(jax.hessian(scalar(of_kernel), 1)(*data), jax.hessian(scalar(of_dense), 1)(*data), 1e-6)


def test_solutions_start_where_they_are_told() -> None:
    x, b, p, alpha = arrays(X, B[:4], P, np.array(0.3))
    known, how = SOLVE(x, x, b, p, alpha=0.3, eps=1e-13, info=True)
    assert how.iterations > 0
    started = jax.jit(lambda x0: SOLVE(x, x, b, p, alpha=alpha, x0=x0, maxiter=1, eps=1e-9))(known)
    close(started, known)
    K = (-Vi(x).sqdist(Vj(x)) * Pm(p)).exp()
    close(K.solve(b, alpha=0.3, eps=1e-13), known)
    with pytest.raises(TraceError, match="info=True"):
        jax.jit(lambda b: SOLVE(x, x, b, p, info=True))(b)


# ------------------------------------------------------------------------------------------------------------- errors


def test_wrong_arrays_are_told_while_tracing() -> None:
    x, y, b, p = arrays(X, Y, B, P)
    for call in (KERNEL, jax.jit(KERNEL), jax.grad(scalar(KERNEL))):
        with pytest.raises(ShapeError, match=r"x = Vi\(3\) has 3 columns; got an array of shape \(4, 2\)"):
            call(x[:, :2], y, b, p)
        with pytest.raises(ShapeError, match="must have the same number of rows N"):
            call(x, y, b[:3], p)
    with pytest.raises(DtypeError, match="must be a jax array; got"):
        KERNEL(x, y, "b", p)
    with pytest.raises(DtypeError, match="numbers of at most double precision"):
        KERNEL(jax.random.key(0), y, b, p)
    with pytest.raises(OptionError, match="never change"):
        KERNEL(x, y, b, p, out=jnp.zeros((4, 2)))
    with pytest.raises(TraceError, match="outside of jit"):
        jax.jit(lambda x, ranges: KERNEL(x, y, b, p, ranges=(ranges,) * 6))(x, jnp.zeros((1, 2), int))
    with pytest.raises(ShapeError, match="one LazyTensor holds data of jax, the other of numpy"):
        Vi(x) - clreduce.numpy.Vj(Y)


def test_what_depends_on_numbers_is_told_when_it_runs() -> None:
    x, b = arrays(X, B[:4])
    with pytest.raises(jax.errors.JaxRuntimeError, match="nan"):
        jax.block_until_ready(jax.jit(lambda b: SOLVE(x, x, b * jnp.nan, P, alpha=0.1))(b))


def test_arrays_choose_the_front_end() -> None:
    K = cr.Vi(jnp.asarray(X)).sqdist(cr.Vj(jnp.asarray(Y)))
    assert type(K) is LazyTensor
    close(jax.jit(lambda x: cr.Vi(x).sqdist(cr.Vj(jnp.asarray(Y))).sum(axis=1))(jnp.asarray(X)), K.sum(axis=1))
    routine = cr.Genred("SqDist(x, y)", ALIASES[:2], "Sum", axis=1)
    close(jax.jit(routine)(jnp.asarray(X), jnp.asarray(Y)), K.sum(axis=1))


def run(program: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


SPREAD = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from clreduce.errors import DeviceError
from clreduce.jax import Genred
distances = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
sharding = NamedSharding(Mesh(np.array(jax.devices()), ("n",)), PartitionSpec("n"))
x, y = jax.device_put(jnp.zeros((4, 3)), sharding), jnp.ones((5, 3))
mapped = jax.pmap(lambda x: distances(x, y))
for call in (lambda: distances(x, y), lambda: jax.jit(distances)(x, y), lambda: mapped(x.reshape(2, 2, 3))):
    try:
        print(call())
    except DeviceError as error:
        assert "jax.device_put(x, jax.devices()[0])" in str(error)
        print("told")
whole = jax.device_put(x, jax.devices()[0])
print(float(jax.jit(distances)(whole, y).sum()))
there = jax.device_put(x, jax.devices()[1])
for call in (distances, jax.jit(distances), jax.grad(lambda x, y: distances(x, y).sum())):
    assert call(there, y).devices() == {jax.devices()[1]}
    assert not call(jnp.zeros((4, 3)), y).committed
"""


def test_arrays_on_several_devices_are_refused() -> None:
    flags = "--xla_force_host_platform_device_count=2"
    assert run(SPREAD, XLA_FLAGS=flags).split() == ["told", "told", "told", "60.0"]


def test_clusters_have_derivatives_of_what_their_ranges_visit() -> None:
    """Ranges are made of arrays; calls with them are followed."""
    x = jnp.asarray(uniform(30, 2))
    labels = cluster.grid_cluster(x, 0.5)
    ranges, centroids, weights = cluster.cluster_ranges_centroids(x, labels)
    x, labels = cluster.sort_clusters(x, labels)
    assert (centroids.shape[0], weights.shape[0]) == (len(ranges), len(ranges))
    near = ((centroids[:, None] - centroids) ** 2).sum(-1) < 0.3
    routine = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "Sum", axis=1)
    visited = cluster.from_matrix(ranges, ranges, near)

    def masked(x: Any) -> Any:
        return (((x[:, None] - x) ** 2).sum(-1) * near[labels][:, labels]).sum(1)[:, None]

    found = jax.jit(jax.value_and_grad(scalar(lambda x: routine(x, x, ranges=visited))))(x)
    close(found, jax.value_and_grad(scalar(masked))(x))
    with pytest.raises(TraceError, match="outside of jit"):
        jax.jit(lambda x: cluster.grid_cluster(x, 0.5))(x)

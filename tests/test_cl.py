"""`clreduce.cl`: arrays of pyopencl go in and come out, and stay in their context, on their queue."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyopencl as cl
import pyopencl.array
import pytest

import clreduce
import clreduce.cl as front
import clreduce.numpy as host
from clreduce.errors import (
    BackendError,
    ConvergenceWarning,
    DeviceError,
    DtypeError,
    OptionError,
    ShapeError,
    SolveError,
)

pytestmark = pytest.mark.usefixtures("device", "plain_kernels")
OUT_OF_ORDER = cl.command_queue_properties.OUT_OF_ORDER_EXEC_MODE_ENABLE
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"]
GAUSSIAN = "Exp(-SqDist(x, y)) * b"


_CONTEXTS: list[Any] = []
"""Some drivers do not keep the context of a queue alive."""


def new_queue(device: Any, properties: int = 0) -> Any:
    """A queue of the user's, in a context of the user's."""
    _CONTEXTS.append(cl.Context([device.cl_device]))
    return cl.CommandQueue(_CONTEXTS[-1], properties=properties)


@pytest.fixture(params=["in order", "out of order"])
def queue(request: pytest.FixtureRequest, device: Any) -> Any:
    return new_queue(device, OUT_OF_ORDER if request.param == "out of order" else 0)


@pytest.fixture
def in_order(device: Any) -> Any:
    return new_queue(device)


@pytest.fixture
def on(in_order: Any) -> Callable[[Any], Any]:
    """A copy of an array on the device."""
    return lambda array: cl.array.to_device(in_order, np.ascontiguousarray(array))


def some(*shapes: tuple[int, ...], dtype: str = "float32") -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def same(found: Any, wanted: Any, rtol: float = 2e-5) -> None:
    """The same numbers, shape and dtype, on the device."""
    for each, other in zip(found, wanted, strict=True) if isinstance(wanted, tuple) else [(found, wanted)]:
        assert isinstance(each, cl.array.Array)
        assert (each.shape, each.dtype) == (other.shape, other.dtype)
        if each.size:
            np.testing.assert_allclose(each.get(), other, rtol, 1e-5)


class Transfers:
    """Bytes that pass between the host and the device."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @property
    def largest(self) -> int:
        return max(self.sizes, default=0)


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transfers]:
    """Copies and maps of any queue, and buffers that are made of arrays of the host, from now on."""
    noted = Transfers()

    def size_of(value: Any) -> int:
        return value.nbytes if isinstance(value, np.ndarray) else 0

    def watched(function: Any, sized: Callable[..., int]) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            noted.sizes.append(sized(*args, **options))
            return function(*args, **options)

        return call

    copies = watched(cl.enqueue_copy, lambda queue, a, b, **_: max(size_of(a), size_of(b)))
    monkeypatch.setattr(cl, "enqueue_copy", copies)
    maps = watched(cl.enqueue_map_buffer, lambda *args, **_: int(np.prod(args[4])) * 8)
    monkeypatch.setattr(cl, "enqueue_map_buffer", maps)
    buffers = watched(cl.Buffer, lambda *_, hostbuf=None, **__: 0 if hostbuf is None else size_of(hostbuf))
    for module in (cl, importlib.import_module("pyopencl.array").cl):
        monkeypatch.setattr(module, "Buffer", buffers)
    return noted


# ---------------------------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize(
    ("reduction", "options"),
    [("Sum", {}), ("LogSumExp", {}), ("Min_ArgMin", {}), ("KMin_ArgKMin", {"opt_arg": 3}), ("Max_SumShiftExp", {})],
)
def test_results_are_those_of_the_host(queue: Any, reduction: str, options: dict[str, Any]) -> None:
    formula = "Exp(-SqDist(x, y)) * Elem(b, 0)"
    arrays = some((30, 3), (40, 3), (40, 2))
    placed = [cl.array.to_device(queue, array) for array in arrays]
    result = front.Genred(formula, ALIASES, reduction, axis=1, **options)(*placed)
    same(result, host.Genred(formula, ALIASES, reduction, axis=1, **options)(*arrays))
    first = result[0] if isinstance(result, tuple) else result
    assert first.queue == queue
    assert first.context == queue.context


def test_derivatives_are_those_of_the_host_and_stay(queue: Any, transfers: Transfers) -> None:
    arrays, (e,) = some((30, 3), (40, 3), (40, 2)), some((30, 2))
    placed, incoming = [cl.array.to_device(queue, array) for array in arrays], cl.array.to_device(queue, e)
    here, there = (module.Genred(GAUSSIAN, ALIASES, "Sum", axis=1) for module in (front, host))
    transfers.sizes.clear()
    gradients = here.vjp(*placed, cotangent=incoming)
    one = here.grad("x")(*placed, incoming)
    forward = here.jvp(*placed, tangents={"x": placed[0]})
    second = here.hvp(*placed, cotangent=incoming, tangents={"y": placed[1]})
    assert transfers.largest == 0
    same(gradients, there.vjp(*arrays, cotangent=e))
    same(one, there.grad("x")(*arrays, e))
    same(forward, there.jvp(*arrays, tangents={"x": arrays[0]}))
    same(second, there.hvp(*arrays, cotangent=e, tangents={"y": arrays[1]}))


def test_gradients_of_residuals_and_selections(on: Any) -> None:
    x, y, e = some((20, 2), (30, 2), (20, 1))
    for reduction in ("LogSumExp", "Min"):
        here, there = (
            module.Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], reduction, axis=1) for module in (front, host)
        )
        same(here.vjp(on(x), on(y), cotangent=on(e)), there.vjp(x, y, cotangent=e), rtol=1e-4)


def test_a_batch_whose_arrays_are_shared_by_some_indices(on: Any) -> None:
    x, y, b, e = some((2, 1, 10, 3), (1, 3, 12, 3), (12, 2), (2, 3, 10, 2))
    here, there = (module.Genred(GAUSSIAN, ALIASES, "Sum", axis=1) for module in (front, host))
    same(here(on(x), on(y), on(b)), there(x, y, b))
    same(here.vjp(on(x), on(y), on(b), cotangent=on(e)), there.vjp(x, y, b, cotangent=e))


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64", "bool"])
def test_other_dtypes_are_converted_on_the_device(on: Any, transfers: Transfers, dtype: str) -> None:
    dim = 2 if dtype.startswith("complex") else 1
    x, y = (4 * array if dtype == "int32" else array for array in some((9, 1), (8, 1), dtype="float64"))
    x, y = x.astype(dtype), y.astype(dtype)
    placed = on(x), on(y)
    transfers.sizes.clear()
    here, there = (
        module.Genred("SqDist(x, y)", [f"x = Vi({dim})", f"y = Vj({dim})"], "Sum", axis=1) for module in (front, host)
    )
    result = here(*placed)
    assert transfers.largest == 0
    same(result, there(x, y), rtol=2e-3 if dtype == "float16" else 2e-5)


def test_parts_of_arrays_and_other_orders_are_read(on: Any) -> None:
    x, y, b = some((60, 8), (3, 41), (43, 2))
    here, there = (module.Genred(GAUSSIAN, ALIASES, "Sum", axis=1) for module in (front, host))
    placed = on(x)[7:37, 1:7:2], on(y).T, on(b)[2:]
    same(here(*placed), there(x[7:37, 1:7:2], y.T, b[2:]))


def test_results_are_written_into_given_arrays(queue: Any) -> None:
    arrays = some((30, 3), (40, 3), (40, 2))
    placed = [cl.array.to_device(queue, array) for array in arrays]
    wanted = host.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)(*arrays)
    routine = front.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)
    for out in (cl.array.empty(queue, (30, 2), "float32"), cl.array.zeros(queue, (33, 2), "float32")[3:]):
        assert routine(*placed, out=out) is out
        same(out, wanted)
    wide = cl.array.zeros(queue, (30, 4), "float32")
    routine(*placed, out=wide[:, 1:3])
    np.testing.assert_allclose(wide.get()[:, 1:3], wanted, 2e-5)
    assert not wide.get()[:, ::3].any()
    with pytest.raises(ShapeError, match="must have shape"):
        routine(*placed, out=wide)


def test_an_output_that_is_an_argument_is_written_last(on: Any) -> None:
    (x,) = some((30, 3))
    placed = on(x)
    front.Genred("x - y", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)(placed, placed, out=placed)
    np.testing.assert_allclose(placed.get(), 30 * x - x.sum(0), 1e-4, 1e-4)


def test_calls_that_are_cut_give_the_bits_of_the_host(on: Any) -> None:
    arrays = some((500, 3), (3000, 3), (3000, 2))
    placed = list(map(on, arrays))
    for reduction, formula, options in (
        ("Sum", GAUSSIAN, {}), ("ArgKMin", "SqDist(x, y) + 0 * Elem(b, 0)", {"opt_arg": 3}),
    ):  # fmt: skip
        here, there = (module.Genred(formula, ALIASES, reduction, axis=1, **options) for module in (front, host))
        assert (here(*placed, max_memory=40_000).get() == there(*arrays, max_memory=40_000)).all()


def test_sums_in_double_precision(on: Any) -> None:
    arrays = some((30, 3), (400, 3), (400, 2))
    here, there = (module.Genred(GAUSSIAN, ALIASES, "Sum", axis=1, dtype_acc="float64") for module in (front, host))
    same(here(*map(on, arrays)), there(*arrays), rtol=1e-7)


def test_lists_of_infinite_terms_are_completed_on_the_device(on: Any, transfers: Transfers) -> None:
    x, y = np.zeros((3, 1), np.float32), np.array([[np.inf], [1], [np.inf], [0], [np.nan]], np.float32)
    here, there = (
        module.Genred("Abs(x - y)", ["x = Vi(1)", "y = Vj(1)"], "ArgKMin", axis=1, opt_arg=4)
        for module in (front, host)
    )
    placed = on(x), on(y)
    transfers.sizes.clear()
    result = here(*placed)
    assert transfers.largest <= 4 * 8  # the candidates, from the host
    same(result, there(x, y))
    ranges = tuple(np.array(part) for part in ([[0, 1], [1, 3]], [1, 2], [[0, 4], [2, 5]], [[0, 5]], [1], [[0, 3]]))
    same(here(*placed, ranges=ranges), there(x, y, ranges=ranges))


def test_nothing_to_reduce(on: Any) -> None:
    x, y, b = some((4, 3), (0, 3), (0, 2))
    placed = [
        cl.array.empty(on(x).queue, array.shape, array.dtype) if not array.size else on(array) for array in (x, y, b)
    ]
    same(front.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)(*placed), np.zeros((4, 2), np.float32))
    same(front.Genred(GAUSSIAN, ALIASES, "Sum", axis=0)(*placed), np.zeros((0, 2), np.float32))


# ---------------------------------------------------------------------------------------------------------- queues


def test_a_call_waits_for_what_its_arrays_wait_for(device: Any) -> None:
    """On a queue out of order, with an argument whose contents come later."""
    queue = new_queue(device, OUT_OF_ORDER)
    x, y = some((300, 1), (300, 1))
    placed, source = cl.array.zeros(queue, x.shape, x.dtype), cl.array.to_device(queue, x)
    other = cl.array.to_device(queue, y)
    queue.finish()
    gate = cl.UserEvent(queue.context)
    placed.add_event(cl.enqueue_copy(queue, placed.base_data, source.base_data, wait_for=[gate]))
    formula, aliases = "Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"]
    routines = [front.Genred(text, aliases, "Sum", axis=1) for text in (formula, "x + y")]
    try:
        result = routines[0](placed, other)
        after = routines[1](result, other)
        assert result.events[-1].command_execution_status != cl.command_execution_status.COMPLETE
        assert after.events
    finally:
        gate.set_status(cl.command_execution_status.COMPLETE)
    wanted = host.Genred(formula, aliases, "Sum", axis=1)(x, y)
    same(result, wanted)
    same(after, host.Genred("x + y", aliases, "Sum", axis=1)(wanted, y), rtol=1e-4)


def test_what_is_read_is_not_overwritten_before(device: Any) -> None:
    """pyopencl's next kernel on an argument waits for the event that the call left there."""
    queue = new_queue(device, OUT_OF_ORDER)
    x, y = some((200, 1), (20_000, 1))
    placed, other = cl.array.to_device(queue, x), cl.array.to_device(queue, y)
    result = front.Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(placed, other)
    placed.fill(7, wait_for=placed.events)
    same(result, host.Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(x, y))


def test_arrays_of_two_queues_of_one_context(in_order: Any) -> None:
    x, y = some((50, 1), (60, 1))
    second = cl.CommandQueue(in_order.context)
    placed, other = cl.array.to_device(in_order, x), cl.array.to_device(second, y)
    other *= 2  # on its own queue
    result = front.Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(placed, other)
    assert result.queue == in_order
    same(result, host.Genred("Exp(-SqDist(x, y))", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(x, 2 * y))


def test_results_come_from_the_allocator_of_the_arguments(in_order: Any) -> None:
    pool = cl.tools.MemoryPool(cl.tools.ImmediateAllocator(in_order))
    (x,) = some((50, 1))
    placed = cl.array.to_device(in_order, x, allocator=pool)
    before = pool.active_bytes
    result = front.Genred("SqDist(x, y)", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(placed, placed)
    assert pool.active_bytes > before
    assert result.allocator is pool


def test_own_kernels_of_the_user_run_after_ours(in_order: Any) -> None:
    """What clreduce switches off in pyopencl for its own kernels is not missing for others."""
    x = cl.array.to_device(in_order, np.ones(5, np.float32))
    front.Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)(x, x)
    assert ((3 * x + x).get() == 4).all()


# ------------------------------------------------------------------------------------------------------- mistakes


def test_contexts_do_not_mix(device: Any) -> None:
    first, second = (new_queue(device) for _ in range(2))
    (x,) = some((5, 3))
    routine = front.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
    with pytest.raises(DeviceError, match=r"all arrays of a call must be on one device; got x = Vi\(3\).*Context"):
        routine(cl.array.to_device(first, x), cl.array.to_device(second, x))
    with pytest.raises(DeviceError, match="one device"):
        front.Vi(cl.array.to_device(first, x)).sqdist(front.Vj(cl.array.to_device(second, x))).sum(axis=1)


def test_mistakes_are_told(on: Any) -> None:
    (x,) = some((5, 3))
    routine = front.Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
    with pytest.raises(DtypeError, match=r"y = Vj\(3\) must be a pyopencl array.*to_device\(queue, x\)"):
        routine(on(x), x)
    with pytest.raises(DeviceError, match=r"no queue.*with_queue"):
        routine(on(x).with_queue(None), on(x))
    with pytest.raises(
        BackendError, match=r"the call runs on the device of its arrays, so backend .* 'auto'; got 'CPU'"
    ):
        routine(on(x), on(x), backend="CPU")
    with pytest.raises(DtypeError, match=r"out must be a pyopencl array; got ndarray"):
        routine(on(x), on(x), out=np.empty((5, 1), np.float32))


def test_a_queue_is_no_selector_of_devices(in_order: Any) -> None:
    for selector in (in_order, in_order.context):
        with pytest.raises(
            OptionError, match=r"run on a queue of yours if their arrays are there.*to_device\(queue, x\)"
        ):
            clreduce.set_default_device(selector)
    name = in_order.device.name.strip()
    with pytest.raises(OptionError, match=f"name it by words: {re.escape(repr(name))}"):
        clreduce.set_default_device(in_order.device)
    with clreduce.use_device(name) as device:
        assert device.cl_device.name.strip() == name


# ----------------------------------------------------------------------------------------------------- LazyTensors


def gaussian(module: Any, x: Any, y: Any) -> Any:
    return (-((module.Vi(x) - module.Vj(y)) ** 2).sum(-1)).exp()


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "min", "max", "argmin", "argmax", "logsumexp", "var", "count"])
def test_reductions_over_one_axis_and_all(on: Any, name: str) -> None:
    x, y = some((20, 3), (30, 3))
    here, there = gaussian(front, on(x), on(y)), gaussian(host, x, y)
    same(getattr(here, name)(axis=1), getattr(there, name)(axis=1), rtol=1e-4)
    whole, wanted = getattr(here, name)(axis=None), getattr(there, name)(axis=None)
    assert whole.shape == ()
    assert np.allclose(whole.get(), wanted, rtol=1e-4)


def test_methods_of_tensors(on: Any) -> None:
    x, y, v, w = some((20, 3), (30, 3), (30, 2), (4, 20))
    here, there = gaussian(front, on(x), on(y)), gaussian(host, x, y)
    same(here @ on(v), there @ v)
    same(here.__rmatmul__(on(w)), w @ there)
    same(here.T @ on(np.ascontiguousarray(w[0])), there.T @ w[0])
    same(here.dense(), there.dense())
    same(here[3:9, :5].dense(), there[3:9, :5].dense())
    same(here.Kmin_argKmin(3, axis=1), there.Kmin_argKmin(3, axis=1), rtol=1e-4)
    same(here.sumsoftmaxweight(front.Vj(on(v)), axis=1), there.sumsoftmaxweight(host.Vj(v), axis=1))
    assert np.asarray(here).shape == (20, 30)
    assert repr(here)


def test_long_results_are_reduced_in_two_steps(on: Any) -> None:
    (x,) = some((10_001, 1))
    (y,) = some((2, 1))
    here, there = gaussian(front, on(x), on(y)), gaussian(host, x, y)
    for name in ("sum", "max", "argmin"):
        assert np.allclose(getattr(here, name)(axis=None).get(), getattr(there, name)(axis=None), rtol=1e-4)


def test_complex_tensors(on: Any) -> None:
    x, y = some((10, 1), (12, 1))
    b = (np.arange(12) + 1j).astype("complex64")
    here, there = ((1j * gaussian(module, *data)).exp() for module, data in ((front, (on(x), on(y))), (host, (x, y))))
    same(here @ on(b), there @ b)


# ---------------------------------------------------------------------------------------------------------- solves


def pairs(module: Any, on: Any = lambda array: array, **options: Any) -> Any:
    (x,), (b,) = some((200, 3)), some((200, 2))
    solve = module.KernelSolve(GAUSSIAN, ALIASES, "b", axis=1)
    return solve(on(x), on(x), on(b), alpha=0.5, eps=1e-5, info=True, **options)


@pytest.mark.parametrize(
    "options", [{}, {"solver": "minres"}, {"solver": "gmres"}, {"preconditioner": "diagonal"}], ids=str
)
def test_solvers_never_leave_the_device(on: Any, transfers: Transfers, options: dict[str, Any]) -> None:
    placed: list[Any] = []
    solution, how = pairs(
        front, lambda array: placed.append(on(array)) or transfers.sizes.clear() or placed[-1], **options
    )
    assert transfers.largest <= 2 * 8 * 24  # for each of two systems the sums of some steps; a vector is longer
    wanted, known = pairs(host, **options)
    same(solution, wanted, rtol=1e-3)
    assert how.converged
    assert abs(how.iterations - known.iterations) <= 2


def test_a_solve_waits_less_than_once_in_an_iteration(on: Any, transfers: Transfers) -> None:
    (x,), (b,) = some((70, 3)), some((70, 1))
    solve = front.KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "b", axis=1)
    placed = on(x), on(x), on(b)
    transfers.sizes.clear()
    _, how = solve(*placed, alpha=0.05, eps=1e-4, info=True)
    assert how.iterations > 20
    assert len(transfers.sizes) < how.iterations


def test_solves_have_derivatives_on_the_device(on: Any, transfers: Transfers) -> None:
    x, b, e = some((90, 3), (90, 2), (90, 2), dtype="float64")
    here, there = (module.KernelSolve(GAUSSIAN, ALIASES, "b", axis=1) for module in (front, host))
    dx, db, de = on(x), on(b), on(e)
    transfers.sizes.clear()
    gradients = here.vjp(dx, dx, db, cotangent=de, alpha=0.5, wrt=["x", "b", "alpha"], eps=1e-9)
    forward = here.jvp(dx, dx, db, tangents={"x": dx, "alpha": 0.1}, alpha=0.5, eps=1e-9)
    second = here.hvp(dx, dx, db, cotangent=de, tangents={"b": db}, alpha=0.5, eps=1e-9)
    assert transfers.largest <= 2 * 8 * 24
    wanted = there.vjp(x, x, b, cotangent=e, alpha=0.5, wrt=["x", "b", "alpha"], eps=1e-9)
    same(gradients[:2], wanted[:2], rtol=1e-5)
    assert gradients[2] == pytest.approx(wanted[2], rel=1e-5)
    same(forward, there.jvp(x, x, b, tangents={"x": x, "alpha": 0.1}, alpha=0.5, eps=1e-9), rtol=1e-5)
    same(second, there.hvp(x, x, b, cotangent=e, tangents={"b": b}, alpha=0.5, eps=1e-9), rtol=1e-5)


def test_systems_with_factors_batches_and_ranges(on: Any) -> None:
    x, b = some((2, 40, 1, 3), (2, 40, 1))
    (w,) = np.abs(some((40, 1))) + 1

    def solved(module: Any, on: Any) -> Any:
        K = (-((module.LazyTensor(on(x)) - module.LazyTensor(on(x.swapaxes(1, 2)))) ** 2).sum(-1)).exp()
        return (module.Vi(on(w)) * K).solve(on(b), alpha=2.0)

    same(solved(front, on), solved(host, np.ascontiguousarray), rtol=1e-3)


def test_what_works_on_the_host_says_so(on: Any) -> None:
    with pytest.warns(UserWarning, match="works on the host: this solve copies its arrays there once"):
        solution, _ = pairs(front, on, preconditioner=("nystrom", 10))
    same(solution, pairs(host, preconditioner=("nystrom", 10))[0], rtol=1e-3)


def test_a_product_that_is_not_finite_is_an_error(on: Any) -> None:
    x, b = some((30, 1), (30, 1))
    x[3] = np.nan
    K = gaussian(front, on(x), on(x))
    with pytest.raises(SolveError, match="nan or inf"):
        K.solve(on(b), alpha=1.0)


def test_warnings_of_solves_carry_their_residual(on: Any) -> None:
    with pytest.warns(ConvergenceWarning, match="maxiter") as warned:
        pairs(front, on, maxiter=2)
    told = [each.message for each in warned if isinstance(each.message, ConvergenceWarning)]
    assert told[0].residual > 1e-5


# ------------------------------------------------------------------------------------------------- whole algorithms


def test_k_means_never_leaves_the_device(in_order: Any, transfers: Transfers) -> None:
    rng = np.random.default_rng(0)
    middles = np.array([[0, 0], [6, 0], [0, 6]], np.float32)
    x = (middles[rng.integers(0, 3, 900)] + rng.normal(size=(900, 2))).astype(np.float32)
    points, numbers = cl.array.to_device(in_order, x), cl.array.to_device(in_order, np.arange(3, dtype=np.float32))
    centres = cl.array.to_device(in_order, x[:3] + np.float32([[0, 0], [1, 0], [0, 1]]))
    transfers.sizes.clear()
    for _ in range(10):
        labels = front.Vi(points).sqdist(front.Vj(centres)).argmin(axis=1)
        own = front.Vi(numbers[:, None]) == front.Vj(labels.astype(np.float32))
        sums, counts = (own * front.Vj(points)).sum(axis=1), own.sum(axis=1)
        centres = (front.Vi(sums) / front.Vi(counts)).sum(axis=1)
    in_order.finish()
    assert transfers.largest == 0
    nearest = ((middles[:, None] - centres.get()[None]) ** 2).sum(-1).min(1)
    assert (nearest < 0.1).all()

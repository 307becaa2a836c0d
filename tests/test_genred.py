"""`clreduce.numpy.Genred` as users call it: shapes, strides, batches, `out`, derivatives, caches, threads."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from oracle import DTYPES, Array

from clreduce.errors import DeviceError, DtypeError, FormulaError, NotDifferentiableError, OptionError, ShapeError
from clreduce.numpy import Genred
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices, use_device
from clreduce.runtime.plan_cache import PLANS

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
FORMULA = "Exp(-SqDist(x, y) * p) * b"
OVER_J = Genred(FORMULA, ALIASES, "Sum", axis=1)
M, N = 7, 9
SUFFIXES = ("", "_device", "_host")


def terms(x: Array, y: Array, b: Array, p: Any) -> Array:
    """All terms of `FORMULA`, of shape (.., M, N, 2)."""
    p = np.asarray(p, float)[..., None, None, :] if np.ndim(p) > 1 else np.asarray(p, float).reshape(-1)
    distances = ((x[..., :, None, :].astype(float) - y[..., None, :, :]) ** 2).sum(-1, keepdims=True)
    return np.exp(-distances * p) * b[..., None, :, :]


def difference(arrays: Sequence[Array], moves: Mapping[int, Array]) -> Array:
    """The slope of the sum over j along ``moves``, by a central difference."""
    ahead, behind = ([a + s * moves[n] if n in moves else a for n, a in enumerate(arrays)] for s in (1e-6, -1e-6))
    return (terms(*ahead).sum(-2) - terms(*behind).sum(-2)) / 2e-6


def data(dtype: str = "float64", sizes: tuple[int, int] = (M, N), seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    m, n = sizes
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in ((m, 3), (n, 3), (n, 2))] + [np.array([0.7], dtype)]


def close(found: Any, expected: Any, rtol: float = 1e-12) -> None:
    assert np.shape(found) == np.shape(expected)
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale)


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


# ----------------------------------------------------------------------------------------------- sizes and positions


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_sizes(axis: int, dtype: str, device: Device) -> None:
    """Rows and columns of any number, none included; a new size compiles nothing."""
    routine = Genred(FORMULA, ALIASES, "Sum", axis=axis)
    rtol = 1e-12 if dtype == "float64" else 4e-6
    routine(*data(dtype))
    builds = PROGRAMS.builds
    for m in (0, 1, 15, 16, 17):
        for n in (0, 1, 15, 16, 17):
            arrays = data(dtype, (m, n))
            found = routine(*arrays)
            assert found.dtype == np.dtype(dtype)
            close(found, terms(*arrays).sum(-2 if axis == 1 else -3), rtol)
    assert PROGRAMS.builds == builds


@pytest.mark.parametrize("axis", [0, 1])
def test_a_million_rows(axis: int, device: Device) -> None:
    rng = np.random.default_rng(1)
    many, few = rng.uniform(-1, 1, (1_000_003, 1)).astype("float32"), rng.uniform(-1, 1, (5, 1)).astype("float32")
    routine = Genred("x * y + x", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=axis)
    for x, y in ((many, few), (few, many)):
        close(routine(x, y), (x * y.T.astype(float) + x).sum(axis)[:, None], 1e-5)


def test_unused_aliases_define_sizes(device: Device) -> None:
    """They are passed all the same: a Sum over j of what doesn't depend on j is multiplied by N."""
    x, y, *_ = data()
    over_j = Genred("2 * x", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
    close(over_j(x, y), 2 * N * x)
    close(over_j(x, y[:0]), 0 * x)
    over_i = Genred("2 * x", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=0)
    close(over_i(x, y), np.tile(2 * x.sum(0), (N, 1)))
    close(Genred("3 * y", ["y = Vj(3)"], "Sum", axis=0)(y), 3 * y)  # no i-variable: M = 1
    close(Genred("x", ["x = Vi(3)"], "Sum", axis=0)(x), x.sum(0, keepdims=True))
    pulled = over_j.vjp(x, y, cotangent=np.ones((M, 3)))
    close(pulled[0], np.full((M, 3), 2.0 * N))
    close(pulled[1], np.zeros((N, 3)))


def test_positions_out_of_order(device: Device) -> None:
    x, y, b, p = data()
    shuffled = Genred(FORMULA, ["x = Vi(3, 3)", "y = Vj(0, 3)", "b = Vj(2, 2)", "p = Pm(1, 1)"], axis=1)
    close(shuffled(y, p, b, x), terms(x, y, b, p).sum(1))
    by_position = Genred("Exp(-SqDist(Var(0,3,0), Var(1,3,1)) * Var(3,1,2)) * Var(2,2,1)", [], axis=1)
    close(by_position(x, y, b, p), terms(x, y, b, p).sum(1))
    (gradient,) = shuffled.vjp(y, p, b, x, cotangent=np.ones((M, 2)), wrt=["b"])
    close(gradient, by_position.grad(2)(x, y, b, p, np.ones((M, 2))))


# ------------------------------------------------------------------------------------------------------ kinds of arrays

PARAMETERS: dict[str, Callable[[Array], Any]] = {
    "(D,)": lambda p: p, "(1, D)": lambda p: p[None], "0-d": lambda p: p.reshape(()), "NumPy number": lambda p: p[0],
    "float": lambda p: float(p[0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(PARAMETERS))
def test_parameters(kind: str, device: Device) -> None:
    x, y, b, p = data()
    given = PARAMETERS[kind](p)
    close(OVER_J(x, y, b, given), terms(x, y, b, p).sum(1))
    gradient = OVER_J.grad("p")(x, y, b, given, np.ones((M, 2)))
    assert gradient.shape == np.shape(given) or np.isscalar(given)
    close(gradient.ravel(), OVER_J.grad("p")(x, y, b, p, np.ones((M, 2))))
    tangent = OVER_J.jvp(x, y, b, given, tangents={"p": np.ones(np.shape(given))})
    close(tangent.sum(), gradient.sum())


def memory_mapped(array: Array) -> Array:
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
        mapped[:] = array
    return mapped


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "Fortran": np.asfortranarray,
    "every second": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "memory-mapped": memory_mapped,
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_layouts(layout: str, dtype: str, device: Device) -> None:
    """However the numbers lie in memory; arguments stay as they were."""
    *matrices, p = data(dtype)
    given = [LAYOUTS[layout](array) for array in matrices]
    before = [array.copy() for array in given]
    close(OVER_J(*given, p), terms(*before, p).sum(1), 1e-12 if dtype == "float64" else 4e-6)
    cotangent = LAYOUTS[layout](np.ones((M, 2), dtype))
    pulled = OVER_J.vjp(*given, p, cotangent=cotangent)
    close(pulled[2], terms(before[0], before[1], np.ones_like(before[2]), p).sum(0), 4e-6)
    for array, kept in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, kept)


# -------------------------------------------------------------------------------------------------------------- batches

BATCHES = {
    "all": ((2,), (2,), (2,), (2,)), "some": ((2,), (), (2,), ()), "one": ((), (3,), (), ()),
    "ones": ((1, 3), (2, 1), (2, 3), (1, 1)), "parameter": ((), (), (), (2,)), "deeper": ((4, 2, 3), (3,), (2, 1), ()),
    "none": ((0,), (), (), ()),
}  # fmt: skip


def batched(case: str, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    own = ((M, 3), (N, 3), (N, 2), (1,))
    return [rng.uniform(0.2, 1, batch + shape) for batch, shape in zip(BATCHES[case], own, strict=True)]


@pytest.mark.parametrize("case", list(BATCHES))
def test_batches(case: str, device: Device) -> None:
    arrays = batched(case)
    expected = terms(*arrays).sum(-2)
    close(OVER_J(*arrays), expected)
    out = np.empty(expected.shape)
    assert OVER_J(*arrays, out=out) is out
    close(out, expected)


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize("case", list(BATCHES))
def test_gradients_of_batches(case: str, device: Device) -> None:
    """A gradient has its argument's shape: it adds up over the batch dimensions that the argument lacks."""
    arrays, moves = batched(case), batched(case, seed=1)
    cotangent = np.random.default_rng(2).standard_normal(terms(*arrays).sum(-2).shape)
    pulled = OVER_J.vjp(*arrays, cotangent=cotangent)
    for at, (array, move) in enumerate(zip(arrays, moves, strict=True)):
        assert pulled[at].shape == array.shape
        close(np.sum(pulled[at] * move), np.sum(difference(arrays, {at: move}) * cotangent), 1e-7)


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize("case", list(BATCHES))
def test_tangents_of_batches(case: str, device: Device) -> None:
    arrays, moves = batched(case), batched(case, seed=1)
    for chosen in ({1: moves[1]}, dict(enumerate(moves))):
        close(OVER_J.jvp(*arrays, tangents=chosen), difference(arrays, chosen), 1e-7)


# ------------------------------------------------------------------------------------------------------ out, backends


@pytest.mark.parametrize("reduction", ["Sum", "ArgMin"])
def test_out(reduction: str, device: Device) -> None:
    """Any strides; an argument too."""
    routine = Genred(FORMULA, ALIASES, reduction, axis=1)
    arrays = data()
    expected = routine(*arrays)
    wide = np.zeros((2 * M, 4), expected.dtype)
    for out in (np.empty_like(expected), np.empty_like(expected, order="F"), wide[::2, 1:3]):
        assert routine(*arrays, out=out) is out
        np.testing.assert_array_equal(out, expected)
    assert not wide[1::2].any()
    x, y, *_ = data()
    expected = Genred("x * y", ["x = Vi(3)", "y = Vj(3)"], axis=1)(x, y)
    np.testing.assert_array_equal(Genred("x * y", ["x = Vi(3)", "y = Vj(3)"], axis=1)(x, y, out=x), expected)


@pytest.mark.parametrize("spelling", ["auto", "CPU", "GPU", *(f"GPU_{n}D{end}" for n in "12" for end in SUFFIXES)])
def test_backends(spelling: str, device: Device) -> None:
    """Every spelling of the reference names a kind of device; without one the error lists what there is."""
    kind = {"a": device.facts.kind, "C": "cpu", "G": "gpu"}[spelling[0]]
    if any(found.facts.kind == kind for found in devices()):
        close(OVER_J(*data(), backend=spelling), terms(*data()).sum(1))
        close(OVER_J(*data(), backend=spelling, device_id=0), terms(*data()).sum(1))
    else:
        with pytest.raises(DeviceError, match=f"no device fits backend(?s:.*){re.escape(device.name)}"):
            OVER_J(*data(), backend=spelling)


# -------------------------------------------------------------------------------------------------- caches and threads


def test_other_names_build_nothing(device: Device) -> None:
    OVER_J(*data())
    builds, plans = PROGRAMS.builds, len(PLANS)
    renamed = Genred("Exp(-SqDist(u, v) * s) * w", ["s = Pm(1)", "w = Vj(2)", "u = Vi(3)", "v = Vj(3)"], axis=1)
    x, y, b, p = data()
    close(renamed(p, b, x, y), terms(x, y, b, p).sum(1))
    assert (PROGRAMS.builds, len(PLANS)) == (builds, plans)


def test_threads(device: Device) -> None:
    """One routine on one device, called from several threads, also for the first time."""
    PLANS.clear()
    PROGRAMS.clear()
    fresh = Genred(FORMULA, ALIASES, axis=1)

    def work(number: int) -> None:
        with use_device(device):
            for repeat in range(20):
                arrays = data(sizes=(number * 5 + 1, repeat + 1), seed=number)
                close(fresh(*arrays), terms(*arrays).sum(1))
                cotangent = np.ones((number * 5 + 1, 2))
                close(fresh.grad("b")(*arrays, cotangent), terms(*arrays[:2], np.ones((repeat + 1, 2)), 0.7).sum(0))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))  # raises what any of them raised


# ---------------------------------------------------------------------------------------------------------- derivatives


@pytest.mark.usefixtures("plain_kernels")
@pytest.mark.parametrize(
    ("reduction", "axis"), [("Sum", 0), ("LogSumExp", 0), ("LogSumExp", 1), ("Max", 1), ("Min", 0)]
)
def test_derivatives(reduction: str, axis: int, device: Device) -> None:
    """Of all arguments together, by reverse and by forward mode, against differences of the routine itself."""
    routine = Genred(FORMULA, ALIASES, reduction, axis=axis)
    arrays, moves = data(), data(seed=1)
    value = routine(*arrays)
    cotangent = np.random.default_rng(2).standard_normal(value.shape)
    pulled = routine.vjp(*arrays, cotangent=cotangent)
    steps = [[a + s * move for a, move in zip(arrays, moves, strict=True)] for s in (1e-6, -1e-6)]
    slope = (routine(*steps[0]) - routine(*steps[1])) / 2e-6
    for output in (None, value):
        close(routine.jvp(*arrays, tangents=dict(enumerate(moves)), output=output), slope, 1e-7)
    close(sum(np.sum(g * move) for g, move in zip(pulled, moves, strict=True)), np.sum(slope * cotangent), 1e-7)
    chosen = routine.vjp(*arrays, cotangent=cotangent, wrt=["b", 0, "b"], output=value)
    for found, expected in zip(chosen, (pulled[2], pulled[0], pulled[2]), strict=True):
        close(found, expected)


@pytest.mark.parametrize("name", ["x", "y", "b"])
def test_grad_in_the_formula(name: str, device: Device) -> None:
    """Grad(f, v, e), summed over the index that v lacks, is the gradient of the routine in v."""
    arrays = data()
    cotangent = np.random.default_rng(3).standard_normal((M, 2))
    inside = Genred(f"Grad({FORMULA}, {name}, e)", [*ALIASES, "e = Vi(2)"], "Sum", axis=1 if name == "x" else 0)
    close(inside(*arrays, cotangent), OVER_J.grad(name)(*arrays, cotangent))


# ---------------------------------------------------------------------------------------------------- options, explain


@pytest.mark.parametrize("scheme", ["auto", "block_sum", "direct_sum"])
@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp"])
def test_sum_schemes(scheme: str, reduction: str, device: Device) -> None:
    routine = Genred("y + x", ["x = Vi(1)", "y = Vj(1)"], reduction, axis=1, sum_scheme=scheme)
    x, y = np.zeros((1, 1), "float32"), np.full((300_000, 1), 0.1, "float32")
    exact = float(y[0, 0]) * len(y) if reduction == "Sum" else float(y[0, 0]) + np.log(len(y))
    close(routine(x, y), np.array([[exact]]), 1e-3 if scheme == "direct_sum" else 1e-5)
    assert routine.plan("float32", device).schedule.flush == (scheme != "direct_sum")


def test_ignored_options() -> None:
    with pytest.warns(DeprecationWarning, match="ignored"):
        Genred("x", ["x = Vi(1)"], dtype="float32")
    Genred("x", ["x = Vi(1)"], enable_chunks=False, rec_multVar_highdim=True, use_fast_math=False)


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Max", "ArgMax"])
def test_explain(reduction: str, device: Device, capsys: pytest.CaptureFixture[str]) -> None:
    """The formula, what gradients take, the schedule, and the kernels."""
    routine = Genred("SqDist(x, y) * p", ["x = Vi(3)", "y = Vj(3)", "p = Pm(1)"], reduction, axis=0)
    file = io.StringIO()
    routine.explain("float32", file)
    text = file.getvalue()
    assert not capsys.readouterr().out
    for part in ("SqDist(x, y) * p", f"{reduction} over", "x = Vi(0, 3)", "lanes:", "__kernel", str(device)):
        assert part in text
    assert "Simplified formula\n------------------\nSqDist(x, y) * p\n" in text
    has_gradient = reduction != "ArgMax"
    assert ("in x: " in text) == ("in y: " in text) == ("in p: " in text) == has_gradient
    assert has_gradient or "ArgMax has no derivative" in text


def test_explain_shows_the_formula_simplified(device: Device) -> None:
    file = io.StringIO()
    Genred("-(0 - x)*x + 0*y - (y - y)", ["x = Vi(3)", "y = Vj(3)"], axis=1).explain("float32", file)
    assert "Simplified formula\n------------------\nx**2\n" in file.getvalue()


# ------------------------------------------------------------------------------------------------------------- errors

WRONG: dict[str, tuple[Callable[[], Any], type[Exception]]] = {}


def wrong(error: type[Exception], message: str) -> Callable[[Callable[[], Any]], None]:
    """Enter a call that must raise ``error``, with a message that matches."""
    return lambda call: WRONG.update({message: (call, error)})


def made(formula: str = FORMULA, aliases: Any = ALIASES, *rest: Any, **options: Any) -> Genred:
    return Genred(formula, aliases, *rest, **options)


def called(changes: dict[int, Any], **options: Any) -> Any:
    return made(axis=1)(*(changes.get(n, array) for n, array in enumerate(data())), **options)


X, Y, B, PM = data()
wrong(FormulaError, "unknown variable 'z'.*\n  x \\+ z\n      \\^")(lambda: made("x + z"))
wrong(FormulaError, "unknown operation 'Foo'")(lambda: made("Foo(x)"))
wrong(FormulaError, "no meaning")(lambda: made("__import__('os')"))
wrong(FormulaError, "unknown reduction 'Median'; did you mean")(lambda: made(FORMULA, ALIASES, "Median"))
wrong(FormulaError, "a list of texts")(lambda: made("x", "x = Vi(3)"))
wrong(FormulaError, "sum_scheme must be one of auto")(lambda: made(sum_scheme="kahan"))
wrong(FormulaError, "Max does not")(lambda: made(FORMULA, ALIASES, "Max", sum_scheme="block_sum"))
wrong(FormulaError, "takes no opt_arg")(lambda: made(opt_arg=3))
wrong(FormulaError, "dtype_acc must be one of")(lambda: made(dtype_acc="float128"))
wrong(ShapeError, "axis must be 0 .* or 1 .*; got 2")(lambda: made(axis=2))
wrong(OptionError, "by their order, not by name: pass x, y, b, p in this order; got p=")(lambda: made()(X, Y, B, p=PM))
wrong(ShapeError, r"has 3 columns; got an array of shape \(3, \d+\): x.T has those")(lambda: called({0: X.T}))
wrong(FormulaError, "an operator such as")(lambda: made("x y"))
wrong(ShapeError, "x has length 3, b has length 2")(lambda: made("x + b"))
wrong(ShapeError, r"4 arrays are needed \(x = Vi\(3\).*got 2")(lambda: made()(X, Y))
wrong(ShapeError, r"x = Vi\(3\) has 3 columns.*\(7, 2\)")(lambda: called({0: X[:, :2]}))
wrong(ShapeError, r"must have shape \(.., M, 3\); got \(3,\)")(lambda: called({0: X[0]}))
wrong(ShapeError, r"same number of rows N.*\(9, 3\) and \(8, 2\)")(lambda: called({2: B[1:]}))
wrong(ShapeError, r"batch dimensions.*\(2, 7, 3\)")(lambda: called({0: np.stack([X, X]), 1: np.stack([Y, Y, Y])}))
wrong(ShapeError, r"out must have shape \(7, 2\); got \(9, 2\)")(lambda: called({}, out=np.empty((9, 2))))
wrong(DtypeError, "ranges must be a tuple of six arrays")(lambda: called({}, ranges=1))
wrong(ShapeError, "cotangent must have shape")(lambda: made().vjp(X, Y, B, PM, cotangent=X))
wrong(ShapeError, "tangent of b must have shape")(lambda: made().jvp(X, Y, B, PM, tangents={"b": X}))
wrong(ShapeError, "5 arrays|the 4 arrays .* and the cotangent; got 4")(lambda: made().grad("x")(X, Y, B, PM))
wrong(DtypeError, "must be a numpy array; got list")(lambda: called({0: list("abc")}))
wrong(DtypeError, "got bool")(lambda: called({3: True}))
wrong(DtypeError, "out must be float64, .*; got float32")(lambda: called({}, out=np.empty((M, 2), "float32")))
wrong(ShapeError, "out share memory")(
    lambda: Genred("x - y", ["x = Vi(2)", "y = Vj(2)"], "KMin_ArgKMin", axis=1, opt_arg=1)(
        np.zeros((3, 2)), np.zeros((4, 2)), out=((both := np.empty((3, 1, 2))), both.view(np.int64))
    )
)
wrong(ValueError, "out .*(read-only|writ)")(lambda: called({}, out=np.broadcast_to(np.zeros(2), (M, 2))))
wrong(DeviceError, "unknown backend 'cuda'; known are auto, CPU, GPU")(lambda: called({}, backend="cuda"))
wrong(DeviceError, "device_id=99")(lambda: called({}, device_id=99))
wrong(NotDifferentiableError, "no argument 'z'")(lambda: made().grad("z"))
wrong(NotDifferentiableError, "ArgMin has no derivative; these reductions have one: .*Sum")(
    lambda: made(FORMULA, ALIASES, "ArgMin", axis=1).vjp(X, Y, B, PM, cotangent=np.ones((M, 2)))
)


@pytest.mark.parametrize("message", list(WRONG))
def test_errors(message: str) -> None:
    """Each says what was given, what was needed, and where."""
    call, error = WRONG[message]
    with pytest.raises(error, match=f"(?s){message}"):
        call()

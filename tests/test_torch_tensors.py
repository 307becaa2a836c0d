"""Tensors of any dtype, stride and kind, `out`, errors; and that the front end does what the one for NumPy does."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import clreduce.numpy as of_numpy  # noqa: E402
import clreduce.torch as of_torch  # noqa: E402
from clreduce.errors import DeviceError, DtypeError, NotDifferentiableError, ShapeError, TraceError  # noqa: E402
from clreduce.reductions.reduction import FAMILIES, REDUCTIONS, reduction_named  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402
from clreduce.runtime.memory import Memory  # noqa: E402
from clreduce.torch import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
FORMULA = "Exp(-SqDist(x, y) * p) * b"
KERNEL = Genred(FORMULA, ALIASES, "Sum", axis=1)
NEAREST = Genred("SqDist(x, y)", ALIASES[:2], "Min_ArgMin", axis=1)
PRODUCT = Genred("ComplexMult(x, y)", ["x = Vi(4)", "y = Vj(4)"], "Sum", axis=1)
RNG = np.random.default_rng(0)
ARRAYS = [RNG.uniform(0.1, 1, shape) for shape in ((4, 3), (5, 3), (5, 2), (1,))]
X, Y, B, P = (torch.from_numpy(array) for array in ARRAYS)
EXPECTED = torch.exp(-P * ((X[:, None] - Y) ** 2).sum(-1)) @ B


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def same(found: Any, expected: Any) -> None:
    """What the front end for NumPy gives, to the last bit."""
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
        return
    assert type(found) is Tensor
    assert found.numpy().dtype == expected.dtype
    np.testing.assert_array_equal(found.numpy(), expected)


# -------------------------------------------------------------------------------------------------------------- dtypes

TOLERANCES = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 2e-6, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_floats(dtype: torch.dtype, device: Device) -> None:
    """Results and gradients have the dtype of the arguments; short floats are computed in float32 and rounded once."""
    args = [one.to(dtype, copy=True).requires_grad_() for one in (X, Y, B, P)]
    found = KERNEL(*args)
    assert found.dtype == dtype
    exact = [one.detach().double() for one in args]
    expected = torch.exp(-exact[3] * ((exact[0][:, None] - exact[1]) ** 2).sum(-1)) @ exact[2]
    close(found.detach().double(), expected, TOLERANCES[dtype])
    gradients = torch.autograd.grad(found.sum(), args)
    assert [one.dtype for one in gradients] == [dtype] * 4
    reference = KERNEL.vjp(*exact, cotangent=torch.ones(4, 2, dtype=torch.float64))
    for one, other in zip(gradients, reference, strict=True):
        close(one.double(), other, 4 * TOLERANCES[dtype])


NAMES = ["float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "int32", "int64", "uint16", "bool"]


@pytest.mark.parametrize("first", NAMES)
def test_promotion(first: str, device: Device) -> None:
    """As PyTorch's own: integers never widen floats, and alone they have the default dtype."""
    count = Genred("x + 0 * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    one = torch.ones((2, 1), dtype=getattr(torch, first))
    for second in NAMES if first != "uint16" else ["float32", "uint16"]:
        if second == "uint16" != first:
            continue
        other = torch.ones((3, 1), dtype=getattr(torch, second))
        wanted = torch.promote_types(one.dtype, other.dtype)
        found = count(one, other)
        assert found.dtype == (wanted if wanted.is_floating_point else torch.get_default_dtype())
        assert found.tolist() == [[3.0], [3.0]]


def test_default_dtype(device: Device) -> None:
    x, y = torch.tensor([[1], [2]]), torch.tensor([[3]])
    count = Genred("x + 0 * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
    assert count(x, y).dtype == torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert count(x, y).dtype == torch.float64
        assert Genred("p + 0 * x", ["p = Pm(1)", "x = Vi(1)"], "Sum", axis=1)(0.5, x).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_integers_beside_what_is_tracked(device: Device) -> None:
    x, y = torch.tensor([[1, 2, 0]]), Y.clone().requires_grad_()
    found = KERNEL(x, y, B, P)
    expected = torch.exp(-P * ((x[:, None] - y) ** 2).sum(-1)) @ B
    close(found, expected)
    close(torch.autograd.grad(found.sum(), y), torch.autograd.grad(expected.sum(), y))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_complex_numbers(dtype: torch.dtype, device: Device) -> None:
    """They count as pairs; gradients follow PyTorch's convention."""
    tolerance = 1e-5 if dtype == torch.complex64 else 1e-12
    z, w = (torch.randn(n, 2, dtype=dtype, generator=torch.Generator().manual_seed(n)) for n in (3, 4))
    for left, right in ((z, w), (z.conj(), w), (z, w.conj()), (z.mT.contiguous().mH, w)):
        found = PRODUCT(left, right)
        assert found.dtype == left.real.dtype
        close(torch.view_as_complex(found.reshape(3, 2, 2)), left * right.sum(0), tolerance)
    z.requires_grad_()
    cotangent = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=z.real.dtype)
    (found,) = torch.autograd.grad(PRODUCT(z, w.conj()), z, cotangent)
    (expected,) = torch.autograd.grad(torch.view_as_real(z * w.conj().sum(0)).reshape(3, 4), z, cotangent)
    close(found, expected, tolerance)


# --------------------------------------------------------------------------------------------- strides, kinds, memory

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda a: a, "transposed": lambda a: a.mT.contiguous().mT,
    "strided": lambda a: a.repeat_interleave(2, 0).repeat_interleave(3, 1)[::2, ::3],
    "offset": lambda a: torch.cat([a[:1], a])[1:], "flipped view": lambda a: a.flip(0).flip(0),
    "negative": lambda a: torch.complex(a, -a).conj().imag, "imaginary": lambda a: torch.complex(a, a).imag,
    "Parameter": lambda a: nn.Parameter(a.clone()), "Buffer": lambda a: nn.Buffer(a.clone(), persistent=False),
    "tracked": lambda a: a.clone().requires_grad_(), "computed": lambda a: a.clone().requires_grad_() * 1,
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, device: Device) -> None:
    if layout == "Buffer" and not hasattr(nn, "Buffer"):
        pytest.skip("this PyTorch has no Buffer")
    make = LAYOUTS[layout]
    x, y, b = make(X), make(Y), make(B)
    assert layout != "negative" or x.is_neg()
    found = KERNEL(x, y, b, P)
    close(found.detach(), EXPECTED)
    assert type(found) is Tensor
    assert found.requires_grad == x.requires_grad
    if not x.requires_grad:
        x, y, b = (one.detach().requires_grad_() for one in (x, y, b))
        found = KERNEL(x, y, b, P)
    gradients = torch.autograd.grad(found.square().sum(), (x, y, b))
    expected = KERNEL.vjp(X, Y, B, P, cotangent=2 * EXPECTED, wrt=["x", "y", "b"])
    close(gradients, expected)


def test_expanded(device: Device) -> None:
    x, b = X[:1].clone().requires_grad_(), B[:1, :1].clone().requires_grad_()
    found = KERNEL(x.expand(4, 3), Y, b.expand(5, 2), P)
    expected = torch.exp(-P * ((x.expand(4, 3)[:, None] - Y) ** 2).sum(-1)) @ b.expand(5, 2)
    close(found, expected)
    close(*(torch.autograd.grad(one.sin().sum(), (x, b)) for one in (found, expected)))
    batch = KERNEL(X.expand(6, 4, 3), Y, B, P)
    close(batch, EXPECTED.expand(6, 4, 2))


class Points(torch.Tensor):
    """A subclass such as those of geometry libraries."""


def test_subclasses(device: Device) -> None:
    x = X.clone().as_subclass(Points)
    found = KERNEL(x, Y, B, P)
    assert type(found) is Tensor
    close(found, EXPECTED)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(KERNEL(x, Y, B, P).sum(), x)
    close(gradient.as_subclass(Tensor), KERNEL.vjp(X, Y, B, P, cotangent=torch.ones_like(EXPECTED), wrt="x")[0])
    close((Vi(x).sqdist(Vj(Y)) * -P).exp() @ B, EXPECTED)


def test_parameters_of_a_formula(device: Device) -> None:
    """Numbers, vectors of one entry, 0-d tensors; each gets a gradient of its own shape."""
    for p in (float(P), np.float64(P[0]), [float(P)], (float(P),), P, P[0], P[None]):
        found = KERNEL(X, Y, B, p)
        assert found.dtype == torch.float64
        close(found, EXPECTED)
    for shape in ((), (1,), (1, 1)):
        p = P.clone().reshape(shape).requires_grad_()
        (gradient,) = torch.autograd.grad(KERNEL(X, Y, B, p).sum(), p)
        assert gradient.shape == shape
    assert KERNEL(X.float(), Y.float(), B.float(), 0.7).dtype == torch.float32
    assert KERNEL(X.float(), Y.float(), B.float(), P[0]).dtype == torch.float64


@pytest.mark.parametrize("sizes", [(0, 5), (4, 0), (0, 0)])
def test_no_rows(sizes: tuple[int, int], device: Device) -> None:
    m, n = sizes
    x, y, b, p = (one.clone().requires_grad_() for one in (X[:m], Y[:n], B[:n], P))
    found = KERNEL(x, y, b, p)
    assert found.shape == (m, 2)
    assert not found.any()
    gradients = torch.autograd.grad(found.sum(), (x, y, b, p))
    assert [one.shape for one in gradients] == [(m, 3), (n, 3), (n, 2), (1,)]
    assert not any(one.any() for one in gradients)
    empty = KERNEL(x.expand(0, m, 3), y, b, p)
    assert empty.shape == (0, m, 2)
    assert not torch.autograd.grad(empty.sum(), p)[0].any()


def test_memory_is_shared(monkeypatch: pytest.MonkeyPatch, device: Device) -> None:
    """Kernels read contiguous tensors, and write results, where they are."""
    seen: list[int] = []
    given = Memory.input

    def watched(self: Memory, array: np.ndarray[Any, Any]) -> Any:
        seen.append(array.ctypes.data)
        return given(self, array)

    monkeypatch.setattr(Memory, "input", watched)
    x, y, b, p = (one.clone() for one in (X, Y, B, P))
    KERNEL(x, y, b, p)
    assert {one.data_ptr() for one in (x, y, b, p)} <= set(seen)
    seen.clear()
    KERNEL(x.requires_grad_(), y, b.requires_grad_(), p).sum().backward()
    assert {one.data_ptr() for one in (x, y, b, p)} <= set(seen)


def test_results_are_independent(device: Device) -> None:
    """Neither result nor gradient is a view of what another call will write, or of an argument."""
    first, second = KERNEL(X, Y, B, P), KERNEL(2 * X, Y, B, P)
    close(first, EXPECTED)
    second.zero_()
    close(first, EXPECTED)
    x, y = X.clone().requires_grad_(), Y.clone().requires_grad_()
    KERNEL(x, y, B, P).sum().backward()
    kept = y.grad.clone()
    x.grad.fill_(7)
    close(y.grad, kept)
    x.data.zero_()
    close(first, EXPECTED)


def test_nothing_is_kept(device: Device) -> None:
    """Calls, gradients and second derivatives leave no tensor behind."""

    def step() -> None:
        x = X.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(KERNEL(x, Y, B, P).sin().sum(), x, create_graph=True)
        gradient.sin().sum().backward()
        (Vi(x).sqdist(Vj(Y)) * -P).exp() @ B

    def tensors() -> int:
        gc.collect()
        return sum(type(one) is Tensor for one in gc.get_objects())

    step()
    before = tensors()
    for _ in range(3):
        step()
    assert tensors() <= before


# ------------------------------------------------------------------------------------------------------------------ out


@pytest.mark.parametrize("make", [torch.empty, lambda m, n, **k: torch.empty(n, m, **k).T], ids=["rows", "columns"])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_out(dtype: torch.dtype, make: Any, device: Device) -> None:
    args = [one.to(dtype, copy=True) for one in (X, Y, B, P)]
    out = make(4, 2, dtype=dtype)
    version = out._version
    assert KERNEL(*args, out=out) is out
    assert torch.equal(out, KERNEL(*args))
    assert out._version > version
    args[0].requires_grad_()
    out = make(4, 2, dtype=dtype)
    KERNEL(*args, out=out).sum().backward()
    assert torch.equal(args[0].grad, torch.autograd.grad(KERNEL(*args).sum(), args[0])[0])


def test_out_of_several(device: Device) -> None:
    out = torch.empty(4, 1, dtype=torch.float64), torch.empty(4, 1, dtype=torch.int64)
    found = NEAREST(X, Y, out=out)
    assert all(one is other for one, other in zip(found, out, strict=True))
    distances = ((X[:, None] - Y) ** 2).sum(-1).min(1, keepdim=True)
    close(out[0], distances.values)
    assert torch.equal(out[1], distances.indices)
    again = X.clone().requires_grad_(), *out
    values, _ = NEAREST(again[0], Y, out=out)
    assert values is out[0]
    assert values.requires_grad
    assert not out[1].requires_grad


def test_out_where_arguments_are(device: Device) -> None:
    b = B.clone()
    close(KERNEL(X, Y, b, P, out=b[:4]), EXPECTED)
    close(b[:4], EXPECTED)


def test_a_written_tensor_is_not_used_for_gradients(device: Device) -> None:
    """Autograd knows that `out` has changed, although kernels write to its memory."""
    out, w = torch.zeros(4, 2, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64, requires_grad=True)
    product = w * out
    KERNEL(X, Y, B, P, out=out)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


OUTS: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "dtype": (DtypeError, "out must be float64", lambda: torch.empty(4, 2)),
    "shape": (ShapeError, re.escape("out must have shape (4, 2); got (2, 4)"), lambda: torch.empty(2, 4).double()),
    "kind": (DtypeError, "out must be a torch array; got ndarray", lambda: np.empty((4, 2))),
    "expanded": (ShapeError, "some of its entries share memory", lambda: torch.empty(1, 2).double().expand(4, 2)),
    "leaf": (RuntimeError, "leaf", lambda: torch.empty(4, 2, dtype=torch.float64, requires_grad=True)),
    "device": (DeviceError, "out is on meta", lambda: torch.empty(4, 2, dtype=torch.float64, device="meta")),
    "two": (DtypeError, "out must be a torch array; got tuple", lambda: (torch.empty(4, 2),) * 2),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTS)
def test_wrong_out(case: str, device: Device) -> None:
    error, message, make = OUTS[case]
    with pytest.raises(error, match=message):
        KERNEL(X, Y, B, P, out=make())


# --------------------------------------------------------------------------------------------------------------- modes


def test_no_grad(device: Device) -> None:
    x = X.clone().requires_grad_()
    with torch.no_grad():
        assert not KERNEL(x, Y, B, P).requires_grad
    with torch.enable_grad():
        assert KERNEL(x, Y, B, P).requires_grad
    assert not KERNEL(x.detach(), Y, B, P).requires_grad


def test_inference_mode(device: Device) -> None:
    with torch.inference_mode():
        inner = KERNEL(X.clone().requires_grad_(), Y, B, P)
        assert inner.is_inference()
        close(KERNEL(X, Y, inner[:, [0, 1]].repeat(2, 1)[:5], P).shape, torch.Size([4, 2]))
    close(inner, EXPECTED)
    with torch.inference_mode():
        x = X * 1
    assert not KERNEL(x, Y, B, P).requires_grad
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
        KERNEL(x, Y.clone().requires_grad_(), B, P)


def test_autocast_changes_nothing(device: Device) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        close(KERNEL(X, Y, B, P), EXPECTED)
        assert KERNEL(X.float(), Y.float(), B.float(), P.float()).dtype == torch.float32


def test_warnings_are_none(device: Device) -> None:
    """Not even for read-only memory, or gradients that are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = X.clone().requires_grad_()
        y = torch.from_numpy(ARRAYS[1].copy())
        (KERNEL(x, y, B, P).sum() + ((Vi(x).sqdist(Vj(y)) * -P).exp() @ B).sum()).backward()


# --------------------------------------------------------------------------------------------------------------- errors

F8 = torch.float8_e4m3fn
WRONG: dict[str, tuple[type[Exception], str, Callable[[], Any]]] = {
    "array of text": (
        DtypeError, r"y = Vj\(3\) must be a torch array; got ndarray", lambda: KERNEL(X, ARRAYS[1].astype(str), B, P)
    ),
    "masked array": (
        DtypeError, "p = Pm.1. must be a torch array.*write x.filled",
        lambda: KERNEL(X, Y, B, np.ma.masked_less(ARRAYS[3], 0)),
    ),
    "list": (DtypeError, "must be a torch array; got list; write torch.as_tensor", lambda: KERNEL([["a"]], Y, B, P)),
    "float8": (DtypeError, "x = Vi.3. must be .* numbers .*; got float8_e4m3fn", lambda: KERNEL(X.to(F8), Y, B, P)),
    "complex32": (DtypeError, "must be .* numbers .*; got complex32", lambda: KERNEL(X.to(torch.complex32), Y, B, P)),
    "sparse": (DtypeError, "must be .* numbers .*; got torch.sparse_coo", lambda: KERNEL(X.to_sparse(), Y, B, P)),
    "sparse rows": (DtypeError, "torch.sparse_csr", lambda: KERNEL(X, Y, B.to_sparse_csr(), P)),
    "nested": (DtypeError, "no plain shape", lambda: KERNEL(torch.nested.nested_tensor([X, X]), Y, B, P)),
    "mixed devices": (
        DeviceError, r"on one device; got x = Vi\(3\): cpu, y = Vj\(3\): meta", lambda: KERNEL(X, Y.to("meta"), B, P)
    ),
    "meta": (DeviceError, "have no numbers", lambda: KERNEL(*(one.to("meta") for one in (X, Y, B, P)))),
    "columns": (ShapeError, r"x = Vi\(3\) has 3 columns", lambda: KERNEL(X[:, :2], Y, B, P)),
    "vector": (ShapeError, r"must have shape \(.., M, 3\); got \(3,\)", lambda: KERNEL(X[0], Y, B, P)),
    "rows": (ShapeError, "the same number of rows N", lambda: KERNEL(X, Y, B[:3], P)),
    "batches": (ShapeError, "do not broadcast", lambda: KERNEL(X.expand(2, 4, 3), Y.expand(3, 5, 3), B, P)),
    "count": (ShapeError, "4 arrays are needed", lambda: KERNEL(X, Y, B)),
    "ranges": (DtypeError, "ranges must be a tuple", lambda: KERNEL(X, Y, B, P, ranges=X)),
    "ranges of numbers": (DtypeError, "must be a torch array; got int", lambda: KERNEL(X, Y, B, P, ranges=(1,) * 6)),
    "ranges of floats": (DtypeError, "int32 or int64", lambda: KERNEL(X, Y, B, P, ranges=(torch.zeros(1, 2),) * 6)),
    "number of ranges": (ShapeError, "six", lambda: KERNEL(X, Y, B, P, ranges=(torch.zeros(1, 2).int(),) * 5)),
    "cotangent": (ShapeError, "cotangent must have shape", lambda: KERNEL.vjp(X, Y, B, P, cotangent=EXPECTED[:2])),
    "index": (
        NotDifferentiableError, "ArgMin has no derivative",
        lambda: Genred("SqDist(x, y)", ALIASES[:2], "ArgMin", axis=1).vjp(X, Y, cotangent=torch.ones(4, 1)),
    ),
    "lazy text": (ShapeError, "a torch array of shape", lambda: Vi(ARRAYS[0].astype(str))),
    "lazy libraries": (ShapeError, "holds data of torch, the other of numpy", lambda: Vi(X) - of_numpy.Vj(ARRAYS[1])),
    "product with text": (
        ShapeError, "needs a torch array; got ndarray", lambda: Vi(X).sqdist(Vj(Y)) @ ARRAYS[2].astype(str)
    ),
    "product": (ShapeError, "so v needs 5 rows", lambda: Vi(X).sqdist(Vj(Y)) @ B[:3]),
    "lazy devices": (DeviceError, "on one device", lambda: Vi(X).sqdist(Vj(Y)) @ B.to("meta")),
    "alpha": (
        DtypeError, "alpha must be a real number",
        lambda: KernelSolve(FORMULA, ALIASES, "b", axis=1)(X, X, X[:, :2], P.clone().requires_grad_(), alpha=X),
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore:Sparse CSR", "ignore:ComplexHalf")
@pytest.mark.parametrize("case", WRONG)
def test_errors(case: str, device: Device) -> None:
    error, message, call = WRONG[case]
    with pytest.raises(error, match=message) as told:
        call()
    assert type(told.value) is error


def test_indices_have_no_gradient(device: Device) -> None:
    x = X.clone().requires_grad_()
    at = Genred("SqDist(x, y)", ALIASES[:2], "ArgMin", axis=1)(x, Y)
    assert at.dtype == torch.int64
    assert not at.requires_grad
    with pytest.raises(RuntimeError, match="does not require grad"):
        at.sum().backward()
    values, at = NEAREST(x, Y)
    assert (values.requires_grad, at.requires_grad) == (True, False)
    found = Genred("SqDist(x, y) - 1", ALIASES[:2], "Any", axis=1)(x, Y)
    with pytest.raises(NotDifferentiableError, match="Any has no derivative"):
        found.sum().backward()


# ------------------------------------------------------------------------------------------ what the one for NumPy does


def test_names() -> None:
    for own, other in ((of_torch, of_numpy), (of_torch.cluster, of_numpy.cluster)):
        assert own.__all__ == other.__all__
        for name in own.__all__:
            one, known = getattr(own, name), getattr(other, name)
            assert type(one) is type(known)
            assert getattr(one, "__doc__", None) or not getattr(known, "__doc__", None)
            if isinstance(one, type):
                methods = {method for method in dir(known) if not method.startswith("_")}
                assert methods <= {method for method in dir(one) if not method.startswith("_")}


EVERY = [*REDUCTIONS, *FAMILIES]


@pytest.mark.parametrize("name", EVERY)
def test_every_reduction(name: str, device: Device) -> None:
    """Results and derivatives of both front ends are equal to the last bit: they run the same kernels."""
    count = 2 if name in FAMILIES else None
    reduction = reduction_named(name, count)
    options = {"opt_arg": count, "formula2": "b * p" if reduction.formula2 else None}
    formula = "SqDist(x, y) - p" if name != "LogSumExp" else "p - SqDist(x, y)"
    ours, known = (front.Genred(formula, ALIASES, name, 1, **options) for front in (of_torch, of_numpy))
    tensors = [one.clone() for one in (X, Y, B, P)]
    found, expected = ours(*tensors), known(*ARRAYS)
    same(found, expected)
    if not reduction.tangent:
        return
    value = expected[0] if isinstance(expected, tuple) else expected
    cotangent = RNG.uniform(-1, 1, value.shape)
    result = ours(tensors[0].requires_grad_(), *tensors[1:])
    result = result[0] if isinstance(result, tuple) else result
    same(
        torch.autograd.grad(result, tensors[0], torch.from_numpy(cotangent)),
        known.vjp(*ARRAYS, cotangent=cotangent, wrt="x", output=expected),
    )


def test_derivatives_by_name(device: Device) -> None:
    known = of_numpy.Genred(FORMULA, ALIASES, "Sum", axis=1)
    cotangent = EXPECTED.numpy()
    same(KERNEL.vjp(X, Y, B, P, cotangent=EXPECTED), known.vjp(*ARRAYS, cotangent=cotangent))
    same(KERNEL.grad("y")(X, Y, B, P, EXPECTED), known.grad("y")(*ARRAYS, cotangent))
    tangents = {"x": X, 3: P}
    as_arrays = {key: one.numpy() for key, one in tangents.items()}
    same(KERNEL.jvp(X, Y, B, P, tangents=tangents), known.jvp(*ARRAYS, tangents=as_arrays))
    same(
        KERNEL.hvp(X, Y, B, P, cotangent=EXPECTED, tangents=tangents),
        known.hvp(*ARRAYS, cotangent=cotangent, tangents=as_arrays),
    )
    assert KERNEL.memory_estimate(X, Y, B, P) == known.memory_estimate(*ARRAYS)


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    # of the front end, and of a function that makes arrays of it
    "Genred": lambda front, a: front.Genred(FORMULA, ALIASES, axis=1)(*map(a, ARRAYS)),
    "float32": lambda front, a: front.Genred(FORMULA, ALIASES, axis=1)(*(a(one.astype("f")) for one in ARRAYS)),
    "float16": lambda front, a: front.Genred(FORMULA, ALIASES, axis=1)(*(a(one.astype("e")) for one in ARRAYS)),
    "batch": lambda front, a: front.Genred(FORMULA, ALIASES, axis=0)(
        a(np.stack([ARRAYS[0]] * 2)), a(ARRAYS[1]), a(np.stack([ARRAYS[2], -ARRAYS[2]])), 0.5
    ),
    "generic_sum": lambda front, a: front.generic_sum(
        "Exp(-SqDist(x, y)) * b", "a = Vi(2)", "x = Vi(3)", "y = Vj(3)", "b = Vj(2)"
    )(*map(a, ARRAYS[:3])),
    "generic_logsumexp": lambda front, a: front.generic_logsumexp(
        "SqDist(x, y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)"
    )(*map(a, ARRAYS[:2])),
    "generic_argmin": lambda front, a: front.generic_argmin("SqDist(x, y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)")(
        *map(a, ARRAYS[:2])
    ),
    "generic_argkmin": lambda front, a: front.generic_argkmin("SqDist(x, y)", "a = Vi(2)", "x = Vi(3)", "y = Vj(3)")(
        *map(a, ARRAYS[:2])
    ),
    "KernelSolve": lambda front, a: front.KernelSolve(FORMULA, ALIASES, "b", axis=1)(
        a(ARRAYS[1]), a(ARRAYS[1]), a(ARRAYS[2]), a(ARRAYS[3]), alpha=0.1
    ),
    "nystrom": lambda front, a: front.KernelSolve(FORMULA, ALIASES, "b", axis=1)(
        a(ARRAYS[1]), a(ARRAYS[1]), a(ARRAYS[2]), a(ARRAYS[3]), alpha=0.1, preconditioner=front.nystrom(3)
    ),
    "product": lambda front, a: (-front.Vi(a(ARRAYS[0])).sqdist(front.Vj(a(ARRAYS[1])))).exp() @ a(ARRAYS[2]),
    "min over i and j": lambda front, a: (front.Vi(a(ARRAYS[0])) | front.Vj(a(ARRAYS[1]))).min(axis=(0, 1)),
    "sum over all": lambda front, a: (front.Vi(a(ARRAYS[0])) - front.Vj(a(ARRAYS[1]))).sum(axis=(0, 1, 2)),
    "max_argmax": lambda front, a: (front.Vi(a(ARRAYS[0])) | front.Vj(a(ARRAYS[1]))).max_argmax(axis=0),
    "dense": lambda front, a: front.Vi(a(ARRAYS[0])).sqdist(front.Vj(a(ARRAYS[1]))).dense(),
    "diagonal": lambda front, a: front.Vi(a(ARRAYS[1])).sqdist(front.Vj(a(ARRAYS[1]))).diagonal(),
    "solve": lambda front, a: (-front.Vi(a(ARRAYS[1])).sqdist(front.Vj(a(ARRAYS[1])))).exp().solve(
        a(ARRAYS[2]), alpha=0.1
    ),
    "slice": lambda front, a: front.Vi(a(ARRAYS[0]))[1:3, :, :2].concat(front.Vj(a(ARRAYS[1]))).sum(axis=1),
    "complex": lambda front, a: (
        front.Vi(a(ARRAYS[0] * (1 + 2j))) * front.Vj(a(ARRAYS[1] * (1 - 1j)).conj()) + 1j
    ).sum(axis=1),
    "exp1j": lambda front, a: (front.Vi(a(ARRAYS[0])) | front.Vj(a(ARRAYS[1]))).exp1j().sum(axis=1),
    "parameter": lambda front, a: (front.Pm(a(ARRAYS[3])) * front.Vi(a(ARRAYS[0])) + front.Vj(a(ARRAYS[1]))).sum(0),
    "symbols": lambda front, a: (-(front.Vi(0, 3) - front.Vj(1, 3)).abs().sum()).exp().sum(axis=1)(
        *map(a, ARRAYS[:2])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_same_as_numpy(name: str, device: Device) -> None:
    call = CALLS[name]
    same(call(of_torch, torch.from_numpy), call(of_numpy, lambda array: array))


def test_clusters(device: Device) -> None:
    """The helpers find the same clusters, centroids and ranges."""
    points, weights = RNG.uniform(0, 3, (40, 2)), RNG.uniform(0.5, 1, 40)
    points[0] = 0  # both grids begin at the origin

    def made(front: Any, a: Any) -> tuple[Any, ...]:
        x, w = a(points), a(weights)
        labels = front.grid_cluster(x, 1.0)
        own, centroids, totals = front.cluster_ranges_centroids(x, labels, w)
        (x, w), labels = front.sort_clusters((x, w), labels)
        distances = ((centroids[:, None] - centroids[None]) ** 2).sum(-1)
        ranges = front.from_matrix(own, own, distances < 4)
        return labels, own, front.cluster_ranges(labels), centroids, totals, x, w, ranges, front.swap_axes(ranges)

    def check(found: Any, expected: Any) -> None:
        if isinstance(expected, tuple):
            assert len(found) == len(expected)
            for one, other in zip(found, expected, strict=True):
                check(one, other)
        else:
            assert type(found) is Tensor
            assert found.numpy().dtype == expected.dtype
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-15)

    check(made(of_torch.cluster, torch.from_numpy), made(of_numpy.cluster, lambda array: array))


def test_array_free_import() -> None:
    """Only `clreduce.torch` imports PyTorch."""
    code = "import sys, clreduce, clreduce.numpy; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout == "False\n"


# -------------------------------------------------------------------------- PyTorch's functions, complex numbers

LAZY = Vi(X), Vj(Y)
DENSE = X[:, None], Y[None]
FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "elementwise": lambda x, y: torch.exp(-torch.abs(x - y)) + torch.sqrt(x) * torch.sin(y) - torch.rsqrt(x),
    "operators": lambda x, y: torch.add(x, y) / torch.mul(x, 2) - torch.pow(y, 2) + torch.neg(x) + torch.div(1.0, y),
    "reflected": lambda x, y: torch.full((3,), 2.0).double() * x - torch.ones(3).double() / y,
    "special": lambda x, y: torch.special.erf(x - y) + torch.lgamma(x + y) + torch.sigmoid(x) * torch.tanh(y),
    "relu": lambda x, y: torch.nn.functional.relu(x - y),
    "clamp": lambda x, y: torch.clamp(x - y, -0.2, 0.3) + torch.clamp(x, min=0.5) * torch.clip(y, max=0.5),
    "where": lambda x, y: torch.where(x < y, x * y, 0.5),
    "maximum": lambda x, y: torch.maximum(x, y) - torch.minimum(x, y) + torch.max(x, y) * torch.min(x, y),
    "atan2": lambda x, y: torch.atan2(x, y) + torch.remainder(x, y),
    "comparisons": lambda x, y: torch.where(torch.le(x, y) & torch.gt(x, 0.2), 1.0, 0.0) * x,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_pytorch(name: str, device: Device) -> None:
    function = FUNCTIONS[name]
    close(function(*LAZY).sum(axis=1), function(*DENSE).sum(1))


REDUCED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda k: torch.sum(k, dim=1), "mean": lambda k: torch.mean(k, dim=1), "prod": lambda k: torch.prod(k, 1),
    "amin": lambda k: torch.amin(k, dim=0), "amax": lambda k: torch.amax(k, dim=1), "all": lambda k: torch.sum(k),
    "argmin": lambda k: torch.argmin(k, dim=1), "argmax": lambda k: torch.argmax(k, dim=0),
    "logsumexp": lambda k: torch.logsumexp(k, dim=1), "matmul": lambda k: torch.matmul(k, B), 
    "mv": lambda k: k @ B[:, 0], "t": lambda k: torch.matmul(k.T, X), "min": lambda k: torch.min(k, dim=1)[1],
    "topk": lambda k: torch.topk(k, 2, dim=1, largest=False)[0], "shape": lambda k: torch.sum(k, dim=(0, 1)),
    "kept": lambda k: torch.sum(k, dim=0, keepdim=True), "values": lambda k: torch.max(k, dim=0, keepdim=True)[0],
    "norm": lambda k: torch.linalg.norm(k), "count": lambda k: torch.count_nonzero(k > 0.5, dim=1),
    "or": lambda k: torch.all(torch.logical_or(k > 0.5, k <= 0.5) & ((k < 1) | (k > 0)), dim=1),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_of_pytorch(name: str, device: Device) -> None:
    function = REDUCED[name]
    found, expected = function(LAZY[0] | LAZY[1]), function(X @ Y.T)
    assert found.shape == expected.shape
    close(found, expected)


def test_functions_that_are_refused() -> None:
    with pytest.raises(TypeError, match=r"torch\.svd.* of a LazyTensor is not available"):
        torch.svd(LAZY[0])
    with pytest.raises(TypeError, match="where"):
        torch.sum(LAZY[0], dim=1, where=LAZY[0])  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="LazyTensor"):
        torch.cumsum(LAZY[0], dim=1)


def test_complex_lazy_tensors(device: Device) -> None:
    z, w = torch.complex(X, X.flip(0)), torch.complex(Y, -Y)
    lazy, dense = (Vi(z), Vj(w)), (z[:, None], w[None])
    assert isinstance(lazy[0], of_torch.ComplexLazyTensor)

    def function(a: Any, b: Any) -> Any:
        return a * b.conj() - (1 - 2j) * a.exp() / b

    close(function(*lazy).sum(axis=1), function(*dense).sum(1))
    close((lazy[0] * lazy[1]).imag.sum(axis=0), (dense[0] * dense[1]).imag.sum(0))
    close((lazy[0] * lazy[1]).abs().sum(axis=1), (dense[0] * dense[1]).abs().sum(1))
    tracked = z.clone().requires_grad_()
    found = function(Vi(tracked), lazy[1]).sum(axis=1)
    expected = function(tracked[:, None], dense[1]).sum(1)
    close(*(torch.autograd.grad(one.abs().square().sum(), tracked) for one in (found, expected)))


def test_lazy_tensors_of_parameters(device: Device) -> None:
    """Parameters of modules, integers and numbers of PyTorch stand beside tensors."""
    scale = nn.Parameter(P.clone())
    kernel = (-LazyTensor(X[:, None]).sqdist(LazyTensor(Y[None])) * scale).exp()
    found = kernel @ B
    close(found, EXPECTED)
    (gradient,) = torch.autograd.grad(found.sum(), scale)
    assert gradient.shape == (1,)
    close((LAZY[0] * torch.tensor(2.0).double() + torch.tensor(1)).sum(axis=0)[0], (2 * X + 1).sum(0))
    half = (Vi(X.bfloat16()) * Vj(Y.bfloat16())).sum(axis=1)
    assert half.dtype == torch.bfloat16


def test_a_trace_is_refused_with_what_to_use(device: Device) -> None:
    x, y, b = torch.ones(3, 2), torch.ones(4, 2), torch.ones(4, 1)
    routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], axis=1)
    for function in (routine, lambda x, y, b: (Vi(x) - Vj(y)).sqnorm2() @ b):
        with pytest.raises(TraceError, match=r"torch.jit.trace cannot .*Use torch.compile"):
            torch.jit.trace(lambda *args, f=function: f(*args), (x, y, b))
    assert routine(x, y, b).shape == (3, 1)


def test_a_linear_layer_names_its_product(device: Device) -> None:
    layer, x = torch.nn.Linear(2, 3), torch.randn(4, 2)
    y = torch.randn(5, 2)
    K = Vi(x) - Vj(y)
    with pytest.raises(TypeError, match=r"Pm\(weight.flatten\(\)\).matvecmult\(K\) \+ Pm\(bias\)"):
        layer(K)
    found = (Pm(layer.weight.flatten()).matvecmult(K) + Pm(layer.bias)).sum(dim=1)
    torch.testing.assert_close(found, layer(x[:, None] - y).sum(1), rtol=1e-4, atol=1e-5)

"""Packages written for pykeops run on clreduce: the calls they make, and some of them themselves, in a process each.

Everything is compared with what PyTorch gives with tables of all pairs.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the clients are written for PyTorch")

import clreduce  # noqa: E402
from clreduce.errors import DeviceError  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402
from clreduce.runtime.devices import devices  # noqa: E402
from clreduce.torch import install_as_pykeops  # noqa: E402

M, N, D = 30, 40, 3
pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture(autouse=True)
def stand_in() -> Iterator[None]:
    """Tests import from pykeops, as the clients do."""
    with install_as_pykeops():
        yield


def random(*shape: int, seed: int = 0, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_(options.get("grad", False))


X, Y, V = random(M, D), random(N, D, seed=1), random(N, 2, seed=2)
SQUARES = ((X[:, None] - Y[None]) ** 2).sum(-1)
close = torch.testing.assert_close


# ----------------------------------------------------------------------------------------------- formulas in text


@pytest.mark.parametrize(
    ("formula", "dense"),
    [
        (
            "Exp(SqDist(x / s, y / s) * IntInv(-2)) * v",
            lambda x, y, s: torch.exp(-(torch.cdist(x / s, y / s) ** 2) / 2),
        ),
        ("Exp(-Sqrt(SqDist(x / s, y / s))) * v", lambda x, y, s: torch.exp(-torch.cdist(x / s, y / s))),
        (
            "(IntCst(1) + Sqrt(IntCst(3)) * Norm2(x / s - y / s)) * Exp(-Sqrt(IntCst(3)) * Norm2(x / s - y / s)) * v",
            lambda x, y, s: (1 + 3**0.5 * torch.cdist(x / s, y / s)) * torch.exp(-(3**0.5) * torch.cdist(x / s, y / s)),
        ),
        ("Powf(Sum(s) * (x | y) + IntCst(1), Sum(s)) * v", lambda x, y, s: (s.sum() * (x @ y.T) + 1) ** s.sum()),
    ],
    ids=["gaussian", "laplacian", "matern", "polynomial"],
)
def test_falkon(formula: str, dense: Callable[..., Any], device: Device) -> None:
    """Slices of one matrix as ``out``, options of accuracy and speed, a backend by name; a gradient with ``out``."""
    from pykeops.torch import Genred

    aliases = [f"x = Vi({D})", f"y = Vj({D})", "v = Vj(2)", f"s = Pm({D})"]
    routine = Genred(
        formula, aliases, reduction_op="Sum", axis=1, dtype_acc="auto", sum_scheme="auto", rec_multVar_highdim=1
    )
    s = random(D, seed=3) + 0.5
    backend = "CPU" if device.facts.kind == "cpu" else "GPU_1D"
    out = torch.empty(M, 2, dtype=torch.float64)
    for start in range(0, M, 20):
        rows = slice(start, min(start + 20, M))
        part = out.narrow(0, start, rows.stop - start)
        assert routine(X[rows], Y, V, s, out=part, backend=backend) is part
    close(out, dense(X, Y, s) @ V)
    if "IntInv" not in formula:
        return
    x, scale = X.clone().requires_grad_(), s.clone().requires_grad_()
    found = routine(x, Y, V, scale, out=torch.empty(M, 2, dtype=torch.float64), backend=backend)
    weights = random(M, 2, seed=4)
    grads = torch.autograd.grad((found * weights).sum(), [x, scale])
    close(grads, torch.autograd.grad(((dense(x, Y, scale) @ V) * weights).sum(), [x, scale]))


def test_a_gpu_that_is_not_there_is_named() -> None:
    from pykeops.torch import Genred

    if all(device.facts.kind == "cpu" for device in devices()):
        with pytest.raises(DeviceError, match="backend='GPU_1D'"):
            Genred("x * y", ["x = Vi(3)", "y = Vj(3)"])(X, Y, backend="GPU_1D")


def test_s4() -> None:
    """Sums over poles of complex numbers as pairs, with leading batch dimensions that broadcast."""
    from pykeops.torch import Genred, LazyTensor

    aliases = ["v = Vj(2)", "z = Vi(2)", "w = Vj(2)"]
    cauchy = Genred(
        "ComplexDivide(ComplexMult(v, z - Conj(w)) + ComplexMult(Conj(v), z - w), ComplexMult(z - w, z - Conj(w)))",
        aliases, reduction_op="Sum", axis=1,
    )  # fmt: skip
    series = Genred("ComplexMult(v, ComplexExp(ComplexMult(z, w)))", aliases, reduction_op="Sum", axis=1)
    v, w = (torch.complex(random(4, 1, 8, seed=k), random(4, 1, 8, seed=k + 1)) for k in (0, 5))
    z = torch.complex(torch.zeros(10, dtype=torch.float64), random(10, seed=9) + 2).expand(1, 1, 10)
    v.requires_grad_()
    pairs = [torch.view_as_real(one.resolve_conj()) for one in (v, z, w)]
    V_, Z, W = v[..., None, :], z[..., None], w[..., None, :]
    for routine, dense in (
        (cauchy, (V_ / (Z - W) + V_.conj() / (Z - W.conj())).sum(-1)),
        (series, (V_ * (Z * W).exp()).sum(-1)),
    ):
        found = torch.view_as_complex(routine(*pairs, backend="auto"))
        close(found, dense)
        close(*(torch.autograd.grad(one.abs().sum(), v, retain_graph=True) for one in (found, dense)))
    quotient = LazyTensor(v[:, 0, None, :, None]) / (
        LazyTensor(z[0, :, :, None, None]) - LazyTensor(w[:, 0, None, :, None])
    )
    close(quotient.sum(dim=2), (V_ / (Z - W)).sum(-1)[:, 0, :, None])


def test_formulas_of_geomloss() -> None:
    from pykeops.torch import generic_logsumexp, generic_sum
    from pykeops.torch.cluster import from_matrix, swap_axes

    aliases = ["A = Vi(1)", f"X = Vi({D})", f"Y = Vj({D})", "B = Vj(1)", "P = Pm(1)"]
    soft = generic_logsumexp("( B - (P * (SqDist(X,Y) / IntCst(2)) ) )", *aliases)
    h, p = random(N, 1, seed=3), torch.tensor([4.0], dtype=torch.float64)
    table = h.T - 2 * SQUARES
    close(soft(X, Y, h, p), table.logsumexp(1, keepdim=True))
    blocks_i, blocks_j = torch.tensor([[0, 10], [10, M]]), torch.tensor([[0, 25], [25, N]])
    ranges = from_matrix(blocks_i, blocks_j, torch.tensor([[True, False], [True, True]]))
    table[:10, 25:] = -torch.inf
    close(soft(X, Y, h, p, ranges=ranges), table.logsumexp(1, keepdim=True))
    back = generic_sum("Norm2(X-Y)", "A = Vj(1)", f"X = Vi({D})", f"Y = Vj({D})")
    masked = torch.where(table.isfinite(), SQUARES.sqrt(), 0)
    close(back(X, Y, ranges=ranges), masked.sum(0)[:, None])
    turned = generic_sum("Norm2(X-Y)", "A = Vi(1)", f"X = Vi({D})", f"Y = Vj({D})")
    close(turned(Y, X, ranges=swap_axes(ranges)), masked.sum(0)[:, None])


# ----------------------------------------------------------------------------------------------- recorded formulas


def pair(x: Any = X, y: Any = Y) -> tuple[Any, Any]:
    from pykeops.torch import LazyTensor

    return LazyTensor(x[..., :, None, :]), LazyTensor(y[..., None, :, :])


def test_gpytorch() -> None:
    """Batches and raw tensors in between; first derivatives of inputs and of those tensors."""
    batches = (
        random(2, M, D, seed=1, grad=True),
        random(2, N, D, seed=2, grad=True),
        random(2, 1, 1, D, seed=3, grad=True),
    )
    values = random(2, N, 5, seed=4)

    def kernel(x: Any, y: Any, period: Any) -> Any:
        squares = ((x - y) ** 2).sum(-1)
        distance = (squares + 1e-20).sqrt()
        periodic = (((x - y).abs() * period).sin() ** 2).sum(-1)
        return 1.5 * (distance + 1) * (-distance).exp() * (-2.0 * periodic).exp() + 1 * (-squares / 2).exp() + 0.1

    x, y, period = batches
    found = kernel(*pair(x, y), period) @ values
    dense = kernel(x[:, :, None], y[:, None], period) @ values
    close(found, dense)
    close(*(torch.autograd.grad(one.square().sum(), batches) for one in (found, dense)))


def test_torchdr() -> None:
    from pykeops.torch import LazyTensor

    x, y = pair(X, X)
    dense = torch.cdist(X, X)
    K = ((x - y) ** 2).sum(-1) ** 0.5
    assert isinstance(K, LazyTensor)
    assert K.shape == (M, M)
    count = torch.arange(M, dtype=torch.float64)
    identity = (0.5 - (LazyTensor(count[:, None, None]) - LazyTensor(count[None, :, None])) ** 2).step()
    values, indices = (K + 1e12 * identity).Kmin_argKmin(K=4, dim=1)
    close((values, indices), tuple((dense + torch.eye(M) * 1e12).topk(4, largest=False)), atol=1e-7, rtol=0)
    potential = LazyTensor(random(M)[:, None, None])
    log = (potential - K * 2 + potential.T).clamp(-1.5, torch.inf)
    table = (random(M)[:, None] - dense * 2 + random(M)).clamp(min=-1.5)
    close(log.logsumexp(0), table.logsumexp(0)[:, None])
    close((log - LazyTensor(log.logsumexp(1)[:, None])).exp().sum(0), table.softmax(1).sum(0)[:, None])
    close((-(x | y)).clamp(0, torch.inf).sum(1), (-X @ X.T).clamp(min=0).sum(1, keepdim=True))
    close((1 + K**2).log().sum(1).sum(), (1 + dense**2).log().sum())


def test_gudhi() -> None:
    x, y = pair()
    differences = (X[:, None] - Y[None]).abs()
    for p in (1.5, torch.inf):
        table = differences.amax(-1) if p == torch.inf else (differences**p).sum(-1)
        matrix = (x - y).abs().max(-1) if p == torch.inf else ((x - y).abs() ** p).sum(-1)
        values, indices = table.topk(3, largest=False)
        close(matrix.Kmin_argKmin(3, dim=1), (values, indices))
    close(matrix.Kmin(3, dim=1), values)
    close(matrix.argKmin(3, dim=1), indices)


def test_multipers() -> None:
    """Formulas whose data come later, a method taken from the type, weights by ``axis``."""
    import pykeops.numpy
    from pykeops.torch import LazyTensor, Vi, Vj

    nearest = (((Vi(0, D) - Vj(1, D)) ** 2).sum(-1) ** (1 / 2)).Kmin(4, dim=1)
    close(nearest(X, Y).sum(axis=1) / 4, SQUARES.sqrt().topk(4, largest=False)[0].mean(1))
    hyperbolic = (((Vi(0, D) - Vj(1, D)) ** 2).sum(-1) / (Vi(0, D)[0] * Vj(1, D)[0])).Kmin(4, dim=1)
    close(hyperbolic(X, Y), (SQUARES / (X[:, :1] * Y[:, 0])).topk(4, largest=False)[0])
    x, y = pair()
    half = ((x - y) ** 2).sum(dim=-1) ** 1 / 2
    sinc = type(x).sinc
    kernel = 2 * sinc(2 * half) - sinc(half)
    kernel *= LazyTensor(random(M, 1), axis=0)
    table = (2 * torch.sinc(SQUARES) - torch.sinc(SQUARES / 2)) * random(M, 1)
    close(kernel.sum(dim=0).squeeze() / kernel.shape[0], table.mean(0))
    matrix = random(D, D)
    quadratic = torch.einsum("ijk,kl,ijl->ij", X[:, None] - Y, matrix, X[:, None] - Y)
    close((x - y).weightedsqnorm(matrix.flatten()).sum(dim=1), quadratic.sum(1, keepdim=True))
    sets, points, weights = random(4, 6, D), random(4, 5, D, seed=1), random(4, 6)
    batched = (-((LazyTensor(sets[..., None, :]) - points[:, None]) ** 2).sum(dim=-1)).exp() * weights[..., None, None]
    close(batched.sum(1)[..., 0], ((-(torch.cdist(sets, points) ** 2)).exp() * weights[..., None]).sum(1))
    a, b = (pykeops.numpy.LazyTensor(X.numpy()[index]) for index in ((None,), (slice(None), None)))
    assert ((a - b) ** 2).sum(2).max(1).min(0)[0] == pytest.approx(float((torch.cdist(X, X) ** 2).amax(1).amin()))


def test_dgmc() -> None:
    x, y = pair(random(2, M, D), random(2, N, D, seed=1))
    found = (-(x * y).sum(dim=-1)).argKmin(5, dim=2, backend="auto")
    assert found.dtype == torch.int64
    close(found, (random(2, M, D) @ random(2, N, D, seed=1).mT).topk(5)[1])


def test_dmasif() -> None:
    """Small networks of each pair, on the blocks of a batch: ranges written by hand in int32."""
    from pykeops.torch import LazyTensor, Vi, Vj

    ends = torch.tensor([0, 12, M], dtype=torch.int32)
    blocks = torch.stack((ends[:-1], ends[1:]), dim=1)
    slices = torch.tensor([1, 2], dtype=torch.int32)
    ranges = (blocks, slices, blocks, blocks, slices, blocks)
    same = (torch.arange(M)[:, None] < 12) == (torch.arange(M) < 12)
    x, y = LazyTensor(X[:, None, :]), LazyTensor(X[None, :, :])
    A, c, f = random(4 * D, seed=1, grad=True), random(4, seed=2, grad=True), random(M, 4, seed=3)
    window = (-((x - y) ** 2).sum(-1)).exp()
    layer = (LazyTensor(A.view(1, 1, -1)).matvecmult(x - y) - LazyTensor(c.view(1, 1, -1))).relu()
    terms = window * layer * LazyTensor(f[None, :, :])
    terms.ranges = ranges
    hidden = ((X[:, None] - X) @ A.view(4, D).T - c).relu()
    dense = ((-(torch.cdist(X, X) ** 2)).exp() * same)[..., None] * hidden * f
    found = terms.sum(dim=1)
    close(found, dense.sum(1))
    close(*(torch.autograd.grad(one.square().sum(), [A, c]) for one in (found, dense.sum(1))))
    assert (terms.t().ranges, hasattr(terms, "_shape")) == ((*ranges[3:], *ranges[:3]), True)
    close(terms.t().sum(dim=1), dense.sum(0))

    rotated = (x - y).tensorprod(y[:2]).sum(dim=1)
    close(rotated, ((X[:, None] - X)[..., :, None] * X[:, None, :2]).sum(1).view(M, 2 * D))
    parts = LazyTensor.cat((LazyTensor(1) - (x | y), (x - y)[1:], Vi(f)), dim=-1)
    table = torch.cat((1 - (X @ X.T)[..., None], (X[:, None] - X)[..., 1:], f[:, None].expand(M, M, 4)), dim=-1)
    close(parts.sum(dim=1), table.sum(1))
    assert parts.concat(Vj(f)).sum(dim=1).view(-1, 11).shape == (M, 11)
    close(((Vi(X) - Vj(X)) ** 2).sum(-1).argmin(dim=1).view(-1), torch.arange(M))


def test_geomstats() -> None:
    """Kernels of variables without data, numbered one after the other, multiplied, and called with the data."""
    from pykeops.torch import Vi, Vj

    u, v = Vi(0, D), Vj(1, D)
    place = (-u.sqdist(v) * (1 / 0.49)).exp()
    n, m = Vi(place.new_variable_index(), D), Vj(place.new_variable_index() + 1, D)
    both = 1.0 * place * (n * m).sum() ** 2
    kernel = (both * Vj(both.new_variable_index(), 1)).sum_reduction(axis=1)
    normals = random(M, D, seed=5), random(N, D, seed=6)
    x, weights = X.clone().requires_grad_(), random(N, 1, seed=7)
    found = kernel(x, Y, *normals, weights)
    dense = ((-((x[:, None] - Y) ** 2).sum(-1) / 0.49).exp() * (normals[0] @ normals[1].T) ** 2) @ weights
    close(found, dense)
    close(*(torch.autograd.grad(one.square().sum(), x) for one in (found, dense)))


def test_attention() -> None:
    x, y = pair()
    from pykeops.torch import LazyTensor

    close((x | y).sumsoftmaxweight(LazyTensor(V[None]), axis=1), (X @ Y.T).softmax(1) @ V)


# ---------------------------------------------------------------------------------------- the packages themselves


@pytest.mark.parametrize(
    ("package", "check"),
    [
        ("gpytorch", "gpytorch_trains"), ("gpytorch", "gpytorch_kernels"), ("geomloss", "geomloss_losses"),
        ("geomloss.ot", "geomloss_solve_sample"),
    ],
)  # fmt: skip
def test_package(package: str, check: str, device: Device) -> None:
    """Runs in a fresh interpreter, where nothing has imported another pykeops before."""
    top = package.partition(".")[0]
    if not (importlib.util.find_spec(top) and importlib.util.find_spec(package)):
        pytest.skip(f"{package} is not installed")
    paths = [str(Path(clreduce.__file__).parents[1]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CLREDUCE_DEVICE": str(devices().index(device))}
    done = subprocess.run(
        [sys.executable, "-c", f"import clients; clients.{check}()"],
        capture_output=True, text=True, env=environment, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

"""Gradients of tensors: every reduction against finite differences twice over, and what users of autograd rely on."""

from __future__ import annotations

import gc
import warnings
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from clreduce import NotDifferentiableError  # noqa: E402
from clreduce.reductions.reduction import differentiable_names, reduction_named  # noqa: E402
from clreduce.torch import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj, cluster  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")

FORMULA = "Exp(-SqDist(x, y)) + (x | y)"
PAIR = ["x = Vi(2)", "y = Vj(2)"]
TWICE = ("Sum", "LogSumExp", "SumSoftMaxWeight", "Min", "Max", "KMin")
COUNTED = ("KMin", "KMax", "KMin_ArgKMin", "KMax_ArgKMax", "SumKMin", "SumKMax")


def cloud(*shape, seed=0, grad=True):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def kernel(x, y):
    return torch.exp(-((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)) + x @ y.mT


def routine(name, formula=FORMULA, aliases=PAIR):
    try:
        count = 2 if name in COUNTED else None
        formulas = reduction_named(name, count).formulas
    except ValueError:
        raise AssertionError(f"{name} is not among the reductions") from None
    second = {"formula2": "Square(y)"} if formulas == 2 else {}
    return Genred(formula, aliases, name, axis=1, opt_arg=count, **second)


def values(call):
    """Only the results that have derivatives."""

    def function(*args):
        found = call(*args)
        return found[0] if isinstance(found, tuple) else found

    return function


# ------------------------------------------------------------------------------------------- against finite differences


@pytest.mark.parametrize("name", differentiable_names())
def test_every_reduction(name, device):
    call = values(routine(name, "Sin(x * y)", ["x = Vi(1)", "y = Vj(1)"]))
    x, y = cloud(3, 1), cloud(4, 1, seed=1)
    assert torch.allclose(call(x, y), call(x.detach(), y.detach()), rtol=1e-13)  # the latter runs another program
    assert gradcheck(call, (x, y), check_forward_ad=True)
    if name in TWICE:
        assert gradgradcheck(call, (x, y), check_fwd_over_rev=True)


@pytest.mark.parametrize("name", ["Sum", "LogSumExp", "SumSoftMaxWeight", "Min", "KMin"])
def test_batches_that_broadcast(name, device):
    call = values(routine(name, "Sin(p * x * y)", ["x = Vi(1)", "y = Vj(1)", "p = Pm(1)"]))
    x, y, p = cloud(2, 1, 3, 1), cloud(1, 2, 4, 1, seed=1), cloud(2, 1, 1, seed=2)
    assert gradcheck(call, (x, y, p))
    assert gradgradcheck(call, (x, y, p))


@pytest.mark.parametrize("name", ["Sum", "LogSumExp", "SumSoftMaxWeight", "Min", "KMin"])
def test_ranges(name, device):
    blocks = torch.tensor([[0, 2], [2, 5]])
    ranges = cluster.from_matrix(blocks, torch.tensor([[0, 3], [3, 4]]), torch.tensor([[True, False], [True, True]]))
    call = routine(name, "Sin(x * y)", ["x = Vi(1)", "y = Vj(1)"])

    def function(x, y):
        return values(lambda *args: call(*args, ranges=ranges))(x, y)

    x, y = cloud(5, 1), cloud(4, 1, seed=1)
    assert gradcheck(function, (x, y))
    assert gradgradcheck(function, (x, y))


@pytest.mark.parametrize("axis", [0, 1])
def test_lazytensor(axis, device):
    x, y, p = cloud(3, 2), cloud(4, 2, seed=1), cloud(2, seed=2)

    def function(x, y, p):
        return (-((Vi(x) - Vj(y)) ** 2 * Pm(p)).sum(-1)).exp().sum(axis)

    assert gradcheck(function, (x, y, p), check_forward_ad=True)
    assert gradgradcheck(function, (x, y, p))


def test_complex(device):
    z = torch.randn(3, 1, 2, dtype=torch.complex128, requires_grad=True)
    w = torch.randn(1, 4, 2, dtype=torch.complex128, requires_grad=True)

    def function(z, w):
        return (LazyTensor(z) * LazyTensor(w)).sum(1)

    assert torch.allclose(function(z, w), (z * w).sum(1))
    assert gradcheck(function, (z, w))
    assert gradgradcheck(function, (z, w))


def test_solve(device):
    solve = KernelSolve("Exp(-g * SqDist(x, y)) * b", ["g = Pm(1)", *PAIR, "b = Vj(2)"], "b", axis=1)
    x, b, g = cloud(5, 2), cloud(5, 2, seed=1), torch.tensor([0.7], dtype=torch.float64, requires_grad=True)
    alpha = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def function(g, x, b, alpha):
        return solve(g, x, x, b, alpha=alpha, eps=1e-14)

    matrix = torch.exp(-g * ((x[:, None] - x) ** 2).sum(-1)) + alpha * torch.eye(5, dtype=torch.float64)
    assert torch.allclose(function(g, x, b, alpha), torch.linalg.solve(matrix, b))
    assert gradcheck(function, (g, x, b, alpha), check_forward_ad=True)
    assert gradgradcheck(function, (g, x, b, alpha))


def test_solve_of_batches_and_of_blocks(device):
    x, b = cloud(2, 4, 2), cloud(1, 4, 1, seed=1)

    def batched(x, b):
        kernel = (-((LazyTensor(x[:, :, None]) - LazyTensor(x[:, None])) ** 2).sum(-1)).exp()
        return kernel.solve(b, alpha=0.5, eps=1e-14)

    assert gradcheck(batched, (x, b))
    assert gradgradcheck(batched, (x, b))
    blocks = torch.tensor([[0, 2], [2, 4]])
    ranges = cluster.from_matrix(blocks, blocks, torch.eye(2, dtype=torch.bool))

    def sparse(x, b):
        kernel = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
        kernel.ranges = ranges
        return kernel.solve(b, alpha=0.5, eps=1e-14)

    x, b = cloud(4, 2), cloud(4, 1, seed=1)
    matrix = torch.exp(-((x[:, None] - x) ** 2).sum(-1)) * torch.block_diag(*[torch.ones(2, 2)] * 2)
    assert torch.allclose(sparse(x, b), torch.linalg.solve(matrix + 0.5 * torch.eye(4), b))
    assert gradcheck(sparse, (x, b))
    assert gradgradcheck(sparse, (x, b))


def test_energy_distance_twice(device):
    x, y = cloud(6, 2), cloud(5, 2, seed=1)

    def lazy(a, b):
        return -((Vi(a) - Vj(b)) ** 2).sum(-1).sqrt()

    def energy(x, y):
        pairs = lazy(x, y).sum(1).sum() / 30
        return 2 * -pairs + lazy(x, x).sum(1).sum() / 36 + lazy(y, y).sum(1).sum() / 25

    def dense(x, y):
        def mean(a, b):
            squares = ((a[:, None] - b) ** 2).sum(-1)
            return torch.where(squares > 0, squares, 1.0).sqrt().mul(squares > 0).mean()

        return 2 * mean(x, y) - mean(x, x) - mean(y, y)

    for function in (energy, dense):
        value = function(x, y)
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        found = (value.detach(), slope.detach(), *torch.autograd.grad((slope**2).sum(), (x, y)))
        if function is energy:
            ours = found
    assert all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours, found, strict=True))


def test_third_order(device):
    x, y = cloud(3, 2), cloud(4, 2, seed=1)
    found = []
    for function in (routine("LogSumExp"), lambda x, y: torch.logsumexp(kernel(x, y), 1, keepdim=True)):
        value = function(x, y).sin().sum()
        (first,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(first.cos().sum(), y, create_graph=True)
        found.append(torch.autograd.grad(second.exp().sum(), (x, y)))
    assert all(torch.allclose(a, b, rtol=1e-8, atol=1e-10) for a, b in zip(*found, strict=True))


# --------------------------------------------------------------------------------------------- as autograd is relied on


def gaussian():
    return Genred("Exp(-SqDist(x, y)) * b", [*PAIR, "b = Vj(1)"], axis=1)


def test_only_what_is_asked_for_is_computed(device, monkeypatch):
    from clreduce.runtime.plan import Plan

    ran, launch = [], Plan.launch

    def counted(self, *args):
        ran.append(self.program)
        return launch(self, *args)

    monkeypatch.setattr(Plan, "launch", counted)
    call = gaussian()
    x, y, b = cloud(3, 2), cloud(4, 2, grad=False), cloud(4, 1)
    call(x, y, b.detach()).sum().backward()
    assert len(ran) == 2
    assert (x.grad.shape, y.grad) == (x.shape, None)
    ran.clear()
    torch.autograd.grad(call(x, y, b).sum(), (x, b))
    assert len(ran) == 3
    with torch.no_grad():
        assert not call(x, y, b).requires_grad
    assert not call(x.detach(), y, b.detach()).requires_grad


def test_gradients_have_the_shape_and_dtype_of_their_tensors(device):
    call, (x, y, b) = gaussian(), (one.detach() for one in (cloud(3, 2), cloud(4, 2, seed=1), cloud(4, 1, seed=2)))
    short, turned = x.float().requires_grad_(), cloud(2, 3, seed=3)
    row = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    parameter = torch.nn.Parameter(x)
    for leaf, given in ((short, short), (turned, turned.mT), (row, row.expand(3, 2)), (parameter, parameter)):
        dense = torch.exp(-((given.double()[:, None] - y) ** 2).sum(-1)) @ b
        ours, theirs = (torch.autograd.grad(one.sum(), leaf)[0] for one in (call(given, y, b), dense))
        assert (ours.shape, ours.dtype) == (leaf.shape, leaf.dtype)
        assert torch.allclose(ours, theirs, rtol=1e-5)


def test_in_place_changes_are_noticed(device):
    x, y, b = cloud(3, 2), cloud(4, 2, grad=False), cloud(4, 1, grad=False)
    result = gaussian()(x, y, b)
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()
    result = routine("LogSumExp")(x, y)
    result *= 2  # the result of the node itself is what its derivative reads
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.sum().backward()


def test_graphs_are_freed(device):
    x, y, b = cloud(3, 2), cloud(4, 2), cloud(4, 1)
    result = gaussian()(x * 1, y, b)
    result.sum().backward(retain_graph=True)
    result.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        result.sum().backward()
    moved = x * 1
    kept = weakref.ref(moved)
    result = gaussian()(moved, y, b)
    del moved, result
    gc.collect()
    assert kept() is None


def test_anomaly_mode_and_hooks(device):
    x, y, b = cloud(3, 2), cloud(4, 2), cloud(4, 1)
    seen = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Anomaly Detection")
        with torch.autograd.detect_anomaly(check_nan=True):
            result = gaussian()(x, y, b)
            result.register_hook(seen.append)
            result.sum().backward()
            assert len(seen) == 1
            result = gaussian()(x * float("nan"), y, b)
            with pytest.raises(RuntimeError, match=r"ReductionBackward.*nan"):
                result.sum().backward()


def test_several_outputs(device):
    x, y = cloud(3, 2), cloud(4, 2, seed=1)
    least, where = routine("Min_ArgMin")(x, y)
    assert not where.requires_grad
    assert where.dtype == torch.int64
    (ours,) = torch.autograd.grad(least.sum(), x)
    (theirs,) = torch.autograd.grad(kernel(x, y).min(1)[0].sum(), x)
    assert torch.allclose(ours, theirs)


def test_out_is_followed(device):
    x, y, b = cloud(3, 2), cloud(4, 2), cloud(4, 1)
    out = torch.zeros(3, 1, dtype=torch.float64)
    given = gaussian()(x, y, b, out=out)
    assert given is out
    (through,) = torch.autograd.grad(out.sum(), x)
    (straight,) = torch.autograd.grad(gaussian()(x, y, b).sum(), x)
    assert torch.equal(through, straight)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        gaussian()(x, y, b, out=torch.zeros(3, 1, dtype=torch.float64, requires_grad=True))
    plain = torch.zeros(3, 1, dtype=torch.float64)
    version = plain._version
    gaussian()(x.detach(), y.detach(), b.detach(), out=plain)
    assert plain._version > version


def test_empty_tensors(device):
    call = gaussian()
    for m, n in ((0, 4), (3, 0), (0, 0)):
        x, y, b = cloud(m, 2), cloud(n, 2), cloud(n, 1)
        found = torch.autograd.grad(call(x, y, b).sum(), (x, y, b))
        assert all(one.shape == given.shape and not one.any() for one, given in zip(found, (x, y, b), strict=True))


def test_what_has_no_derivative(device):
    x, y = cloud(3, 2), cloud(4, 2)
    with pytest.raises(RuntimeError, match="does not require grad"):
        routine("ArgMin")(x, y).sum().backward()
    with pytest.raises(NotDifferentiableError, match="Any has no derivative"):
        routine("Any")(x, y).sum().backward()

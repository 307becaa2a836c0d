"""``torch.compile``, export, checkpoints, copies, processes and threads: the same numbers as a plain call."""

from __future__ import annotations

import copy
import io
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch._dynamo.utils import counters  # noqa: E402
from torch.func import grad, jvp, vmap  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torch_workers import ALIASES, FORMULA, Distances, Interpolation, gradients  # noqa: E402

from clreduce.errors import DeviceError  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402
from clreduce.runtime.devices import current_device, use_device  # noqa: E402
from clreduce.torch import Genred, KernelSolve, LazyTensor, Vi, Vj  # noqa: E402
from clreduce.torch.cluster import from_matrix  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")

KERNEL = Genred(FORMULA, ALIASES, "Sum", axis=1)
NEAREST = Genred("SqDist(x, y)", ALIASES[:2], "Min_ArgMin", axis=1)
SOLVE = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES[:3], "b", axis=1)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + sum(shape)))


X, Y, B, P = uniform(4, 3), uniform(5, 3, seed=1), uniform(5, 2), uniform(1)


def compiled(function: Any, backend: str = "aot_eager", fullgraph: bool = True, **options: Any) -> Any:
    return torch.compile(function, backend=backend, fullgraph=fullgraph, **options)


def close(found: Any, expected: Any, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def same_gradients(found: Any, expected: Any, args: list[Tensor]) -> None:
    """Results and gradients of two functions are equal."""
    args = [one.detach().clone().requires_grad_() for one in args]
    results = [function(*args) for function in (found, expected)]
    close(*results)
    close(*(torch.autograd.grad(one.sin().sum(), args) for one in results))


@pytest.fixture(autouse=True)
def compiler() -> Iterator[None]:
    """Forgets what it has compiled."""
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture
def module() -> Interpolation:
    return Interpolation(Y, B)


def same_module(found: Any, expected: Interpolation, x: Tensor = X) -> None:
    """Results and gradients of two modules with equal parameters are equal."""
    results = []
    for one in (found, expected):
        one.zero_grad()
        result = one(x)
        result.sin().sum().backward()
        results.append([result, *(parameter.grad for parameter in one.parameters())])
    close(*results)


# ------------------------------------------------------------------------------------------------------------ compiled


def test_the_operator_is_well_formed(device: Device) -> None:
    """Schema, fake results, gradients and their registration, as PyTorch checks them."""
    tracked = [one.clone().requires_grad_() for one in (X, Y, B, P)]
    torch.library.opcheck(torch.ops.clreduce.genred.default, (KERNEL._described, tracked, [], "auto", -1))
    torch.library.opcheck(torch.ops.clreduce.genred.default, (NEAREST._described, [X, Y], [], "auto", -1))


def test_modules(module: Interpolation, device: Device) -> None:
    same_module(compiled(module), module)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="Inductor needs a C++ compiler")
def test_inductor(module: Interpolation, device: Device) -> None:
    function = compiled(lambda x: (module(2 * x) + 1).square().sum(), backend="inductor")
    x, other = X.clone().requires_grad_(), X.clone().requires_grad_()
    function(x).backward()
    (module(2 * other) + 1).square().sum().backward()
    close(x.grad, other.grad)


def test_no_compilation_per_call(module: Interpolation, device: Device) -> None:
    """Other numbers compile nothing; a first other size compiles code for all sizes."""
    function = compiled(module)
    for _ in range(3):
        close(function(uniform(4, 3)), module(uniform(4, 3)))
    assert counters["stats"]["unique_graphs"] == 1
    for m in (5, 6, 9, 30):
        same_module(function, module, uniform(m, 3))
    assert counters["stats"]["unique_graphs"] == 2
    assert not counters["graph_break"]


def test_dynamic_sizes(device: Device) -> None:
    function = compiled(KERNEL, dynamic=True)
    for m, n in ((4, 5), (7, 5), (3, 8)):
        args = uniform(m, 3), uniform(n, 3), uniform(n, 2), P
        close(function(*args), KERNEL(*args))
        close(function(uniform(2, m, 3), *args[1:]), KERNEL(uniform(2, m, 3), *args[1:]))
    assert counters["stats"]["unique_graphs"] == 2  # of matrices, and of batches


def test_several_results(device: Device) -> None:
    function = compiled(lambda x: NEAREST(x, Y))
    values, at = function(X)
    close((values, at), NEAREST(X, Y))
    assert at.dtype == torch.int64
    same_gradients(lambda x: function(x)[0], lambda x: NEAREST(x, Y)[0], [X])


@pytest.mark.parametrize("p", [0.7, [0.7], (0.7,)], ids=str)
def test_numbers_as_parameters(p: Any, device: Device) -> None:
    for x, y, b in ((X, Y, B), (X.float(), Y.float(), B.float())):
        found = compiled(lambda x, y, b: KERNEL(x, y, b, p))(x, y, b)
        expected = KERNEL(x, y, b, p)
        assert found.dtype == expected.dtype
        close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64], ids=str)
def test_other_dtypes(dtype: torch.dtype, device: Device) -> None:
    args = [(3 * one).to(dtype) for one in (X, Y, B)]
    found, expected = compiled(KERNEL)(*args, P.float()), KERNEL(*args, P.float())
    assert found.dtype == expected.dtype
    close(found, expected)


def test_ranges(device: Device) -> None:
    mask = torch.tensor([[True, False], [True, True]])
    ranges = from_matrix(torch.tensor([[0, 1], [1, 4]]), torch.tensor([[0, 2], [2, 5]]), mask)
    same_gradients(
        compiled(lambda *args: KERNEL(*args, ranges=ranges)), lambda *args: KERNEL(*args, ranges=ranges), [X, Y, B, P]
    )


def test_out(device: Device) -> None:
    out = torch.empty(4, 2, dtype=torch.float64)
    found = compiled(lambda x, out: KERNEL(x, Y, B, P, out=out))(X, out)
    close(out, KERNEL(X, Y, B, P))
    close(found, out)


def test_wrong_arguments(device: Device) -> None:
    """The compiler passes the message on."""
    with pytest.raises(Exception, match=r"x = Vi\(3\) has 3 columns"):
        compiled(KERNEL)(X[:, :2], Y, B, P)


def test_options(device: Device) -> None:
    """Those of the constructor hold in compiled code."""
    x, y = 1e4 + uniform(4, 9).float(), 1e4 + uniform(5, 9).float()
    for options in ({"use_double_acc": True}, {"sum_scheme": "kahan_scheme"}, {"fast": "dot"}, {"axis": 0}):
        one = Genred("SqDist(x, y)", ["x = Vi(9)", "y = Vj(9)"], "Sum", **{"axis": 1, **options})
        assert torch.equal(compiled(one)(x, y), one(x, y))
    two = Genred("SqDist(x, y)", ALIASES[:3], "KMin_ArgKMin", opt_arg=3, axis=1)
    close(compiled(two)(X, Y, B), two(X, Y, B))
    weighted = Genred("SqDist(x, y)", ALIASES[:3], "SumSoftMaxWeight", axis=1, formula2="b")
    close(compiled(weighted)(X, Y, B), weighted(X, Y, B))


def lazily(x: Tensor, y: Tensor, b: Tensor) -> Tensor:
    return 2 * ((-LazyTensor(x[:, None]).sqdist(LazyTensor(y[None]))).exp() @ b.sin())


def test_lazy_tensors(device: Device) -> None:
    """The graph breaks at them; nothing is compiled per call."""
    function = compiled(lazily, fullgraph=False)
    same_gradients(function, lazily, [X, Y, B])
    graphs, breaks = counters["stats"]["unique_graphs"], counters["graph_break"].total()
    assert graphs
    for n in range(4):
        same_gradients(function, lazily, [uniform(4, 3, seed=n), Y, B])
    assert (counters["stats"]["unique_graphs"], counters["graph_break"].total()) == (graphs, breaks)


def test_systems(device: Device) -> None:
    def function(x: Tensor, b: Tensor) -> Tensor:
        return 2 * SOLVE(x, x, b.sin(), alpha=0.3, eps=1e-13)

    same_gradients(compiled(function, fullgraph=False), function, [X, B[:4]])


TRANSFORMED: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "jvp": lambda f, x: jvp(f, (x,), (x,))[1],
    "grad": lambda f, x: grad(lambda x: f(x).sin().sum())(x),
    "vmap": lambda f, x: vmap(f)(torch.stack([x, 2 * x])),
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Genred": lambda x: KERNEL(x, Y, B, P),
    "LazyTensor": lambda x: lazily(x, Y, B),
    "KernelSolve": lambda x: SOLVE(x, x, B[:4], alpha=0.3, eps=1e-13),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("transform", TRANSFORMED)
def test_transforms_in_compiled_code(transform: str, function: str, device: Device) -> None:
    """The graph breaks there; the numbers are those of a plain call."""
    whole, one = TRANSFORMED[transform], FUNCTIONS[function]
    found = compiled(lambda x: whole(one, x), fullgraph=False)
    close(found(X), whole(one, X))
    close(found(-X), whole(one, -X))


def test_dual_numbers_in_compiled_code(device: Device) -> None:
    def tangent(x: Tensor) -> Tensor:
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, 2 * x)
            return torch.autograd.forward_ad.unpack_dual(KERNEL(dual, Y, B, P)).tangent

    close(compiled(tangent, fullgraph=False)(X), tangent(X))


def test_transforms_of_compiled_code(device: Device) -> None:
    function = compiled(lambda x: KERNEL(x, Y, B, P), fullgraph=False)
    many = torch.stack([X, 2 * X])
    close(vmap(function)(many), KERNEL(many, Y, B, P))


def test_derivatives_by_name(device: Device) -> None:
    def function(x: Tensor) -> Tensor:
        return 2 * KERNEL.vjp(x, Y, B, P, cotangent=x[:, :2].sin(), wrt="x")[0]

    close(compiled(function, fullgraph=False)(X), function(X))


def test_second_derivatives_are_refused(device: Device) -> None:
    """By PyTorch, as for any compiled code: never wrong numbers."""
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(compiled(KERNEL)(x, Y, B, P).sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="double backward"):
        gradient.sum().backward()


# -------------------------------------------------------------------------------------------------- export, checkpoints


def test_export(module: Interpolation, device: Device) -> None:
    """A graph for any number of rows, which can be kept and read again."""
    program = torch.export.export(module, (X,), dynamic_shapes=({0: torch.export.Dim("M")},))
    kept = io.BytesIO()
    torch.export.save(program, kept)
    kept.seek(0)
    same_module(torch.export.load(kept).module(), module, uniform(7, 3))


@pytest.mark.parametrize("strict", [False, True])
def test_what_cannot_be_exported(strict: bool, device: Device) -> None:
    class Lazy(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return lazily(x, Y, B)

    error = Exception if strict else DeviceError
    with pytest.raises(error, match=None if strict else "has no numbers that the host can read"):
        torch.export.export(Lazy(), (X,), strict=strict)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpoints(use_reentrant: bool, module: Interpolation, device: Device) -> None:
    def function(x: Tensor) -> Tensor:
        return module(x) + lazily(x, Y, B)

    def kept(x: Tensor) -> Tensor:
        return checkpoint(function, x, use_reentrant=use_reentrant)

    results = []
    for one in (kept, function):
        x = X.clone().requires_grad_()
        module.zero_grad()
        one(x).sin().sum().backward()
        results.append([x.grad, *(parameter.grad for parameter in module.parameters())])
    close(*results)


# ------------------------------------------------------------------------------------------- copies, processes, threads


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def saved(value: Any) -> Any:
    kept = io.BytesIO()
    torch.save(value, kept)
    kept.seek(0)
    return torch.load(kept, weights_only=False)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickled, saved])
def test_duplicates(duplicate: Any, module: Interpolation, device: Device) -> None:
    same_module(duplicate(module), module)
    same_module(compiled(duplicate(module)), module)
    kernel = (-Vi(X).sqdist(Vj(Y)) * P).exp()
    close(duplicate(kernel) @ B, kernel @ B)
    close(duplicate(KERNEL)(X, Y, B, P), KERNEL(X, Y, B, P))
    close(duplicate(SOLVE)(X, X, B[:4], alpha=0.3), SOLVE(X, X, B[:4], alpha=0.3))
    z = Vi(torch.complex(X, X)) * Vj(Y)
    close(duplicate(z).sum(axis=1), z.sum(axis=1))


def test_state_of_modules(module: Interpolation, device: Device) -> None:
    """A routine is no part of the state; the plain loader reads it."""
    kept = io.BytesIO()
    torch.save(module.state_dict(), kept)
    kept.seek(0)
    other = Interpolation(2 * Y, 2 * B)
    other.load_state_dict(torch.load(kept, weights_only=True))
    same_module(other, module)


def test_processes(module: Interpolation) -> None:
    """Started anew, with a module that holds a routine; and as workers of a loader."""
    context = torch.multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=gradients, args=(module, X, queue))
    process.start()
    loader = DataLoader(Distances(X, Y), batch_size=2, num_workers=1, multiprocessing_context="spawn")
    found = torch.cat(list(loader))
    close(found, ((X[:, None] - Y) ** 2).sum((1, 2))[:, None])
    expected = module(X)
    expected.sin().sum().backward()
    own = [expected.detach(), *(parameter.grad for parameter in module.parameters())]
    close([torch.from_numpy(one) for one in queue.get()], own)
    process.join(60)
    assert process.exitcode == 0


def test_threads(device: Device) -> None:
    """Calls and gradients from several threads at once."""

    def work(n: int) -> tuple[Tensor, ...]:
        with use_device(device):
            x, y = (one.clone().requires_grad_() for one in (n * X, Y))
            found = KERNEL(x, y, B, P)
            return (found.detach(), *torch.autograd.grad(found.sin().sum() + lazily(x, y, B).sum(), (x, y)))

    expected = [work(n) for n in range(6)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            close(list(pool.map(work, range(6))), expected)


def test_gradients_in_another_thread(device: Device) -> None:
    """Derivatives run on the device of the call, whatever is the current one where they are asked for."""
    x = X.clone().requires_grad_()
    found = KERNEL(x, Y, B, P).sin().sum()
    with use_device(device):
        (expected,) = torch.autograd.grad(found, x, retain_graph=True)
    seen: list[Any] = []

    def work() -> None:
        seen.append(current_device())
        found.backward()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(seen) == 1
    assert torch.equal(x.grad, expected)

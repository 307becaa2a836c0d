"""``torch.func`` and the other transforms of PyTorch: derivatives and batches equal those of dense tensors.

What a device computes is the same with and without PyTorch: tests with many kernels run on the current device only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torch.autograd import functional as autograd_functional  # noqa: E402
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap  # noqa: E402
from torch.fx.experimental.proxy_tensor import make_fx  # noqa: E402

from clreduce.errors import DeviceError  # noqa: E402
from clreduce.runtime.device import Device  # noqa: E402
from clreduce.runtime.launch import Call  # noqa: E402
from clreduce.torch import Genred, KernelSolve, LazyTensor, Vi, Vj  # noqa: E402
from clreduce.torch.cluster import cluster_ranges, from_matrix, grid_cluster  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "p = Pm(1)"]
KERNEL = Genred("Exp(-SqDist(x, y) * p) * b", ALIASES, "Sum", axis=1)
SOLVE = KernelSolve("Exp(-SqDist(x, y) * p) * b", ALIASES, "b", axis=1)
ALL = (0, 1, 2, 3)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + sum(shape)))


X, Y, B, P = uniform(4, 3), uniform(5, 3, seed=1), uniform(5, 2), uniform(1)
MANY_X, MANY_P = uniform(8, 4, 3, seed=2), uniform(8, 1, seed=2)


def dense(x: Tensor, y: Tensor, b: Tensor, p: Tensor) -> Tensor:
    return torch.exp(-p * ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)) @ b


def lazy(x: Tensor, y: Tensor, b: Tensor, p: Tensor) -> Tensor:
    return (-Vi(x).sqdist(Vj(y)) * p).exp() @ b


def lazy_by_axes(x: Tensor, y: Tensor, b: Tensor, p: Tensor) -> Tensor:
    return (-LazyTensor(x[:, None]).sqdist(LazyTensor(y[None])) * p).exp() @ b


def solve(x: Tensor, b: Tensor, p: Tensor, alpha: Tensor) -> Tensor:
    return SOLVE(x, x, b, p, alpha=alpha, eps=1e-13)


def dense_solve(x: Tensor, b: Tensor, p: Tensor, alpha: Tensor) -> Tensor:
    matrix = torch.exp(-p * ((x[:, None] - x[None]) ** 2).sum(-1))
    return torch.linalg.solve(matrix + alpha * torch.eye(len(x), dtype=x.dtype), b)


def scalar(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A nonlinear function of all numbers of the result, so that cotangents differ."""
    return lambda *args: function(*args).sin().sum()


def close(found: Any, expected: Any, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


ROUTINES = pytest.mark.parametrize("routine", [KERNEL, lazy, lazy_by_axes], ids=["Genred", "Vi_Vj", "LazyTensor"])


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


@ROUTINES
@pytest.mark.parametrize("transform", [grad, hessian])
def test_derivatives_of_a_number(transform: Any, routine: Any) -> None:
    for argnums in (0, ALL):
        found = transform(scalar(routine), argnums)(X, Y, B, P)
        close(found, transform(scalar(dense), argnums)(X, Y, B, P))


@ROUTINES
@pytest.mark.parametrize("transform", [jacrev, jacfwd])
def test_jacobians(transform: Any, routine: Any, device: Device) -> None:
    close(transform(routine, ALL)(X, Y, B, P), jacrev(dense, ALL)(X, Y, B, P))


@ROUTINES
def test_vjp_jvp(routine: Any, device: Device) -> None:
    found, pull = vjp(routine, X, Y, B, P)
    expected, dense_pull = vjp(dense, X, Y, B, P)
    close(found, expected)
    for seed in (0, 1):  # a pullback serves any number of cotangents
        close(pull(uniform(4, 2, seed=seed)), dense_pull(uniform(4, 2, seed=seed)))
    tangents = (uniform(4, 3, seed=3), uniform(5, 3, seed=3), uniform(5, 2, seed=3), uniform(1, seed=3))
    close(jvp(routine, (X, Y, B, P), tangents), jvp(dense, (X, Y, B, P), tangents))


def test_jvp_is_one_kernel(launches: Counter[str], device: Device) -> None:
    """Forward mode is native: the tangent along all arguments is one more kernel, not one per component."""
    jvp(KERNEL, (X, Y, B, P), (X, Y, B, P))
    assert launches == {"pair": 2}


def test_gradients_of_one_index_are_one_kernel(launches: Counter[str], device: Device) -> None:
    grad(scalar(KERNEL), (1, 2))(X, Y, B, P)
    assert launches == {"pair": 2}


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")
@ROUTINES
def test_linearize(routine: Any) -> None:
    """The linear map is recorded: it has to hold for tangents other than those it was recorded with."""
    found, push = linearize(routine, X, Y, B, P)
    close(found, dense(X, Y, B, P))
    for tangents in ((X, Y, B, P), (2 * X, -Y, B, 0 * P)):
        close(push(*tangents), jvp(dense, (X, Y, B, P), tangents)[1])


@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_recorded_graphs(mode: str) -> None:
    """Graphs of `make_fx` compute anew from their inputs."""
    graph = make_fx(grad(scalar(KERNEL), ALL), tracing_mode=mode)(X, Y, B, P)
    close(graph(2 * X, Y, -B, 2 * P), grad(scalar(dense), ALL)(2 * X, Y, -B, 2 * P))


def test_recorded_indices() -> None:
    nearest = Genred("SqDist(x, y)", ALIASES[:2], "ArgMin", axis=1)
    graph = make_fx(lambda x: Y[nearest(x, Y)[:, 0]] - x)(X)
    close(graph(-X), Y[torch.cdist(-X, Y).argmin(1)] + X)


def test_an_index_has_no_derivative() -> None:
    """The values have one, and are those at the index."""
    nearest = Genred("SqDist(x, y)", ALIASES[:2], "Min_ArgMin", axis=1)

    def values(x: Tensor) -> Tensor:
        return nearest(x, Y)[0]

    expected = jacrev(lambda x: ((x[:, None] - Y) ** 2).sum(-1).amin(1, keepdim=True))(X)
    close(jacrev(values)(X), expected)
    close(jacfwd(values)(X), expected)
    (found, at), (_, moved) = jvp(lambda x: nearest(x, Y), (X,), (X,))
    assert at.dtype == torch.int64
    assert not moved.any()
    close(found, torch.cdist(X, Y).amin(1, keepdim=True) ** 2)


@pytest.mark.parametrize("reduction", ["LogSumExp", "Max", "Prod"])
def test_other_reductions(reduction: str) -> None:
    """Reverse over forward and forward over forward, where derivatives read what the reduction has kept."""
    routine = Genred("Sin(x | y)", ALIASES[:2], reduction, axis=1)

    def by_hand(x: Tensor, y: Tensor) -> Tensor:
        terms = (x @ y.T).sin()
        if reduction == "Max":
            return terms.amax(1, keepdim=True)
        return (torch.prod if reduction == "Prod" else torch.logsumexp)(terms, 1, True)

    expected = hessian(scalar(by_hand))(X, Y)
    close(hessian(scalar(routine))(X, Y), expected)
    close(jacfwd(jacfwd(scalar(routine)))(X, Y), expected)


def test_third_order() -> None:
    close(jacfwd(hessian(scalar(KERNEL), 3), 3)(X, Y, B, P), jacfwd(hessian(scalar(dense), 3), 3)(X, Y, B, P))


# ------------------------------------------------------------------------------------------------------------- batches


@ROUTINES
@pytest.mark.parametrize("in_dim", [0, 1, 2, -1])
@pytest.mark.parametrize("out_dim", [0, 1, 2, -2])
def test_vmap(in_dim: int, out_dim: int, routine: Any, device: Device) -> None:
    moved = MANY_X.movedim(0, in_dim)
    found = vmap(routine, (in_dim, None, None, None), out_dim)(moved, Y, B, P)
    close(found, dense(MANY_X, Y, B, P).movedim(0, out_dim))


@ROUTINES
def test_vmap_over_several_arguments(routine: Any, device: Device) -> None:
    close(vmap(routine, (0, None, None, 0))(MANY_X, Y, B, MANY_P), dense(MANY_X, Y, B, MANY_P[..., None]))
    y = uniform(5, 3, 8)
    close(vmap(routine, (0, 2, None, None))(MANY_X, y, B, P), dense(MANY_X, y.movedim(2, 0), B, P))
    # a parameter of shape () in the function
    close(vmap(routine, (None, None, None, 0))(X, Y, B, MANY_P[:, 0]), dense(X, Y, B, MANY_P[..., None]))


@ROUTINES
def test_nested_vmap(routine: Any, device: Device) -> None:
    both = vmap(vmap(routine, (None, None, None, 0)), (0, None, None, None))
    found = both(MANY_X, Y, B, MANY_P[:3])
    close(found, dense(MANY_X[:, None], Y, B, MANY_P[:3, :, None]))
    close(vmap(both, (None, None, 2, None))(MANY_X, Y, B[..., None].repeat(1, 1, 2), MANY_P[:3])[1], found)


@ROUTINES
@pytest.mark.parametrize("transform", [grad, hessian])
def test_vmap_of_derivatives(transform: Any, routine: Any, device: Device) -> None:
    """Per-example gradients: also in arguments that all examples share."""
    dims = (0, None, None, 0)
    found = vmap(transform(scalar(routine), ALL), dims)(MANY_X, Y, B, MANY_P)
    close(found, vmap(transform(scalar(dense), ALL), dims)(MANY_X, Y, B, MANY_P))


def test_derivatives_of_vmap() -> None:
    found, expected = (
        hessian(scalar(vmap(one, (0, None, None, None))), (0, 3))(MANY_X[:2], Y, B, P) for one in (KERNEL, dense)
    )
    close(found, expected)


@ROUTINES
def test_a_batch_launches_once(routine: Any, launches: Counter[str], device: Device) -> None:
    def count(function: Callable[..., Any], *args: Any) -> dict[str, int]:
        launches.clear()
        function(*args)
        return dict(launches)

    dims = (0, None, None, 0)
    assert count(vmap(routine, dims), MANY_X, Y, B, MANY_P) == count(routine, X, Y, B, P) != {}
    per_example = grad(scalar(routine), ALL)
    assert count(vmap(per_example, dims), MANY_X, Y, B, MANY_P) == count(per_example, X, Y, B, P)
    twice = vmap(vmap(routine, (None, None, None, 0)), (0, None, None, None))
    assert count(twice, MANY_X, Y, B, MANY_P) == count(routine, X, Y, B, P)


def test_batches_of_batches(device: Device) -> None:
    """A mapped dimension stands beside those that the arrays have themselves."""
    x = uniform(2, 6, 4, 3)
    y = uniform(6, 5, 3)
    expected = dense(x, y, B, P)
    close(vmap(KERNEL, (0, None, None, None))(x, y, B, P), expected)
    close(vmap(KERNEL, (1, 0, None, None), 1)(x, y, B, P), expected)
    found = vmap(grad(scalar(KERNEL), 1), (0, None, None, None))(x, y, B, P)
    close(found, vmap(grad(scalar(dense), 1), (0, None, None, None))(x, y, B, P))


@pytest.mark.parametrize("count", [0, 1])
def test_vmap_over_few(count: int, device: Device) -> None:
    found = vmap(jacrev(KERNEL), (0, None, None, None))(MANY_X[:count], Y, B, P)
    assert found.shape == (count, 4, 2, 4, 3)


def test_chunks_of_vmap(device: Device) -> None:
    close(vmap(KERNEL, (0, None, None, None), chunk_size=3)(MANY_X, Y, B, P), dense(MANY_X, Y, B, P))
    close(jacrev(KERNEL, chunk_size=2)(X, Y, B, P), jacrev(dense)(X, Y, B, P))


def test_results_of_two_kinds(device: Device) -> None:
    nearest = Genred("SqDist(x, y)", ALIASES[:2], "KMin_ArgKMin", axis=1, opt_arg=2)
    values, at = vmap(nearest, (0, None), (0, 1))(MANY_X, Y)
    expected = torch.cdist(MANY_X, Y).topk(2, largest=False)
    close(values, expected.values**2)
    assert torch.equal(at, expected.indices.movedim(0, 1))


def test_vmap_with_ranges(device: Device) -> None:
    """All indices of a batch share the ranges, which are no argument of the transform."""
    mask = torch.tensor([[True, False], [True, True]])
    ranges = from_matrix(torch.tensor([[0, 1], [1, 4]]), torch.tensor([[0, 2], [2, 5]]), mask)
    seen = torch.ones(4, 5, dtype=torch.float64)
    seen[0, 2:] = 0

    def sparse(x: Tensor, p: Tensor) -> Tensor:
        return KERNEL(x, Y, B, p, ranges=ranges)

    def masked(x: Tensor, p: Tensor) -> Tensor:
        return (torch.exp(-p * ((x[:, None] - Y[None]) ** 2).sum(-1)) * seen) @ B

    close(vmap(sparse)(MANY_X, MANY_P), vmap(masked)(MANY_X, MANY_P))
    found = vmap(hessian(scalar(sparse), (0, 1)))(MANY_X, MANY_P)
    close(found, vmap(hessian(scalar(masked), (0, 1)))(MANY_X, MANY_P))


def test_ranges_within_a_transform(device: Device) -> None:
    """They may be made of the points themselves; but not of points that differ from index to index."""

    def sparse(x: Tensor) -> Tensor:
        blocks = cluster_ranges(grid_cluster(x, 100.0))
        return KERNEL(x, x, x[:, :2], P, ranges=from_matrix(blocks, blocks, torch.ones(1, 1, dtype=torch.bool)))

    close(jacrev(sparse)(X), jacrev(lambda x: dense(x, x, x[:, :2], P))(X))
    with pytest.raises(DeviceError, match="vmap maps over"):
        vmap(sparse)(MANY_X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.complex128], ids=str)
def test_vmap_of_other_dtypes(dtype: torch.dtype, device: Device) -> None:
    if dtype.is_complex:
        product = Genred("ComplexMult(x, y)", ["x = Vi(4)", "y = Vj(4)"], "Sum", axis=1)
        z, w = (torch.complex(uniform(*s), uniform(*s, seed=1)) for s in ((3, 4, 2), (5, 2)))
        found = vmap(product, (0, None))(z, w)
        close(torch.view_as_complex(found.reshape(3, 4, 2, 2)), z * w.sum(0))
    else:
        x, y, b, p = (one.to(dtype) for one in (MANY_X, Y, B, P))
        found = vmap(grad(scalar(KERNEL)), (0, None, None, None))(x, y, b, p)
        assert found.dtype == dtype
        expected = vmap(grad(scalar(dense)), (0, None, None, None))(MANY_X, Y, B, P)
        close(found.double(), expected, 5e-6 if dtype == torch.float32 else 0.02)


# ------------------------------------------------------------------------------------------------------------- systems


def test_derivatives_of_systems() -> None:
    args = X, B[:4], P, torch.tensor(0.3, dtype=torch.float64)
    close(solve(*args), dense_solve(*args), 1e-8)
    for transform in (jacrev, jacfwd):
        close(transform(solve, ALL)(*args), jacrev(dense_solve, ALL)(*args), 1e-8)
    close(hessian(scalar(solve), ALL)(*args), hessian(scalar(dense_solve), ALL)(*args), 1e-8)


@pytest.mark.parametrize(
    "dims", [(0, None, None, None), (None, 0, None, None), (None, None, 0, None), (None, None, None, 0), (0, 0, 0, 0)]
)
def test_vmap_of_systems(dims: tuple[int | None, ...], device: Device) -> None:
    alphas = uniform(8) + 0.1
    mapped = MANY_X, uniform(8, 4, 2), MANY_P, alphas
    args = [many if dim == 0 else many[0] for dim, many in zip(dims, mapped, strict=True)]
    close(vmap(solve, dims)(*args), vmap(dense_solve, dims)(*args), 1e-8)
    found = vmap(grad(scalar(solve), ALL), dims)(*args)
    close(found, vmap(grad(scalar(dense_solve), ALL), dims)(*args), 1e-8)


@pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node")
def test_linearized_systems() -> None:
    args = X, B[:4], P, torch.tensor(0.3, dtype=torch.float64)
    _, push = linearize(solve, *args)
    close(push(*(2 * one for one in args)), jvp(dense_solve, args, tuple(2 * one for one in args))[1], 1e-8)


# ------------------------------------------------------------------------------ autograd's own transforms, and modules


def test_dual_numbers(device: Device) -> None:
    expected = jvp(lambda x: dense(x, Y, B, P), (X,), (2 * X,))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(X, 2 * X)
        for routine in (KERNEL, lazy):
            close(tuple(forward_ad.unpack_dual(routine(dual, Y, B, P))), expected)
            assert forward_ad.unpack_dual(routine(X, Y, B, P)).tangent is None


def test_forward_over_reverse() -> None:
    """A Hessian times a vector: the gradient's own tangent."""

    def product(routine: Any) -> Tensor:
        with forward_ad.dual_level():
            x = forward_ad.make_dual(X.clone().requires_grad_(), 2 * X)
            (gradient,) = torch.autograd.grad(scalar(routine)(x, Y, B, P), x, create_graph=True)
            return forward_ad.unpack_dual(gradient).tangent.detach()

    close(product(KERNEL), product(dense))


@pytest.mark.parametrize(
    ("vectorize", "strategy"), [(False, "reverse-mode"), (True, "reverse-mode"), (True, "forward-mode")]
)
def test_autograd_functional(vectorize: bool, strategy: str) -> None:
    def of(routine: Any) -> tuple[Any, ...]:
        def function(x: Tensor, p: Tensor) -> Tensor:
            return routine(x, Y, B, p)

        how = {"vectorize": vectorize}
        return (
            autograd_functional.jacobian(function, (X, P), strategy=strategy, **how),
            autograd_functional.hessian(scalar(function), (X, P), outer_jacobian_strategy=strategy, **how),
        )

    close(of(KERNEL), of(dense))


def test_autograd_functional_products() -> None:
    def of(routine: Any) -> list[Any]:
        functional = autograd_functional
        return [
            functional.vjp(lambda x: routine(x, Y, B, P), X, uniform(4, 2)),
            functional.jvp(lambda x: routine(x, Y, B, P), X, 2 * X),
            functional.hvp(lambda x: scalar(routine)(x, Y, B, P), X, 2 * X),
            functional.vhp(lambda x: scalar(routine)(x, Y, B, P), X, 2 * X),
        ]

    close(of(KERNEL), of(dense))


def test_batched_gradients(launches: Counter[str]) -> None:
    """Several cotangents at once are one batch, and what comes of it is differentiable in turn."""
    x = X.clone().requires_grad_()
    cotangents = uniform(7, 4, 2)
    (found,) = torch.autograd.grad(KERNEL(x, Y, B, P), x, cotangents, is_grads_batched=True, create_graph=True)
    assert launches == {"pair": 2}
    (expected,) = torch.autograd.grad(dense(x, Y, B, P), x, cotangents, is_grads_batched=True, create_graph=True)
    close(found, expected)
    close(*(torch.autograd.grad(one.sin().sum(), x)[0] for one in (found, expected)))
    torch.autograd.gradcheck(lambda x: KERNEL(x, Y, B, P), (x,), check_batched_grad=True)


@pytest.mark.parametrize("inner", [False, True])
def test_batched_gradients_within(inner: bool) -> None:
    def second(routine: Any) -> Tensor:
        def first(p: Tensor) -> Tensor:
            rows = autograd_functional.jacobian(lambda p: routine(X, Y, B, p), p, create_graph=True, vectorize=inner)
            return rows.sin().sum((0, 1))

        return autograd_functional.jacobian(first, P, vectorize=True)

    close(second(KERNEL), second(dense))


def test_batched_gradients_of_systems() -> None:
    args = X, B[:4], P, torch.tensor(0.3, dtype=torch.float64)
    found, expected = (autograd_functional.jacobian(one, args, vectorize=True) for one in (solve, dense_solve))
    close(found, expected, 1e-8)
    found, expected = (
        autograd_functional.hessian(lambda x, one=one: scalar(one)(x, *args[1:]), X, vectorize=True)
        for one in (solve, dense_solve)
    )
    close(found, expected, 1e-8)


class Interpolation(nn.Module):
    """A sum of kernels at places that are learnt."""

    def __init__(self, routine: Callable[..., Tensor]) -> None:
        super().__init__()
        self.routine = routine
        self.places, self.weights = nn.Parameter(Y.clone()), nn.Parameter(B.clone())
        self.log_scale = nn.Parameter(P.log())

    def forward(self, x: Tensor) -> Tensor:
        return self.routine(x, self.places, self.weights, self.log_scale.exp())


@ROUTINES
def test_functional_call(routine: Any, device: Device) -> None:
    """Per-example gradients of a module's parameters."""

    def per_example(one: Any) -> Any:
        module = Interpolation(one)

        def loss(parameters: Any, x: Tensor) -> Tensor:
            return functional_call(module, parameters, (x,)).square().mean()

        return vmap(grad(loss), (None, 0))(dict(module.named_parameters()), MANY_X)

    close(per_example(routine), per_example(dense))


def test_ensembles(launches: Counter[str], device: Device) -> None:
    """Modules with parameters of their own, stacked: one launch for all."""
    modules = [Interpolation(KERNEL) for _ in range(3)]
    for n, module in enumerate(modules):
        module.places.data += n
    parameters, buffers = torch.func.stack_module_state(modules)
    expected = torch.stack([module(X) for module in modules])
    launches.clear()
    found = vmap(lambda own, fixed: functional_call(modules[0], (own, fixed), (X,)))(parameters, buffers)
    assert launches == {"pair": 1}
    close(found, expected)

"""Dask arrays: the results of one process, chunk by chunk, whoever runs the tasks; graphs; and what is refused."""

from __future__ import annotations

import os
import pickle
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

da = pytest.importorskip("dask.array")

import dask  # noqa: E402
from dask.callbacks import Callback  # noqa: E402

import clreduce as cr  # noqa: E402
import clreduce.dask as chunked  # noqa: E402
import clreduce.numpy as whole  # noqa: E402
from clreduce.call.executor import one_device  # noqa: E402
from clreduce.dask.graphs import GRAPHS  # noqa: E402
from clreduce.dask.tasks import RESOURCE, device_of_worker  # noqa: E402
from clreduce.errors import (  # noqa: E402
    BackendError,
    DeviceError,
    DtypeError,
    NotDifferentiableError,
    OptionError,
    ShapeError,
    SolveError,
)
from clreduce.runtime.devices import devices  # noqa: E402
from clreduce.runtime.plan_cache import PLANS  # noqa: E402

pytestmark = pytest.mark.usefixtures("plain_kernels")
ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)", "p = Pm(1)"]
GAUSSIAN = "Exp(-p * SqDist(x, y)) * b"
M, N = 31, 47
ROWS, COLUMNS = (10, 4, 17), (5, 20, 0, 9, 12, 1)


@pytest.fixture(autouse=True)
def in_this_thread():
    """Tasks run where the fixture ``device`` holds, unless a test says otherwise."""
    with dask.config.set(scheduler="synchronous"):
        yield


def data(dtype: str = "float64") -> tuple[list[Any], list[Any]]:
    """The arrays of `ALIASES`, whole and in chunks; many distances are equal."""
    rng = np.random.default_rng(1)
    arrays = [rng.integers(-3, 4, size).astype(dtype) / 2 for size in ((M, 2), (N, 2), (N, 1))]
    arrays.append(np.array([0.5], dtype))
    chunks = ((ROWS, 2), (COLUMNS, 2), (COLUMNS, 1), (1,))
    return arrays, [da.from_array(array, chunks=sizes) for array, sizes in zip(arrays, chunks, strict=True)]


def assert_equal(found: Any, wanted: Any, exact: bool = False, rtol: float = 1e-12) -> None:
    for ours, theirs in zip(*(each if isinstance(each, tuple) else (each,) for each in (found, wanted)), strict=True):
        assert isinstance(ours, da.Array)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        computed = ours.compute()
        assert computed.dtype == theirs.dtype
        if exact or theirs.dtype.kind in "ib":
            np.testing.assert_array_equal(computed, theirs)
        else:
            np.testing.assert_allclose(computed, theirs, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("reduction", "options"),
    [
        ("Sum", {}), ("LogSumExp", {}), ("Var", {}), ("Min_ArgMin", {}), ("ArgMax", {}), ("Count", {}),
        ("ArgKMin", {"opt_arg": 4}), ("KMin_ArgKMin", {"opt_arg": 60}), ("SumSoftMaxWeight", {"formula2": "y"}),
        ("Sum", {"sum_scheme": "kahan_scheme"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1])
def test_results_are_those_of_one_process(device, reduction, options, axis):
    arrays, chunks = data()
    if axis == 0 and "formula2" in options:
        options = {"formula2": "x"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*places hold the value")
        wanted = whole.Genred(GAUSSIAN, ALIASES, reduction, axis, **options)(*arrays)
        found = chunked.Genred(GAUSSIAN, ALIASES, reduction, axis, **options)(*chunks)
    first = found[0] if isinstance(found, tuple) else found
    assert first.chunks[0] == (ROWS if axis == 1 else COLUMNS)
    assert_equal(found, wanted, exact=reduction in ("Min_ArgMin", "KMin_ArgKMin"))


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Var", "ArgKMin"])
@pytest.mark.parametrize("dtype_acc", ["auto", "float64"])
def test_deterministic_results_do_not_depend_on_chunks(device, monkeypatch, reduction, dtype_acc):
    """They, and gradients, have the bits of one process."""
    if dtype_acc == "float64" and reduction == "ArgKMin":
        pytest.skip("it keeps no sums")
    for name in ("plan", "determinism"):
        monkeypatch.setattr(f"clreduce.runtime.{name}.PART", 256)
    monkeypatch.setattr("clreduce.dask.graphs.PART", 256)
    PLANS.clear()
    rng = np.random.default_rng(3)
    x, y, b = (rng.normal(size=size).astype("float32") for size in ((700, 2), (1100, 2), (1100, 1)))
    options = {"opt_arg": 3} if reduction == "ArgKMin" else {"dtype_acc": dtype_acc}
    single, graph = (
        each.Genred("Exp(-SqDist(x, y)) * b", ALIASES[:3], reduction, axis=1, **options) for each in (whole, chunked)
    )
    wanted = single(x, y, b, deterministic=True)
    cotangent = np.ones((700, 1), "float32")
    gradients = () if reduction == "ArgKMin" else single.vjp(x, y, b, cotangent=cotangent, deterministic=True)
    for rows, columns in ((700, 1100), (300, 500), ((1, 299, 400), (30, 500, 270, 0, 300))):
        chunks = [da.from_array(x, (rows, 2)), da.from_array(y, (columns, 2)), da.from_array(b, (columns, 1))]
        assert_equal(graph(*chunks, deterministic=True), wanted, exact=True)
        if gradients:
            found = graph.vjp(*chunks, cotangent=da.from_array(cotangent, (rows, 1)), deterministic=True)
            assert_equal(found, gradients, exact=True)
    PLANS.clear()


def test_what_deterministic_graphs_refuse(device, monkeypatch):
    arrays, chunks = data()
    ranges = whole.cluster.from_matrix(np.array([[0, M]]), np.array([[0, N]]), np.array([[True]]))
    graph = chunked.Genred(GAUSSIAN, ALIASES, axis=1)
    with pytest.raises(OptionError, match="deterministic=True with ranges needs one chunk along the reduced axis"):
        graph(*chunks, ranges=ranges, deterministic=True)
    one_chunk = [chunks[0], *(da.from_array(array) for array in arrays[1:])]
    assert_equal(graph(*one_chunk, ranges=ranges, deterministic=True), whole.Genred(GAUSSIAN, ALIASES, axis=1)(*arrays))
    monkeypatch.setattr("clreduce.dask.graphs.PART", 10)  # as if the device added up other parts than all others do
    with pytest.raises(DeviceError, match="adds up parts of 16384 columns, so results would depend on the chunks"):
        graph(*chunks, deterministic=True).compute()


@pytest.mark.parametrize("reduction", ["Sum", "LogSumExp", "Min"])
def test_derivatives(device, reduction):
    arrays, chunks = data()
    rng = np.random.default_rng(2)
    cotangent, tangents = rng.normal(size=(M, 1)), {"x": rng.normal(size=(M, 2)), "p": rng.normal(size=1)}
    cotangent_chunks = da.from_array(cotangent, chunks=(ROWS, 1))
    single, graph = (each.Genred(GAUSSIAN, ALIASES, reduction, axis=1) for each in (whole, chunked))
    gradients = graph.vjp(*chunks, cotangent=cotangent_chunks)
    assert_equal(gradients, single.vjp(*arrays, cotangent=cotangent))
    assert [gradient.chunks for gradient in gradients[:3]] == [array.chunks for array in chunks[:3]]
    assert_equal(graph.grad("y")(*chunks, cotangent_chunks), single.grad("y")(*arrays, cotangent))
    assert_equal(graph.jvp(*chunks, tangents=tangents), single.jvp(*arrays, tangents=tangents))
    second = {"cotangent": cotangent, "tangents": tangents, "wrt": ["x", "b"]}
    if reduction != "Min":
        assert_equal(graph.hvp(*chunks, **second), single.hvp(*arrays, **second))


@pytest.mark.parametrize("reduction", ["Sum", "Min_ArgMin"])
def test_ranges_make_tasks_for_visited_pairs_of_chunks_only(device, reduction):
    arrays, chunks = data()
    i = [np.array([[0, 9], [10, 14], [15, 20]]), np.array([1, 3, 3]), np.array([[0, 4], [3, 30], [25, 46]])]
    j = [np.array([[0, 3], [3, 4], [4, 25], [25, 30], [30, 46]]), np.array([1, 3, 4, 6, 7]),
         np.array([[0, 9], [0, 9], [10, 14], [10, 14], [10, 14], [10, 14], [10, 14]])]  # fmt: skip
    ranges = (*i, *j)
    single, graph = (each.Genred(GAUSSIAN, ALIASES, reduction, axis=1) for each in (whole, chunked))
    found = graph(*chunks, ranges=ranges)
    assert_equal(found, single(*arrays, ranges=ranges))
    first = found[0] if isinstance(found, tuple) else found
    tasks = [key for key in first.dask.to_dict() if isinstance(key, tuple) and key[0].endswith("-partial")]
    # Rows 0 to 9 visit the first chunk of columns, rows 10 to 13 all but the empty and the last one, the others none.
    assert {key[1:] for key in tasks} == {(1, 0), (1, 1), (1, 3), (1, 4)}
    cotangent = np.random.default_rng(2).normal(size=(M, 1))
    gradients = graph.vjp(*chunks, cotangent=cotangent, ranges=ranges)
    assert_equal(gradients, single.vjp(*arrays, cotangent=cotangent, ranges=ranges))
    assert max(len(pickle.dumps(task)) for task in first.dask.to_dict().values()) < 20_000


def test_batches_in_chunks(device):
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=size) for size in ((5, 1, 8, 2), (3, 9, 2), (5, 3, 9, 1), (5, 1, 1))]
    chunks = [
        da.from_array(array, chunks=sizes)
        for array, sizes in zip(arrays, ((2, 1, 3, 2), (2, 4, 2), (2, 2, 4, 1), (5, 1, 1)), strict=True)
    ]
    single, graph = (each.Genred(GAUSSIAN, ALIASES, "LogSumExp", axis=1) for each in (whole, chunked))
    found = graph(*chunks)
    assert found.chunks == ((2, 2, 1), (2, 1), (3, 3, 2), (1,))
    assert_equal(found, single(*arrays))
    cotangent = rng.normal(size=(5, 3, 8, 1))
    assert_equal(graph.vjp(*chunks, cotangent=cotangent), single.vjp(*arrays, cotangent=cotangent))


def test_lazy_tensors(device):
    (x, y, b, _), (X, Y, B, _) = data()
    k = (-0.5 * ((whole.Vi(x) - whole.Vj(y)) ** 2).sum(-1)).exp()
    K = (-0.5 * ((chunked.Vi(X) - chunked.Vj(Y)) ** 2).sum(-1)).exp()
    assert type(cr.LazyTensor(X[:, None])) is chunked.LazyTensor
    assert type(cr.Vi(X) - cr.Vj(Y)) is chunked.LazyTensor
    for found, wanted in (
        (K @ B, k @ b), (K @ B[:, 0], k @ b[:, 0]), (X.T @ K, x.T @ k), (K.sum(axis=0), k.sum(axis=0)),
        (K.argmin(axis=1), k.argmin(axis=1)), (K.Kmin(3, axis=1), k.Kmin(3, axis=1)), (K.dense(), k.dense()),
        (K[3:20, 4:], k[3:20, 4:]), (K.where(K.i < K.j).sum(axis=1), k.where(k.i < k.j).sum(axis=1)),
        ((K > 0.5).any(axis=1), (k > 0.5).any(axis=1)), (K.sum(), k.sum()), (K.logsumexp(), k.logsumexp()),
        (K.var(axis=(0, 1)), k.var(axis=(0, 1))), (K.argmax(), k.argmax()),
        (cr.Genred(GAUSSIAN, ALIASES, axis=1)(X, Y, B, 1), cr.Genred(GAUSSIAN, ALIASES, axis=1)(x, y, b, 1)),
    ):  # fmt: skip
        found, wanted = (each.dense() if hasattr(each, "dense") else each for each in (found, wanted))
        assert_equal(found, np.asarray(wanted))
    z = np.exp(1j * x)
    Z = da.from_array(z, chunks=(ROWS, 1 + 1))
    assert_equal((chunked.Vi(Z) * chunked.Vj(Y)).sum(axis=1), (whole.Vi(z) * whole.Vj(y)).sum(axis=1))
    half, Half = x.astype("float16"), X.astype("float16")
    wanted = ((whole.Vi(half) - whole.Vj(y.astype("float16"))) ** 2).sum(axis=1)
    assert_equal(((chunked.Vi(Half) - chunked.Vj(Y.astype("float16"))) ** 2).sum(axis=1), wanted)
    assert_equal(pickle.loads(pickle.dumps(K)) @ B, k @ b)


def test_graphs_are_linear_in_the_pairs_of_chunks_and_no_block_is_dense(device):
    x = da.random.default_rng(0).random((400, 2), chunks=(100, 2))
    y = da.random.default_rng(1).random((900, 2), chunks=(100, 2))
    total = chunked.Genred("Exp(-SqDist(x, y))", ALIASES[:2], "Sum", axis=1)(x, y)
    assert isinstance(total, da.Array)
    graph = total.dask.to_dict()
    inputs = len(x.dask.to_dict()) + len(y.dask.to_dict())
    pairs, merges, others = 4 * 9, 4 * 3, 4 * 2
    assert len(graph) <= pairs + merges + others + inputs
    sizes = {}

    class Recorded(Callback):
        def _posttask(self, key, result, graph, state, worker):
            parts = result if isinstance(result, tuple) else (result,)
            sizes[key] = sum(part.nbytes for part in parts if isinstance(part, np.ndarray))

    with Recorded():
        total.compute()
    assert max(sizes.values()) <= total.nbytes  # the result: a block of 100 x 100 pairs would take 25 times as much
    assert chunked.Genred("Exp(-SqDist(x, y))", ALIASES[:2], "Sum", axis=1)(x, y).name == total.name


@pytest.mark.parametrize(
    "options", [{}, {"preconditioner": "diagonal"}, {"preconditioner": ("nystrom", 5)}, {"solver": "gmres"}]
)
def test_solves(device, options):
    rng = np.random.default_rng(4)
    x, b = rng.normal(size=(M, 2)), rng.normal(size=(M, 3))
    X, B = da.from_array(x, chunks=(ROWS, 2)), da.from_array(b, chunks=(ROWS, 3))
    K = (-((chunked.Vi(X) - chunked.Vj(X)) ** 2).sum(-1)).exp()
    found, how = K.solve(B, alpha=0.1, eps=1e-9, info=True, **options)
    dense = np.exp(-((x[:, None] - x) ** 2).sum(-1)) + 0.1 * np.eye(M)
    assert isinstance(found, da.Array)
    assert found.chunks == B.chunks
    assert how.converged
    np.testing.assert_allclose(dense @ found.compute(), b, atol=1e-7)
    weighted = chunked.KernelSolve("w * Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)", "w = Vi(1)"],
                                   "b", axis=1)  # fmt: skip
    w = np.linspace(1, 2, M)[:, None]
    flat = weighted(X, X, B[:, 0], w, alpha=0.1, eps=1e-9, x0=B[:, 0], **options)
    product = w * (dense - 0.1 * np.eye(M)) @ flat.compute() + 0.1 * flat.compute()
    np.testing.assert_allclose(product, b[:, 0], atol=1e-7)


def test_solves_in_a_batch_and_with_ranges(device):
    rng = np.random.default_rng(5)
    x, b = rng.normal(size=(2, 12, 2)), rng.normal(size=(2, 12, 1))
    X, B = da.from_array(x, chunks=(1, 5, 2)), da.from_array(b, chunks=(1, 5, 1))
    single, graph = (each.KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES[:3], "b", axis=1) for each in (whole, chunked))
    options = {"alpha": 0.1, "eps": 1e-10}
    nystrom = {"preconditioner": ("nystrom", 3)}
    assert_equal(graph(X, X, B, **options, **nystrom), single(x, x, b, **options), rtol=1e-7)
    halves = [np.array([[0, 6], [6, 12]]), np.array([1, 2]), np.array([[0, 6], [6, 12]])]
    ranges = (*halves, *halves)
    assert_equal(graph(X, X, B, ranges=ranges, **options), single(x, x, b, ranges=ranges, **options), rtol=1e-7)


def test_one_error_each(device):
    (x, y, b, p), (X, Y, B, P) = data()
    gaussian = chunked.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)
    with pytest.raises(ShapeError, match=r"unknown sizes.*compute_chunk_sizes"):
        gaussian(X[X[:, 0] > 0], Y, B, P)
    with pytest.raises(ShapeError, match="unknown sizes"):
        chunked.Vi(X[X[:, 0] > 0])
    with pytest.raises(ShapeError, match=r"same chunks along j.*, 12, 1\) and \(20, 20, 7\): write.*rechunk"):
        gaussian(X, Y.rechunk({0: 20}), B, P)
    with pytest.raises(ShapeError, match=r"each vector must lie in one chunk.*rechunk"):
        gaussian(X.rechunk({1: 1}), Y, B, P)
    with pytest.raises(ShapeError, match="number of rows N"):
        gaussian(X, Y, B[:-1], P)
    with pytest.raises(DtypeError, match="must be a dask array; got str"):
        gaussian("x", Y, B, P)
    with pytest.raises(OptionError, match="out= is not available"):
        gaussian(X, Y, B, P, out=np.empty((M, 1)))
    with pytest.raises(BackendError, match="unknown backend"):
        gaussian(X, Y, B, P, backend="TPU")
    with pytest.raises(ShapeError, match="one LazyTensor holds data of dask, the other of numpy"):
        chunked.Vi(X) - whole.Vj(y)
    with pytest.raises(SolveError, match="not positive definite"):
        ((chunked.Vi(X) * 2 - chunked.Vj(X)) ** 2).sum(-1).exp().solve(X)
    solve = chunked.KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES[:3], "b", axis=1)
    with pytest.raises(NotDifferentiableError, match="a solve of dask arrays"):
        solve.vjp(Y, Y, B, cotangent=B)
    # Arrays of one chunk are cut as the others are, and arrays of NumPy are such.
    assert_equal(gaussian(x, Y, b, p), whole.Genred(GAUSSIAN, ALIASES, "Sum", axis=1)(x, y, b, p))


def test_other_packages_wrap_dask_arrays():
    class DataArray:
        """As those of xarray: with the array in ``data``."""

        def __init__(self, array):
            self.data = array

    _, (X, Y, _, _) = data()
    distances = chunked.Genred("SqDist(x, y)", ALIASES[:2], "Min", axis=1)
    assert distances(DataArray(X), DataArray(Y)).name == distances(X, Y).name


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_schedulers(scheduler):
    arrays, chunks = data()
    options = {"num_workers": 2, "scheduler": scheduler}
    found = chunked.Genred(GAUSSIAN, ALIASES, "LogSumExp", axis=1)(*chunks).compute(**options)
    np.testing.assert_allclose(found, whole.Genred(GAUSSIAN, ALIASES, "LogSumExp", axis=1)(*arrays), rtol=1e-12)


def _deadly(block: Any, marker: str = "") -> Any:
    """Ends the worker that computes it first."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_cluster(tmp_path):
    distributed = pytest.importorskip("distributed")
    arrays, chunks = data()
    (x, y, b, p), (X, Y, B, P) = arrays, chunks
    rng = np.random.default_rng(6)
    cotangent, right = rng.normal(size=(M, 1)), rng.normal(size=(M, 1))
    last = len(devices()) - 1
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "resources": {RESOURCE: last}}
    with (
        dask.config.set(scheduler=None),
        distributed.LocalCluster(**options, local_directory=tmp_path) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        assert len(set(pids.values())) == 2
        for reduction, more in (("Sum", {}), ("LogSumExp", {}), ("ArgKMin", {"opt_arg": 3})):
            single, graph = (each.Genred(GAUSSIAN, ALIASES, reduction, axis=1, **more) for each in (whole, chunked))
            assert_equal(graph(*chunks), single(*arrays), rtol=1e-10)
        single, graph = (each.Genred(GAUSSIAN, ALIASES, "Sum", axis=1) for each in (whole, chunked))
        gradients = graph.vjp(*chunks, cotangent=da.from_array(cotangent, chunks=(ROWS, 1)))
        assert_equal(gradients, single.vjp(*arrays, cotangent=cotangent), rtol=1e-10)
        K = (-((chunked.Vi(X) - chunked.Vj(X)) ** 2).sum(-1)).exp()
        k = (-((whole.Vi(x) - whole.Vj(x)) ** 2).sum(-1)).exp()
        solution = K.solve(da.from_array(right, chunks=(ROWS, 1)), alpha=0.5, eps=1e-10)
        assert_equal(solution, k.solve(right, alpha=0.5, eps=1e-10), rtol=1e-7)
        # A worker ends in the middle: its chunks and states are computed again.
        deadly = Y.map_blocks(_deadly, marker=str(tmp_path / "died"), dtype=Y.dtype, meta=np.empty((0, 2)))
        assert_equal(graph(X, deadly, B, P), single(x, y, b, p), rtol=1e-10)
        assert (tmp_path / "died").exists()
        assert set(client.run(os.getpid).values()) != set(pids.values())
        # The number among its resources is that of a worker's device.
        assert client.submit(lambda: repr(device_of_worker())).result() == repr(devices()[last])
    assert device_of_worker() is None
    assert GRAPHS.executor("auto", -1, None, None).here() == one_device(cr.current_device())

"""Arrays that are read block by block give the numbers of the same arrays in memory, and are never read at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import clreduce
from clreduce.errors import DtypeError, ShapeError
from clreduce.numpy import Genred, Vi, Vj
from clreduce.runtime.sources import BlockSource, is_source

ALIASES = ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"]
FORMULAS = [
    ("Exp(-SqDist(x, y)) * b", "Sum", None),
    ("SqDist(x, y) + b", "ArgKMin", 3),
    ("SqDist(x, y)*b", "LogSumExp", None),
]
pytestmark = pytest.mark.usefixtures("plain_kernels")


class Dataset:
    """What a file gives: shape, dtype and slices; it notes the largest part that was read."""

    def __init__(self, array):
        self._array, self.largest, self.reads = array, 0, 0
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, (100,) * array.ndim

    def __getitem__(self, place):
        part = self._array[place]
        self.largest, self.reads = max(self.largest, part.nbytes), self.reads + 1
        return part


def arrays(rows=900, columns=1100, dtype="float32"):
    rng = np.random.default_rng(2)
    return [rng.normal(size=shape).astype(dtype) for shape in ((rows, 2), (columns, 2), (columns, 1))]


@pytest.mark.parametrize(("formula", "reduction", "count"), FORMULAS)
@pytest.mark.parametrize("limit", [None, "9KB", "30KB"])
def test_blocks_give_the_numbers_of_the_whole(device, formula, reduction, count, limit):
    x, y, b = arrays()
    routine = Genred(formula, ALIASES, reduction, axis=1, opt_arg=count)
    sources = [Dataset(x), Dataset(y), Dataset(b)]
    found = routine(*sources, max_memory=limit)
    np.testing.assert_allclose(found, routine(x, y, b), rtol=2e-5, atol=2e-5)
    if limit == "9KB":
        assert max(source.largest for source in sources) < 4000
        assert sources[1].reads > 3
    np.testing.assert_allclose(routine(sources[0], y, b, max_memory=limit), found, rtol=2e-5, atol=2e-5)


def test_gradients_and_parameters(device):
    x, y, b = arrays()
    routine = Genred("Exp(-SqDist(x, y) * p) * b", [*ALIASES, "p = Pm(1)"], axis=1)
    p, cotangent = np.array([0.3], "float32"), np.ones((900, 1), "float32")
    wanted = routine.vjp(x, y, b, p, cotangent=cotangent)
    found = routine.vjp(*map(Dataset, (x, y, b, p)), cotangent=cotangent, max_memory="30KB")
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_lazy_tensors(device):
    x, y, _ = arrays()
    wanted = Vi(x).sqdist(Vj(y)).argKmin(3, axis=1)
    found = Vi(Dataset(x)).sqdist(Vj(Dataset(y))).argKmin(3, axis=1, max_memory="30KB")
    np.testing.assert_array_equal(found, wanted)


def test_other_dtypes_are_converted_block_by_block(device):
    x, y, b = arrays(dtype="float64")
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    wanted = routine(x, y, np.rint(b))
    source = Dataset(np.rint(b).astype("int16"))
    np.testing.assert_allclose(routine(x, y, source, max_memory="60KB"), wanted, rtol=1e-12, atol=1e-12)


def test_files_in_and_out(device, tmp_path):
    """Of a file mapped to memory, parts are read; results are written into another."""
    x, y, b = arrays(rows=20_000)
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    files = []
    for name, array in (("x", x), ("y", y), ("b", b)):
        file = np.memmap(tmp_path / name, array.dtype, "w+", shape=array.shape)
        file[...] = array
        file.flush()
        files.append(np.memmap(tmp_path / name, array.dtype, "r", shape=array.shape))
    out = np.memmap(tmp_path / "out", "float32", "w+", shape=(20_000, 1))
    result = routine(*files, out=out, max_memory="60KB")
    assert result is out
    np.testing.assert_allclose(out, routine(x, y, b), rtol=1e-5, atol=1e-5)
    wide = np.memmap(tmp_path / "wide", "float64", "w+", shape=x.shape)
    wide[...] = x
    np.testing.assert_allclose(routine(wide, y.astype("float64"), b, max_memory="90KB"), out, rtol=1e-4, atol=1e-4)


def test_memory_stays_small(device, tmp_path):
    """Python and NumPy take no more than the limit and the result while a large source is read."""

    class Made:
        shape, dtype = (400_000, 2), np.dtype("float64")

        def __getitem__(self, place):
            start, stop, _ = place[0].indices(self.shape[0])
            return np.linspace(start, stop, 2 * (stop - start)).reshape(-1, 2)

    y, b = np.zeros((3, 2), "float32"), np.ones((3, 1), "float32")
    out = np.empty((400_000, 1), "float64")
    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    routine(Made(), y, b, out=out, max_memory="1MB")
    tracemalloc.start()
    try:
        routine(Made(), y, b, out=out, max_memory="1MB")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_source_that_changes_or_fails(device):
    x, y, b = arrays()

    class Shrinking(Dataset):
        def __getitem__(self, place):
            return super().__getitem__(place)[:-1]

    class Broken(Dataset):
        def __getitem__(self, place):
            raise OSError("the file is gone")

    routine = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    with pytest.raises(ShapeError, match="the shape that it had when the call began"):
        routine(Shrinking(x), y, b, max_memory="30KB")
    with pytest.raises(OSError, match="the file is gone"):
        routine(x, Broken(y), b, max_memory="30KB")
    with pytest.raises(ShapeError, match="must have the same number of rows"):
        routine(x, Dataset(y), Dataset(b[:-1]))
    of_text, endless = Dataset(y), Dataset(y)
    of_text._array, endless.shape = y.astype(str), (float("nan"), 2)
    with pytest.raises(DtypeError, match="says that its dtype is float32, and gave a block of dtype <U"):
        routine(x, of_text, b)
    with pytest.raises(ShapeError, match="has a shape of whole numbers; that of a Dataset is"):
        routine(x, endless, b)
    with pytest.raises(DtypeError, match="of dtype object: what is read block by block has real numbers"):
        routine(x, Dataset(y.astype(object)), b)
    np.testing.assert_allclose(routine(x, y, b), routine(Dataset(x), y, b), rtol=1e-6)


def test_what_a_source_is():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    assert is_source(Dataset(np.zeros((3, 2))))
    assert not is_source(np.zeros((3, 2)))
    assert not is_source(scipy_sparse.eye(3).tocsr())
    assert not is_source(Dataset(np.zeros((3, 2), "complex64")))
    assert not is_source([1.0, 2.0])
    assert not is_source("text")
    source = BlockSource(Dataset(np.arange(6.0).reshape(3, 1, 2)))
    assert source.reshape(3, 2)[1:2].tolist() == [[2.0, 3.0]]
    with pytest.raises(ShapeError, match="cannot be taken as one of shape"):
        source.reshape(2, 3)


def test_systems_take_sources(device):
    x, _, _ = arrays(rows=60)
    solve = clreduce.numpy.KernelSolve("Exp(-SqDist(x, y)) * a", ["x = Vi(2)", "y = Vj(2)", "a = Vj(1)"], "a", axis=1)
    right = np.ones((60, 1), "float32")
    np.testing.assert_allclose(
        solve(Dataset(x), Dataset(x), right, alpha=0.5), solve(x, x, right, alpha=0.5), rtol=1e-4
    )


def test_systems_larger_than_the_memory(device):
    """Products in blocks, where the whole does not fit."""
    x = np.random.default_rng(0).normal(size=(700, 2))
    system = Vi(x).sqdist(Vj(x))
    wanted = (-system).exp().solve(np.ones((700, 1)), alpha=1.0)
    clreduce.set_max_memory("25KB")
    try:
        found = (-system).exp().solve(np.ones((700, 1)), alpha=1.0)
    finally:
        clreduce.set_max_memory(None)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)

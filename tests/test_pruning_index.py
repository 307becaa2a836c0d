"""An index never changes a result: whatever becomes of its points, from whichever library they are."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from oracle import Array

import clreduce
from clreduce.errors import DtypeError
from clreduce.runtime.device import Device


def points(seed: int = 0, count: int = 300) -> Array:
    return np.random.default_rng(seed).random((count, 3)).astype(np.float32)


def nearest(x: Any, y: Any, prune: bool = True) -> Any:
    return clreduce.Vi(x).sqdist(clreduce.Vj(y)).argKmin(3, axis=1, prune=prune)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_copies_of_an_index(
    again: Callable[[clreduce.Index], clreduce.Index], device: Device, plain_kernels: None
) -> None:
    index = clreduce.Index(points())
    for _ in range(2):  # before and after its points are sorted
        np.testing.assert_array_equal(nearest(points(1), again(index)), nearest(points(1), points(), prune=False))
        nearest(points(1), index)


def test_the_points_of_an_index_are_read_only() -> None:
    index = clreduce.Index(points())
    with pytest.raises(ValueError, match="read-only"):
        index.points[0] = 0
    with pytest.raises(ValueError, match="WRITEABLE"):
        index.points.setflags(write=True)


@pytest.mark.parametrize("seen", ["grad", "no_grad", "inference_mode"])
def test_tensors_are_sorted_again_after_a_change_in_place(seen: str, device: Device, plain_kernels: None) -> None:
    torch = pytest.importorskip("torch")
    modes = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
    with modes[seen]():
        x, y = (torch.from_numpy(points(seed)) for seed in (1, 0))
        index = clreduce.Index(y)
        y.zero_()  # the index has a copy
        for change in (lambda: None, lambda: index.points.mul_(0.3), lambda: index.points[:5].fill_(0.5)):
            change()
            for _ in range(2):
                assert (nearest(x, index) == nearest(x, index.points.clone(), prune=False)).all()


def test_an_index_inside_of_transforms(device: Device, plain_kernels: None) -> None:
    torch = pytest.importorskip("torch")
    x, y = (torch.from_numpy(points(seed)) for seed in (1, 0))

    def least(y: Any) -> Any:
        return clreduce.Vi(x).sqdist(clreduce.Vj(clreduce.Index(y))).min(axis=1, prune=True)

    expected = clreduce.Vi(x).sqdist(clreduce.Vj(y)).min(axis=1, prune=False)
    torch.testing.assert_close(torch.func.vmap(least)(torch.stack([y, y.flip(0)])), torch.stack([expected, expected]))
    slope = torch.func.grad(lambda y: least(y).sum())(y)
    torch.testing.assert_close(slope, torch.func.grad(lambda y: clreduce.Vi(x).sqdist(clreduce.Vj(y)).min(1).sum())(y))


def test_big_endian_points(device: Device, plain_kernels: None) -> None:
    index = clreduce.Index(points().astype(">f4"))
    np.testing.assert_array_equal(nearest(points(1), index), nearest(points(1), points(), prune=False))


@pytest.mark.parametrize("library", ["jax.numpy", "dask.array", "clreduce"])
def test_points_of_other_libraries_are_refused(library: str) -> None:
    wrong = clreduce.Index(points()) if library == "clreduce" else pytest.importorskip(library).zeros((3, 2))
    with pytest.raises(DtypeError, match="of NumPy or a tensor of PyTorch; got "):
        clreduce.Index(wrong)


def test_sparse_tensors_are_no_points() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(DtypeError, match="dense points; got a tensor of layout torch"):
        clreduce.Index(torch.zeros(3, 2).to_sparse())

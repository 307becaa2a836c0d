"""`Index`: points that are sorted into blocks once, for all calls that skip blocks of pairs."""

from __future__ import annotations

import sys
import threading
from functools import cached_property
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from clreduce.errors import DtypeError, ShapeError
from clreduce.partition import Boxes, Partition, partition
from clreduce.typing import Array

Key = tuple[int, tuple[int, ...], str]
BLOCK, FINEST = 64, 16
"""Points of a block, and of the smallest ones: rows that a processor keeps in one vector."""


class Index:
    """Points (N, D) that stay the same for many calls: they are sorted into blocks once.

    ``Vj(index)`` and ``Vi(index)`` stand for the points in formulas; a `Genred` takes ``index.points``. Calls that skip
    pairs (``prune``, ``atol``, ``rtol``) then need not sort them. Results are the same without an index.

    Parameters
    ----------
    points : array of shape (N, D)
        An array of NumPy or a tensor of PyTorch, float32 or float64: the dtype of the calls. A copy is
        kept, so later changes of ``points`` do not reach the index. Derivatives in PyTorch do reach the tensor. The
        blocks of tensors on a device other than the host are not kept.

    Raises
    ------
    ShapeError
        The points are not the rows of a matrix.
    DtypeError
        The points are not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> import clreduce as cr
    >>> rng = np.random.default_rng(0)
    >>> index = cr.Index(rng.random((1000, 3)))
    >>> for queries in rng.random((2, 500, 3)):
    ...     nearest = cr.Vi(queries).sqdist(cr.Vj(index)).argKmin(5, axis=1, prune=True)
    >>> nearest.shape
    (500, 5)
    """

    def __init__(self, points: Any) -> None:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(points, torch.Tensor):
            dtype = str(points.dtype).removeprefix("torch.")
            self.points: Any = points.clone(memory_format=torch.contiguous_format)
            self._host: Array | None = self.points.detach().numpy() if points.device.type == "cpu" else None
        else:
            self.points = self._host = np.array(points, order="C")
            self.points.setflags(write=False)
            dtype = self.points.dtype.name
        if self.points.ndim != 2:
            raise ShapeError(f"an index is made of points of shape (N, D); got shape {tuple(self.points.shape)}")
        if dtype not in ("float32", "float64"):
            raise DtypeError(f"an index is made of float32 or float64 points; got {dtype}: convert them")
        self._lock = threading.Lock()
        if self._host is not None:
            _known[_key(self._host)] = self

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        count, dim = self.points.shape
        return f"Index of {count} points of {dim} components"

    @cached_property
    def _sorted(self) -> tuple[Partition, Array, Boxes]:
        assert self._host is not None
        near = partition(self._host, FINEST)
        ordered = np.ascontiguousarray(self._host[near.order])
        return near, ordered, near.boxes(ordered)

    def blocks(self) -> tuple[Partition, Array, Boxes]:
        """The partition of the points, the points in its order, and the boxes of its blocks; made once."""
        with self._lock:
            return self._sorted


_known: WeakValueDictionary[Key, Index] = WeakValueDictionary()
"""All indices of arrays of the host, by the memory that they own."""


def _key(array: Array) -> Key:
    return array.__array_interface__["data"][0], array.shape, array.dtype.name


def index_of(array: Array) -> Index | None:
    """The index whose points an array shows, if it is one."""
    if not _known or not array.flags.c_contiguous:
        return None
    return _known.get(_key(array))

"""`Index`: points that are sorted into blocks once, for all calls that skip blocks of pairs."""

from __future__ import annotations

import sys
import threading
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from clreduce.adapters.foreign import is_foreign
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
        An array of NumPy, or what NumPy reads as one, or a tensor of PyTorch; float32 or float64: the dtype of the
        calls. A copy is kept, so later changes of ``points`` do not reach the index. Derivatives in PyTorch do reach
        the tensor. The blocks of tensors on a device other than the host, and inside of `torch.func`'s transforms, are
        not kept.

    Attributes
    ----------
    points : array of shape (N, D)
        The copy. That of NumPy is read-only. After an operation of PyTorch has changed it in place, the next call sorts
        it again; changes that PyTorch does not count, as through ``.data`` or ``.numpy()``, are not noticed.

    Raises
    ------
    ShapeError
        The points are not the rows of a matrix.
    DtypeError
        The points are not float32 or float64, or an array of another library.

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

    def __init__(self, points: object) -> None:
        torch = sys.modules.get("torch")
        is_tensor = torch is not None and isinstance(points, torch.Tensor)
        library = type(points).__module__.partition(".")[0]
        if not is_tensor and (is_foreign(points) or library in ("clreduce", "dask", "jax", "pyopencl")):
            raise DtypeError(
                f"an index needs an array of NumPy or a tensor of PyTorch; got {type(points).__name__}: "
                "convert it, or pass it to calls as it is, which sort it each time"
            )
        copied, host = _copied_tensor(torch, points) if is_tensor else _copied_array(points)
        self.points: Any = copied
        self._host: Array | None = host
        dtype = str(copied.dtype).removeprefix("torch.")
        if copied.ndim != 2:
            raise ShapeError(f"an index needs points of shape (N, D); got shape {tuple(copied.shape)}")
        if dtype not in ("float32", "float64"):
            raise DtypeError(f"an index needs float32 or float64 points; got {dtype}: convert them")
        self._lock = threading.Lock()
        self._blocks: tuple[int, Partition, Array, Boxes] | None = None
        if self._host is not None:
            _known[_key(self._host)] = self

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        count, dim = self.points.shape
        return f"Index of {count} points of {dim} components"

    def __reduce__(self) -> tuple[object, ...]:
        return Index, (self.points,)

    def blocks(self) -> tuple[Partition, Array, Boxes]:
        """The partition of the points, the points in its order, and the boxes of its blocks; made once."""
        assert self._host is not None, "only points on the host have blocks"
        with self._lock:
            version = 0 if isinstance(self.points, np.ndarray) else self.points._version
            if self._blocks is None or self._blocks[0] != version:
                near = partition(self._host, FINEST)
                ordered = np.ascontiguousarray(self._host[near.order])
                self._blocks = version, near, ordered, near.boxes(ordered)
            return self._blocks[1:]


def _copied_array(points: Any) -> tuple[Array, Array]:
    """A read-only copy, twice."""
    copied = np.array(points, order="C")
    copied = copied.astype(copied.dtype.newbyteorder("="), copy=False)
    copied.setflags(write=False)
    view = copied.view()  # whose flag nobody can set back
    return view, view


def _copied_tensor(torch: Any, points: Any) -> tuple[Any, Array | None]:
    """A copy, and its memory as an array; None if that is not the host's, or hidden by a transform."""
    if points.layout is not torch.strided:
        raise DtypeError(f"an index needs dense points; got a tensor of layout {points.layout}: convert it")
    with_grad = torch.is_grad_enabled()
    # Tensors of inference mode do not count their changes.
    with torch.inference_mode(False), torch.set_grad_enabled(with_grad):
        copied = points.clone(memory_format=torch.contiguous_format)
    if copied.device.type != "cpu" or torch._C._functorch.is_functorch_wrapped_tensor(copied):
        return copied, None
    return copied, copied.detach().numpy()


_known: WeakValueDictionary[Key, Index] = WeakValueDictionary()
"""All indices of arrays of the host, by the memory that they own."""


def _key(array: Array) -> Key:
    return array.__array_interface__["data"][0], array.shape, array.dtype.name


def index_of(array: Array) -> Index | None:
    """The index whose points an array shows, if it is one."""
    if not _known or not array.flags.c_contiguous:
        return None
    return _known.get(_key(array))

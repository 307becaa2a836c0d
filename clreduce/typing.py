"""Types that many modules share."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
"""A NumPy array of any shape and dtype."""
DType: TypeAlias = np.dtype[Any]
"""A dtype of NumPy."""
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""A value that `json` writes and reads."""


class AnyArray(Protocol):
    """An array of any library: NumPy, PyTorch, JAX, Dask or pyopencl; or a `BlockSource`.

    Functions that serve all libraries take arrays of this type. An argument before its check can be anything; its type
    is ``object``.

    >>> def rows(array: AnyArray) -> int:
    ...     return array.shape[0]
    >>> rows(np.ones((4, 3)))
    4
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> object: ...

    def reshape(self, shape: tuple[int, ...], /) -> AnyArray: ...
    def __getitem__(self, place: tuple[slice, ...], /) -> AnyArray: ...


SomeArray = TypeVar("SomeArray", bound=AnyArray)
"""Arrays of one library, whichever it is."""

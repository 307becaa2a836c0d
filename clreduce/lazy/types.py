"""Types in the signatures of `LazyTensor`: what may stand beside one, axes, and options of reductions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import Literal, Protocol, TypeAlias, TypedDict, Union

from clreduce.typing import Array


class HasShape(Protocol):
    """An array of any library, or a `LazyTensor`."""

    @property
    def shape(self) -> tuple[int, ...]: ...


Value: TypeAlias = Union[HasShape, complex, Sequence[complex]]  # noqa: UP007  # evaluated where Python is 3.10
"""The other operands of operators and methods: a tensor, an array, a number, or a list of numbers."""
Axis: TypeAlias = Union[int, Sequence[int], None]  # noqa: UP007
"""One axis, several, or all of them (None)."""
VectorAxis: TypeAlias = Literal[-1]
"""The last axis, as type checkers take it: that of the vectors. Of a matrix it is j."""
VectorsOrJ: TypeAlias = Literal[2, 3]
"""Axes that are those of the vectors or of j, as the number of batch dimensions decides."""
Position: TypeAlias = "int | slice | EllipsisType | Sequence[int] | Sequence[bool] | HasShape"
"""A selection from one axis: a number, a slice, indices, or a mask."""
Parts: TypeAlias = "slice | EllipsisType | list[int] | list[bool] | tuple[slice | EllipsisType, ...]"
"""A selection that keeps all axes."""
Ranges: TypeAlias = Sequence[HasShape]
"""Six arrays of integers, which name the pairs that are visited (`cluster.from_matrix`)."""
Out: TypeAlias = Union[HasShape, Sequence[HasShape]]  # noqa: UP007
"""The array that receives a result, or one for each of several results."""


class CallOptions(TypedDict, total=False):
    """Options of each reduction over i or j, as in `Genred` and in its call."""

    out: Out | None
    backend: str | None
    device_id: int
    ranges: Ranges | None
    max_memory: int | str | None
    deterministic: bool | None
    prune: bool | str
    atol: float | None
    rtol: float | None
    dtype_acc: str
    use_double_acc: bool
    sum_scheme: str
    fast: str | None
    accuracy: str
    enable_chunks: bool
    rec_multVar_highdim: bool | None
    use_fast_math: bool


class ListOptions(CallOptions, total=False):
    """Options of a reduction to lists of K values."""

    call: bool


class RowOptions(CallOptions, total=False):
    """Options of a reduction by its name, whose other arguments have parameters of their own."""

    keepdim: bool | None


class Options(RowOptions, ListOptions, total=False):
    """Options of a reduction to one value for each row."""


class SystemOptions(TypedDict, total=False):
    """Options of the solution of a linear system, as in `KernelSolve` and in its call, apart from ``info``."""

    alpha: float | HasShape
    eps: float
    x0: HasShape | None
    maxiter: int | None
    solver: str | Callable[..., object]
    preconditioner: object
    callback: Callable[[int, Array], object] | None
    progress: bool | None
    backend: str | None
    device_id: int
    ranges: Ranges | None
    dtype_acc: str
    use_double_acc: bool
    sum_scheme: str
    fast: str | None
    accuracy: str
    enable_chunks: bool
    rec_multVar_highdim: bool | None
    use_fast_math: bool


class SolutionOptions(SystemOptions, total=False):
    """Options of the solution of a linear system."""

    info: bool

"""Types in the signatures of `LazyTensor`: what may stand beside one, axes, and options of reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, TypedDict, Union


class HasShape(Protocol):
    """An array of any library, or a `LazyTensor`."""

    @property
    def shape(self) -> Any: ...


Value: TypeAlias = Union[HasShape, complex, Sequence[complex]]  # noqa: UP007  # evaluated where Python is 3.10
"""The other operands of operators and methods: a tensor, an array, a number, or a list of numbers."""
Axis: TypeAlias = Union[int, Sequence[int], None]  # noqa: UP007
"""One axis, several, or all of them (None)."""


class CallOptions(TypedDict, total=False):
    """Options of each reduction over i or j, as in `Genred` and in its call."""

    out: Any
    backend: str | None
    device_id: int
    ranges: Any
    max_memory: int | str | None
    deterministic: bool | None
    prune: Any
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

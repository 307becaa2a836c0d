"""What all parts of `LazyTensor` stand on: its formula and data, and how what is computed from them is recorded."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from clreduce.errors import ShapeError
from clreduce.frontends.lazy.leaves import Leaf, Operand, operand
from clreduce.ir.expr import Expr

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.frontends.routine import Routine


class Recorded:
    """A formula, the data behind its variables, and the sizes that they agree on."""

    library: ClassVar[ModuleType]
    """The adapter of the array library; set by the subclass that users see."""
    routine: ClassVar[type[Routine]]
    """What evaluates reductions; set likewise."""
    __slots__ = ("_batch", "_leaves", "backend", "expr", "is_complex", "ni", "nj", "ranges")

    expr: Expr
    """The formula."""
    ni: int | None
    """M, the number of i; None if no part of the formula depends on i."""
    nj: int | None
    """N, the number of j; None if no part of the formula depends on j."""
    is_complex: bool
    """Whether the components are complex numbers, kept as pairs of reals."""
    ranges: Any
    """Block-sparsity pattern used by all reductions of this tensor, or None; inherited by what is computed from it."""
    backend: str | None
    """Backend used by all reductions of this tensor, or None; inherited likewise."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # methods come from the registry

    def _set(
        self, expr: Expr, leaves: dict[Expr, Leaf], batch: tuple[int, ...], ni: int | None, nj: int | None,
        is_complex: bool, ranges: Any, backend: str | None,
    ) -> None:  # fmt: skip
        self.expr, self._leaves, self._batch, self.ni, self.nj = expr, leaves, batch, ni, nj
        self.is_complex, self.ranges, self.backend = is_complex, ranges, backend

    def _adopt(self, value: Operand, is_complex: bool) -> None:
        self._set(value.expr, value.leaves, value.batch, value.ni, value.nj, is_complex, None, None)

    # ------------------------------------------------------------------------------------------------------ recording

    @classmethod
    def _from(cls, value: Any) -> Any:
        """``value`` as a tensor."""
        if isinstance(value, Recorded):
            if value.library is not cls.library:
                raise ShapeError(
                    f"tensors of {cls.library.name} and of {value.library.name} do not mix: convert the data of one"
                )
            return value
        self = cls.__new__(cls)
        adopted = operand(value, cls.library)
        self._adopt(adopted, adopted.is_complex)
        return self

    def _record(self, expr: Expr, *others: Recorded, is_complex: bool = False) -> Self:
        """What ``expr`` computes from this tensor and ``others``, all of whose leaves it may use."""
        made = type(self).__new__(type(self))
        if not others:
            made._set(expr, self._leaves, self._batch, self.ni, self.nj, is_complex, self.ranges, self.backend)
            return made
        leaves, batch, ni, nj, ranges, backend = (
            self._leaves, self._batch, self.ni, self.nj, self.ranges, self.backend
        )  # fmt: skip
        for other in others:
            if other._leaves:
                leaves = {**leaves, **other._leaves} if leaves else other._leaves
            if other._batch != batch:
                batch = _joint_batch(batch, other._batch, self, other)
            if other.ni is not None:
                ni = other.ni if ni is None or ni == other.ni else _refuse("i", self, other)
            if other.nj is not None:
                nj = other.nj if nj is None or nj == other.nj else _refuse("j", self, other)
            if other.ranges is not None:
                ranges = _same("ranges", ranges, other.ranges)
            if other.backend is not None:
                backend = _same("backend", backend, other.backend)
        made._set(expr, leaves, batch, ni, nj, is_complex, ranges, backend)
        return made

    # ------------------------------------------------------------------------------------------------- what it is

    @property
    def _shape(self) -> tuple[int, ...]:
        """(batch.., M, N, D), M or N being 1 where nothing depends on it; D counts reals."""
        return (*self._batch, self.ni or 1, self.nj or 1, self.expr.dim)

    @property
    def shape(self) -> tuple[int, ...]:
        """(batch.., M, N, D), or (batch.., M, N) if D is 1; M or N is 1 where nothing depends on it."""
        *sizes, dim = self._shape
        dim = dim // 2 if self.is_complex else dim
        return tuple(sizes) if dim == 1 else (*sizes, dim)

    @property
    def ndim(self) -> int:
        """The number of axes, ``len(self.shape)``."""
        return len(self.shape)

    def dim(self) -> int:
        """The number of axes with that of the vectors: batch dimensions and 3."""
        return len(self._batch) + 3

    @property
    def batchdims(self) -> tuple[int, ...]:
        """The batch dimensions."""
        return self._batch

    @property
    def nbatchdims(self) -> int:
        """How many batch dimensions there are."""
        return len(self._batch)

    @property
    def dtype(self) -> str | None:
        """``"float32"``, ``"complex64"`` ...: that of the results; None as long as there are only numbers."""
        names = [
            self.library.dtype_name(leaf.array)
            for leaf in self._leaves.values()
            if leaf.array is not None and not isinstance(leaf.array, (float, tuple))
        ]
        if not names:
            return None
        real = np.result_type(*(_REAL_OF.get(name, name) for name in names))
        real = real if real.kind == "f" else np.dtype(np.float64)
        return {"float32": "complex64", "float64": "complex128"}.get(real.name) if self.is_complex else real.name


_REAL_OF = {"complex64": "float32", "complex128": "float64"}


def _joint_batch(a: tuple[int, ...], b: tuple[int, ...], x: Recorded, y: Recorded) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"the batch dimensions of {x._shape} and {y._shape} do not broadcast") from None


def _refuse(index: str, x: Recorded, y: Recorded) -> int:
    sizes = (x.ni, y.ni) if index == "i" else (x.nj, y.nj)
    raise ShapeError(
        f"the tensors differ in their number of {index}: {sizes[0]} and {sizes[1]} (shapes {x._shape} and {y._shape})"
    )


def _same(what: str, a: Any, b: Any) -> Any:
    if a is None or a is b or (isinstance(a, str) and a == b):
        return b
    raise ShapeError(f"two tensors that meet have different {what}: set the same, or on one of them only")

"""The base of all parts of `LazyTensor`: its formula and data, and the recording of operations on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.call.arguments import REAL_OF
from clreduce.call.routine import Routine
from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import REAL, Expr, substitute
from clreduce.lazy.leaves import Leaf, Operand, operand, with_array
from clreduce.ops.indices import as_real

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Ranges


Array = TypeVar("Array")
"""The arrays of a library, which reductions give."""


class Recorded(Generic[Array]):
    """A formula, the data behind its variables, and the sizes that they agree on.

    Public methods that give another tensor take ``self: Tensor``, a type variable: editors that read the source take
    ``Self`` for the class in which a method stands, and would complete its names only.
    """

    library: Adapter[Array, Any]  # a ClassVar would not know the type of arrays
    """The adapter of the array library; set by the subclass that users see."""
    routine: ClassVar[type[Routine]]
    """The class that evaluates reductions; set by the same subclass."""
    is_complex: ClassVar[bool] = False
    """Whether the components are complex numbers, kept as pairs of reals."""
    counterpart: ClassVar[type[Any]]
    """The class of complex tensors, for that of real ones; and the other way round."""
    __slots__ = ("_batch", "_leaves", "_vectors", "backend", "expr", "is_condition", "ni", "nj", "ranges")

    expr: Expr
    """The formula."""
    ni: int | None
    """M, the number of i; None if no part of the formula depends on i."""
    nj: int | None
    """N, the number of j; None if no part of the formula depends on j."""
    ranges: Ranges | None
    """Block-sparsity pattern used by all reductions of this tensor, or None; inherited by what is computed from it."""
    backend: str | None
    """Backend used by all reductions of this tensor, or None; inherited likewise."""
    _vectors: bool | None
    """Whether the shape has an axis of vectors. None: a matrix in which one of length 1 has gone (`_joined`)."""
    """Whether it has its vector axis, also of length 1. Reducing that axis leaves a number for each pair."""
    is_condition: bool
    """Whether its values are truth values: those of a comparison, or of conditions and ``& | ^ ~``."""

    def _set(
        self, expr: Expr, leaves: dict[Expr, Leaf], batch: tuple[int, ...], ni: int | None, nj: int | None,
        ranges: Ranges | None, backend: str | None, vectors: bool | None, is_condition: bool = False,
    ) -> None:  # fmt: skip
        self.expr, self._leaves, self._batch, self.ni, self.nj = expr, leaves, batch, ni, nj
        self.ranges, self.backend, self._vectors, self.is_condition = ranges, backend, vectors, is_condition

    # ------------------------------------------------------------------------------------------------------ recording

    @classmethod
    def _kind(cls, is_complex: bool) -> type[Any]:
        """The class for real or for complex tensors of this library."""
        return cls if cls.is_complex is is_complex else cls.counterpart

    @classmethod
    def _adopted(cls, value: Operand) -> Self:
        """A tensor of a user's value."""
        kind = cls._kind(value.is_complex)
        made: Self = object.__new__(kind)
        made._set(
            value.expr, value.leaves, value.batch, value.ni, value.nj, None, None, value.vectors, value.is_condition
        )  # fmt: skip
        return made

    @classmethod
    def _from(cls, value: Any) -> Any:
        """``value`` as a tensor."""
        if not isinstance(value, Recorded):
            return cls._adopted(operand(value, cls.library))
        if value.library is not cls.library:
            if all(data.array is None or type(data.array) is tuple for data in value._leaves.values()):
                return value._of_kind(cls._kind(value.is_complex))  # numbers and symbols are of no library
            raise ShapeError(
                f"one LazyTensor holds data of {cls.library.name}, the other of {value.library.name}: convert the data "
                "of one of them"
            )
        return value

    def _record(
        self, expr: Expr, *others: Recorded[Array], is_complex: bool = False, vectors: bool | None = None
    ) -> Self:  # fmt: skip
        """The tensor that ``expr`` computes from the data of this tensor and of ``others``.

        ``vectors`` says whether the result has a vector axis; None if that follows from the tensors (`_joined`).
        """
        kind = type(self) if self.is_complex is is_complex else self.counterpart
        made: Self = object.__new__(kind)
        leaves, batch, ni, nj, ranges, backend = (
            self._leaves, self._batch, self.ni, self.nj, self.ranges, self.backend
        )  # fmt: skip
        stretched, any_vectors = False, self._vectors is not False
        for other in others:
            any_vectors = any_vectors or other._vectors is not False
            if other._leaves is not leaves and other._leaves:
                leaves = {**leaves, **other._leaves} if leaves else other._leaves
            if other._batch != batch:
                batch = _joint_batch(batch, other._batch, (self, *others))
            if other.ni != ni:
                stretched |= ni is not None and other.ni is not None
                ni = _joint_size(ni, other.ni, "i", (self, *others))
            if other.nj != nj:
                stretched |= nj is not None and other.nj is not None
                nj = _joint_size(nj, other.nj, "j", (self, *others))
            if other.ranges is not None:
                ranges = _same("ranges", ranges, other.ranges)
            if other.backend is not None:
                backend = _same("backend", backend, other.backend)
        if vectors is None:
            vectors = expr.dim > 1 + is_complex or (_joined((self, *others)) if any_vectors else False)
        made._set(expr, leaves, batch, ni, nj, ranges, backend, vectors)
        if stretched:
            made._stretch(self, *others)
        return made

    def _stretch(self, *parts: Recorded[Array]) -> None:
        """Let the data of a single i or j among ``parts`` serve all i or j of this tensor: they become parameters."""
        replaced: dict[Expr, Expr] = {}
        for domain, size, sizes in (
            (Domain.I, self.ni, [part.ni for part in parts]),
            (Domain.J, self.nj, [part.nj for part in parts]),
        ):
            if size == 1 or 1 not in sizes:
                continue
            for leaf, data in list(self._leaves.items()):
                if leaf.domain == domain and data.source is not None and data.rows == 1:
                    array = data.array.reshape((*data.batch, data.array.shape[-1]))
                    new, moved = with_array(data.source.value, array, data.batch, leaf.dim, Domain.P, leaf.kind)
                    self._leaves = {**{k: v for k, v in self._leaves.items() if k is not leaf}, new: moved}
                    replaced[leaf] = new
        if replaced:
            (self.expr,) = substitute([self.expr], replaced)

    def _like(self, expr: Expr, leaves: dict[Expr, Leaf], **facts: Any) -> Self:
        """A tensor of the same kind with another formula and data, and with other ``facts``: batch, ni, nj, ranges."""
        made = object.__new__(type(self))
        batch, ni, nj = facts.get("batch", self._batch), facts.get("ni", self.ni), facts.get("nj", self.nj)
        ranges, vectors = facts.get("ranges", self.ranges), facts.get("vectors", self._vectors)
        made._set(expr, leaves, batch, ni, nj, ranges, self.backend, vectors, self.is_condition)
        return made

    def _as_shaped(self) -> Self:
        """This tensor with the axes of its shape, in which -1 is the last one: for functions of NumPy and PyTorch."""
        return self if self._vectors is not None else self._like(self.expr, self._leaves, vectors=False)

    def _of_kind(self, kind: type[Any]) -> Any:
        """This tensor as one of another class."""
        made = object.__new__(kind)
        made._set(
            self.expr, self._leaves, self._batch, self.ni, self.nj, self.ranges, self.backend, self._vectors,
            self.is_condition,
        )  # fmt: skip
        return made

    @property
    def _real_expr(self) -> Expr:
        """The formula; if it is an index, as a real number."""
        return self.expr if self.expr.kind == REAL else as_real(self.expr)

    # ------------------------------------------------------------------------------------------------- what it is

    @property
    def _sizes(self) -> tuple[int, int]:
        """M and N; 1 if nothing depends on i or j."""
        return 1 if self.ni is None else self.ni, 1 if self.nj is None else self.nj

    @property
    def _shape(self) -> tuple[int, ...]:
        """(batch.., M, N, D), with M or N 1 if nothing depends on i or j; D counts reals."""
        return (*self._batch, *self._sizes, self.expr.dim)

    @property
    def _count(self) -> int:
        """The number of real or complex numbers of each vector."""
        return self.expr.dim // 2 if self.is_complex else self.expr.dim

    @property
    def shape(self) -> tuple[int, ...]:
        """(batch.., M, N, D) while the tensor has its vector axis, then (batch.., M, N); 1 where nothing depends on it.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> differences = Vi(np.zeros((3, 1))) - Vj(np.zeros((4, 1)))
        >>> differences.shape, (differences**2).sum(-1).shape
        ((3, 4, 1), (3, 4))
        """
        sizes = (*self._batch, *self._sizes)
        return (*sizes, self._count) if self._vectors else sizes

    @property
    def ndim(self) -> int:
        """The number of axes, ``len(self.shape)``."""
        return len(self.shape)

    def dim(self) -> int:
        """The number of axes, the vector axis included even if it was reduced: that of the batch and 3.

        Returns
        -------
        int
            The number of axes, as KeOps counts them; `ndim` counts those of `shape`.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.ones((5, 3))).sum(-1).dim()
        3
        """
        return len(self._batch) + 3

    @property
    def batchdims(self) -> tuple[int, ...]:
        """The batch dimensions, as a tuple; () without a batch."""
        return self._batch

    @property
    def nbatchdims(self) -> int:
        """The number of batch dimensions."""
        return len(self._batch)

    @property
    def dtype(self) -> Any:
        """The dtype of results, as the array library has it.

        bool for conditions, None for a tensor of plain numbers.
        """
        name = "bool" if self.is_condition else self._dtype_name
        return None if name is None else self.library.dtype(name)

    @property
    def _dtype_name(self) -> str | None:
        """The name of the dtype of the computation."""
        # Integers that are indices, not numbers of the formula, have no part in its precision.
        arrays = [data.array for leaf, data in self._leaves.items() if leaf.kind == REAL]
        arrays = [array for array in arrays if array is not None and type(array) is not tuple]
        if not arrays:
            return None
        strong = [array for array in arrays if not self.library.is_weak(array)]
        names = {self.library.dtype_name(array) for array in strong or arrays}
        name = self.library.promoted({REAL_OF.get(name, name) for name in names})
        return _COMPLEX_OF[name] if self.is_complex else name


_COMPLEX_OF = {"float16": "complex64", "bfloat16": "complex64", "float32": "complex64", "float64": "complex128"}


def shapes_of(tensors: Sequence[Recorded[Array]]) -> str:
    """The shapes of tensors, for an error."""
    return ", ".join(str(x._shape) for x in tensors)


def _joined(tensors: Sequence[Recorded[Any]]) -> bool | None:
    """Whether numbers computed from these tensors have a vector axis, if some tensors have one of length 1.

    None if one of the tensors is a matrix: the axis leaves the shape, as in ``K * Vj(w)``. But -1 still means it, since
    the meaning of -1 must not depend on the length of the data's vectors.
    """
    for tensor in tensors:
        if not tensor._vectors and (tensor.ni is not None or tensor.nj is not None):
            return None
    return True


def _joint_batch(a: tuple[int, ...], b: tuple[int, ...], tensors: Sequence[Recorded[Any]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise ShapeError(f"the batch dimensions of tensors of shapes {shapes_of(tensors)} do not broadcast") from None


def _joint_size(a: int | None, b: int | None, index: str, tensors: Sequence[Recorded[Any]]) -> int | None:
    """The number of i or j of several tensors; a single i or j fits any number of them, as in NumPy."""
    if a is None or b is None:
        return b if a is None else a
    if 1 in (a, b):
        return b if a == 1 else a
    raise ShapeError(f"the tensors differ in their number of {index}: {a} and {b} (shapes {shapes_of(tensors)})")


def _same(what: str, a: Any, b: Any) -> Any:
    if a is None or a is b or (isinstance(a, str) and a == b):
        return b
    raise ShapeError(f"the two tensors have different {what}: set the same on both, or set it on one of them only")

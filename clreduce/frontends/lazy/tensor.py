"""`LazyTensor`: a formula over all pairs (i, j), recorded as NumPy would compute it, and never stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.frontends.lazy.base import Recorded
from clreduce.frontends.lazy.dense import Indexing
from clreduce.frontends.lazy.leaves import operand
from clreduce.frontends.lazy.methods import Methods
from clreduce.frontends.lazy.reductions import Reductions
from clreduce.frontends.lazy.show import Shown
from clreduce.frontends.lazy.solving import Solving

if TYPE_CHECKING:
    from typing_extensions import Self


class LazyTensor(Methods, Solving, Reductions, Indexing, Shown):
    """A symbolic tensor of shape (batch.., M, N, D): for each pair (i, j) a vector, computed when it is needed.

    Operators and methods record a formula; a reduction over i or j evaluates it in a kernel, in memory linear in M + N.

    Parameters
    ----------
    x:
        An array of shape (.., M, 1, D) for vectors of i, (.., 1, N, D) for vectors of j, (.., 1, 1, D) or (D,) for a
        parameter; with ``axis``, of shape (M, D). Or a number, a list of numbers, or (position, length, category) for
        a symbolic variable whose data come when the reduction is called.
    axis:
        0 if an array of shape (M, D) holds the vectors of i, 1 if of j; 2 or None for a parameter.

    Raises
    ------
    ShapeError
        The shape does not tell what the array is, or shapes that meet do not fit.
    DtypeError
        A value of another kind.
    """

    __slots__ = ()
    __array_priority__ = 1000
    __hash__ = None  # type: ignore[assignment]  # == makes a formula

    def __init__(self, x: Any = None, axis: int | None = None, is_complex: bool = False) -> None:
        if x is None:
            raise ShapeError("LazyTensor(x): x is an array, a number or a list of numbers")
        if isinstance(x, Recorded):
            self._set(x.expr, x._leaves, x._batch, x.ni, x.nj, x.is_complex, x.ranges, x.backend)
            return
        value = operand(x, self.library, axis)
        if is_complex and not value.is_complex and value.expr.dim % 2:
            raise ShapeError(f"a complex vector has an even number of reals; got {value.expr.dim}")
        self._adopt(value, is_complex or value.is_complex)

    @property
    def axis(self) -> int | None:
        """0, 1 or 2 if this is just the data of i, of j, or a parameter; else None."""
        if self.expr.op.name != "variable":
            return None
        return {Domain.I: 0, Domain.J: 1, Domain.P: 2}[self.expr.domain]

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise ShapeError("a LazyTensor has no truth value; use a reduction such as .any(axis=1) or .all(axis=1)")

    def __iter__(self) -> Any:
        raise TypeError("a LazyTensor cannot be iterated over; K.dense() makes an array of it")

    @property
    def T(self) -> Self:
        """The transpose: i and j exchanged. Batch dimensions stay."""
        return self._transposed()

    def t(self) -> Self:
        """The transpose: i and j exchanged. Batch dimensions stay."""
        return self._transposed()


Tensor = TypeVar("Tensor", bound=LazyTensor)


def variables_of(cls: type[Tensor], x: Any, dim: Any, axis: int) -> Tensor:
    """``Vi(x)``, ``Vj(x)``, ``Pm(x)``; or ``Vi(position, length)`` and so on, for a symbolic variable."""
    if dim is None:
        return cls(x, axis=axis)
    return cls((x, dim, axis))

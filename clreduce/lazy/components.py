"""Components of the vectors of a `LazyTensor`: selections, joins, and functions of several vectors as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS
from clreduce.lazy.base import Array
from clreduce.lazy.complex import as_complex
from clreduce.lazy.operators import Operators
from clreduce.ops.shape import concat, extract

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Value


Tensor = TypeVar("Tensor", bound="Components[Any]")
Sizes: TypeAlias = Union[int, Sequence[int]]  # noqa: UP007  # evaluated where Python is 3.10


class Components(Operators[Array]):
    """Methods that select, join or combine components of vectors."""

    __slots__ = ()

    def _call(
        self, method: str, name: str, *others: Any, params: tuple[Any, ...] = (), vectors: bool | None = None
    ) -> Self:  # fmt: skip
        """The function ``name`` of the registry, of this tensor, ``others`` and whole numbers ``params``."""
        return self._apply(method, FUNCTIONS[name].build, others, params, vectors)

    def elem(self: Tensor, i: int) -> Tensor:
        """Component i of each vector.

        Parameters
        ----------
        i : int
            From 0 to D - 1; negative numbers count from the end.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            There is no such component.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0, 4.0]])).elem(1).dense()
        array([[4.]])
        """
        i, dim = whole(i, "i"), self._count
        if not -dim <= i < dim:
            raise ShapeError(f"vectors of length {dim} have no component {i}; components count from 0")
        unit = 2 if self.is_complex else 1
        expr = extract(self._real_expr, unit * (i % dim), unit)
        return self._record(expr, is_complex=self.is_complex, vectors=False)

    def extract(self: Tensor, i: int, d: int) -> Tensor:
        """Components ``i`` to ``i + d - 1`` of each vector.

        Parameters
        ----------
        i : int
            The first component, from 0.
        d : int
            The number of components, from 1.

        Returns
        -------
        LazyTensor
            Vectors of length d.

        Raises
        ------
        ShapeError
            The vectors are shorter.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0, 4.0, 5.0]])).extract(1, 2).dense()
        array([[[4., 5.]]])
        """
        start, length, dim = whole(i, "i"), whole(d, "d"), self._count
        if start < 0 or length < 1 or start + length > dim:
            raise ShapeError(
                f"vectors of length {dim} have no components {start} to {start + length - 1}; components count from 0"
            )
        unit = 2 if self.is_complex else 1
        expr = extract(self._real_expr, unit * start, unit * length)
        return self._record(expr, is_complex=self.is_complex, vectors=True)

    def concat(self: Tensor, other: Value, *others: Value) -> Tensor:
        """Vectors joined end to end: the components of this tensor, then those of the others.

        Parameters
        ----------
        other, *others : LazyTensor, array, number or list
            The vectors that follow.

        Returns
        -------
        LazyTensor
            Vectors whose length is the sum of the lengths.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> Vi(np.ones((5, 3))).concat(Vj(np.ones((4, 2)))).shape
        (5, 4, 5)
        """
        return self._side_by_side((other, *others))

    def _side_by_side(self, others: Any) -> Self:
        tensors = (self, *map(self._beside, others))
        is_complex = any(x.is_complex for x in tensors)
        exprs = [as_complex(x) if is_complex else x._real_expr for x in tensors]
        return self._record(concat(*exprs), *tensors[1:], is_complex=is_complex, vectors=True)

    @classmethod
    def concatenate(cls: type[Tensor], tuple_of_lt: Sequence[Value], axis: int = -1) -> Tensor:
        """Vectors of several tensors joined end to end.

        Parameters
        ----------
        tuple_of_lt : tuple or list of LazyTensor
            The tensors, in order.
        axis : int, optional
            The vector axis, -1 or its number.

        Returns
        -------
        LazyTensor
            Vectors whose length is the sum of the lengths.

        Raises
        ------
        ShapeError
            The tensors are not in a tuple or list, there are none, or ``axis`` is another axis.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import LazyTensor, Vi, Vj
        >>> LazyTensor.concatenate((Vi(np.ones((5, 3))), Vj(np.ones((4, 2))))).shape
        (5, 4, 5)
        """
        if not isinstance(tuple_of_lt, (tuple, list)) or not tuple_of_lt:
            raise ShapeError(f"concatenate needs a tuple of tensors; got {type(tuple_of_lt).__name__}")
        first = cls._from(tuple_of_lt[0])
        if axis not in (-1, first.dim() - 1):
            raise ShapeError(f"concatenate joins vectors, so axis must be -1 or {first.dim() - 1}; got {axis!r}")
        made: Tensor = first._side_by_side(tuple_of_lt[1:])
        return made

    @classmethod
    def cat(cls: type[Tensor], tuple_of_lt: Sequence[Value], dim: int = -1) -> Tensor:
        """Vectors of several tensors joined end to end, as ``torch.cat``.

        Parameters
        ----------
        tuple_of_lt : tuple or list of LazyTensor
            The tensors, in order.
        dim : int, optional
            The vector axis, -1 or its number.

        Returns
        -------
        LazyTensor
            As of `concatenate`.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import LazyTensor, Vi
        >>> LazyTensor.cat((Vi(np.ones((5, 3))), Vi(np.ones((5, 2)))), dim=-1).shape
        (5, 1, 5)
        """
        return cls.concatenate(tuple_of_lt, dim)

    def weightedsqnorm(self: Tensor, other: Value) -> Tensor:
        """Weighted squared norm of each vector.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            The weights: of length 1, for all components; of length D, one for each; or of length D^2, a symmetric
            matrix S row by row, for x^T S x.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0, 4.0]])).weightedsqnorm([1.0, 2.0]).dense()
        array([[41.]])
        """
        return self._apply("weightedsqnorm", _weighted, (other,), vectors=False)

    def weightedsqdist(self: Tensor, g: Value, s: Value) -> Tensor:
        """Weighted squared distance to other vectors.

        Parameters
        ----------
        g : LazyTensor, array, number or list
            The other vectors, of the same length.
        s : LazyTensor, array, number or list
            The weights, as in `weightedsqnorm`.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.array([[3.0, 4.0]])), Vj(np.array([[1.0, 1.0]]))
        >>> x.weightedsqdist(y, [1.0, 2.0]).dense()
        array([[22.]])
        """
        return self.__sub__(g).weightedsqnorm(s)

    def keops_tensordot(
        self: Tensor, other: Value, dimfa: Sizes, dimfb: Sizes, contfa: Sizes, contfb: Sizes, *args: Sizes
    ) -> Tensor:
        """``numpy.tensordot`` of vectors that are read as arrays.

        Parameters
        ----------
        other : LazyTensor or array
            The second factor.
        dimfa, dimfb : list of int
            The shapes of the arrays that the vectors of this tensor and of ``other`` hold, in row-major order.
        contfa, contfb : list of int
            The axes of each that are summed over, in pairs.
        *args : list of int
            One list permutes the axes of the result.

        Returns
        -------
        LazyTensor
            The array of each pair (i, j) as a vector, in row-major order.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> A, B = Vi(np.ones((5, 6))), Vj(np.ones((4, 6)))  # matrices of shapes (2, 3) and (3, 2)
        >>> A.keops_tensordot(B, [2, 3], [3, 2], [1], [0]).shape
        (5, 4, 4)
        """
        lists = tuple(wholes(each) for each in (dimfa, dimfb, contfa, contfb, *args))
        return self._call("keops_tensordot", "TensorDot", other, params=lists)

    def keops_kron(self: Tensor, other: Value, dimfself: Sizes, dimfother: Sizes) -> Tensor:
        """``numpy.kron`` of vectors that are read as arrays.

        Parameters
        ----------
        other : LazyTensor or array
            The second factor.
        dimfself, dimfother : list of int
            The shapes of the arrays that the vectors of this tensor and of ``other`` hold, in row-major order.

        Returns
        -------
        LazyTensor
            The array of each pair (i, j) as a vector, in row-major order.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> Vi(np.ones((5, 6))).keops_kron(Vj(np.ones((4, 2))), [2, 3], [2, 1]).shape
        (5, 4, 12)
        """
        return self._call("keops_kron", "Kron", other, params=(wholes(dimfself), wholes(dimfother)))

    def bspline(self: Tensor, x: Value, k: int = 0) -> Tensor:
        """B-splines on knots that are the components of this tensor.

        Parameters
        ----------
        x : LazyTensor, array or number
            Where they are evaluated, a vector of length 1.
        k : int, optional
            The degree, from 0.

        Returns
        -------
        LazyTensor
            D - k - 1 values for each pair, one for each B-spline; D is the number of knots.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Pm, Vi
        >>> Pm([0.0, 1.0, 2.0, 3.0]).bspline(Vi(np.array([[0.5], [1.5]])), 1).dense()
        array([[[0.5, 0. ]],
        <BLANKLINE>
               [[0.5, 0.5]]])
        """
        return self._call("bspline", "BSpline", x, params=(whole(k, "k"),))


def _weighted(f: Expr, s: Expr) -> Expr:
    return FUNCTIONS["WeightedSqNorm"].build(s, f)


def whole(value: object, name: str) -> int:
    """``value`` as an int; raises `ShapeError` if it is not a whole number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ShapeError(f"{name} must be a whole number; got {value!r}")
    return int(value)


def wholes(values: object) -> tuple[int, ...]:
    """A tuple of int from a list of whole numbers, or from one."""
    return tuple(whole(v, "an entry") for v in (values if isinstance(values, (tuple, list, np.ndarray)) else [values]))

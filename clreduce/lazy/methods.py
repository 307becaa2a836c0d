"""Methods of `LazyTensor` that have a form of their own; those from the registry are in `functions`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS
from clreduce.lazy.base import Array
from clreduce.lazy.comparisons import mask_of
from clreduce.lazy.complex import choice
from clreduce.lazy.components import whole
from clreduce.lazy.derivatives import Derivatives
from clreduce.ops.compare import where

if TYPE_CHECKING:
    from typing_extensions import Self

    from clreduce.lazy.types import Value


Tensor = TypeVar("Tensor", bound="Methods[Any]")


class Methods(Derivatives[Array]):
    """Methods that give another `LazyTensor`."""

    __slots__ = ()

    def clamp(self: Tensor, other1: Value, other2: Value) -> Tensor:
        """Values limited to the interval from ``other1`` to ``other2``.

        Parameters
        ----------
        other1, other2 : LazyTensor, array, number or list
            The lower and the upper bound.

        Returns
        -------
        LazyTensor
            ``other1`` where a value is less, ``other2`` where it is greater. Slopes are 0 there.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[-1.0, 0.5, 3.0]])).clamp(0, 1).dense()
        array([[[0. , 0.5, 1. ]]])
        """
        return self._call("clamp", "Clamp", other1, other2)

    clip = clamp

    def round(self: Tensor, other: int = 0) -> Tensor:
        """Values rounded to a number of decimals; halves are rounded away from 0.

        Parameters
        ----------
        other : int, optional
            The number of decimals; negative ones round to tens, hundreds and so on.

        Returns
        -------
        LazyTensor
            The rounded values, whose slope is 0 everywhere.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[0.25, -2.5]])).round().dense()
        array([[[ 0., -3.]]])
        """
        return self._call("round", "Round", params=(whole(other, "the number of decimals"),))

    def sinc(self: Tensor) -> Tensor:
        """sin(pi x) / (pi x), as ``numpy.sinc``.

        Returns
        -------
        LazyTensor
            The values, 1 at 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[0.0, 0.5]])).sinc().dense().round(3)
        array([[[1.   , 0.637]]])
        """
        return (self * float(np.pi)).sinxdivx()

    def sinxdivx(self: Tensor) -> Tensor:
        """sin(x) / x.

        Returns
        -------
        LazyTensor
            The values; 1 with slope 0 at 0, nan at -inf and inf.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[0.0, 1.0]])).sinxdivx().dense().round(3)
        array([[[1.   , 0.841]]])
        """
        return self._call("sinxdivx", "SinXDivX")

    def norm2(self: Tensor) -> Tensor:
        """Euclidean norm of each vector.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j). Its gradient at 0 is 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[3.0, 4.0]])).norm2().dense()
        array([[5.]])
        """
        return self._call("norm2", "Norm2", vectors=False)

    def norm(self: Tensor, dim: int = -1) -> Tensor:
        """Euclidean norm of each vector, as ``torch.norm``.

        Parameters
        ----------
        dim : int, optional
            The vector axis, -1 or its number.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j). Its gradient at 0 is 0.

        Raises
        ------
        ShapeError
            ``dim`` is another axis.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.ones((5, 3))).norm(-1).shape
        (5, 1)
        """
        if dim not in (-1, self.dim() - 1):
            raise ShapeError(f"norm reduces the vectors, so dim must be -1 or {self.dim() - 1}; got {dim!r}")
        return self.norm2()

    def where(self: Tensor, condition: Value, other: Value = 0) -> Tensor:
        """Values of this tensor where ``condition`` is not 0, and of ``other`` elsewhere.

        Parameters
        ----------
        condition : LazyTensor, array, number or list
            A comparison, or any numbers.
        other : LazyTensor, array, number or list, optional
            The values where the condition is 0.

        Returns
        -------
        LazyTensor
            The chosen values. No gradient goes into those that are not chosen.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> K = Vi(np.ones((2, 1))) | Vj(np.ones((3, 1)))
        >>> K.where(K.i < K.j).dense()  # the upper triangle
        array([[0., 1., 1.],
               [0., 0., 1.]])
        """
        mask, x = self._beside(condition), self._beside(other)
        if x.is_complex:
            mask = mask._mask()
            return self._record(choice(self, mask, x), mask, x, is_complex=True)

        return self._apply("where", _chosen, (mask, x))

    def factorize(self: Tensor, other: Value) -> Tensor:
        """This tensor itself: a part that is used more than once is always computed once.

        Parameters
        ----------
        other : LazyTensor
            The common part. It has no effect.

        Returns
        -------
        LazyTensor
            This tensor.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.factorize(x) is x
        True
        """
        self._from(other)
        return self

    def auto_factorize(self: Tensor) -> Tensor:
        """This tensor itself: a part that is used more than once is always computed once.

        Returns
        -------
        LazyTensor
            This tensor.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.auto_factorize() is x
        True
        """
        return self

    # ------------------------------------------------------------------------------------------------ complex numbers

    def real2complex(self: Tensor) -> Tensor:
        """Complex vectors whose real parts are the values of this tensor.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length, with imaginary parts 0.

        Raises
        ------
        ShapeError
            This tensor is complex.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0, 2.0]])).real2complex().dense()
        array([[[1.+0.j, 2.+0.j]]])
        """
        return self._to_complex("Real2Complex")

    def imag2complex(self: Tensor) -> Tensor:
        """Complex vectors whose imaginary parts are the values of this tensor.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length, with real parts 0.

        Raises
        ------
        ShapeError
            This tensor is complex.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0, 2.0]])).imag2complex().dense()
        array([[[0.+1.j, 0.+2.j]]])
        """
        return self._to_complex("Imag2Complex")

    def exp1j(self: Tensor) -> Tensor:
        """Complex exponential of the angles in this tensor: cos x + 1j sin x.

        Returns
        -------
        ComplexLazyTensor
            Vectors of the same length. Angles are in radians.

        Raises
        ------
        ShapeError
            This tensor is complex.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[0.0]])).exp1j().dense()
        array([[[1.+0.j]]])
        """
        return self._to_complex("ComplexExp1j")

    def _to_complex(self, name: str) -> Self:
        return self._record(FUNCTIONS[name].build(self._real_expr), is_complex=True)

    @property
    def real(self: Tensor) -> Tensor:
        """The real parts; a tensor of real numbers itself."""
        return self

    @property
    def imag(self: Tensor) -> Tensor:
        """The imaginary parts; 0 for a tensor of real numbers."""
        return self * 0

    def conj(self: Tensor) -> Tensor:
        """Complex conjugates; a tensor of real numbers itself.

        Returns
        -------
        LazyTensor
            Vectors of the same length.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> Vi(np.array([[1.0 + 2.0j]])).conj().dense()
        array([[[1.-2.j]]])
        """
        return self


def _chosen(f: Expr, condition: Expr, g: Expr) -> Expr:
    return where(mask_of(condition), f, g)

"""Written by `python docs/make_stubs.py` from the registry. Do not edit: change the doc of the function."""

from inspect import Signature
from typing import Any, TypeVar

from typing_extensions import Unpack

from clreduce.ir.op import Function
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.methods import Methods
from clreduce.lazy.types import Options, Value

Tensor = TypeVar("Tensor", bound="FunctionMethods[Any]")
NOT_METHODS: frozenset[str]

def method_name(function: Function) -> str: ...
def wanted() -> dict[str, Function]: ...
def described(function: Function) -> str: ...
def parameters_of(function: Function) -> tuple[str, ...]: ...
def signature(function: Function) -> Signature: ...

class FunctionMethods(Methods[Array]):
    def acos(self: Tensor) -> Tensor:
        """``Acos(f)`` of this tensor f: arccosine in [0, pi].

        Slope -inf at -1 and 1, nan beyond.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.acos().shape
        (5, 1, 3)
        """

    def acosh(self: Tensor) -> Tensor:
        """``Acosh(f)`` of this tensor f: inverse of Cosh, from 0 up.

        Slope inf at 1, nan below.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.acosh().shape
        (5, 1, 3)
        """

    def adjointoperator(self: Tensor, v: Recorded[Array], u: Value) -> Tensor:
        """``AdjointOperator(f, v, u)`` of this tensor f: M^T u where f = M v is linear in v.

        Parameters
        ----------
        v : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.
        u : LazyTensor, array, number or list
            u in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (2 * x).adjointoperator(x, x).shape
        (5, 1, 3)
        """

    def asin(self: Tensor) -> Tensor:
        """``Asin(f)`` of this tensor f: arcsine in [-pi/2, pi/2].

        Slope inf at -1 and 1, nan beyond.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.asin().shape
        (5, 1, 3)
        """

    def asinh(self: Tensor) -> Tensor:
        """``Asinh(f)`` of this tensor f: inverse of Sinh.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.asinh().shape
        (5, 1, 3)
        """

    def atan(self: Tensor) -> Tensor:
        """``Atan(f)`` of this tensor f: arctangent in [-pi/2, pi/2].

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.atan().shape
        (5, 1, 3)
        """

    def atan2(self: Tensor, other: Value) -> Tensor:
        """``Atan2(f, g)`` of this tensor f: angle of the point (x, y) = (g, f) in [-pi, pi].

        Atan2(0, 0) = 0 with slope nan.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.atan2(y).shape
        (5, 4, 3)
        """

    def atanh(self: Tensor) -> Tensor:
        """``Atanh(f)`` of this tensor f: inverse of Tanh.

        +-inf with slope inf at +-1, nan beyond.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.atanh().shape
        (5, 1, 3)
        """

    def cos(self: Tensor) -> Tensor:
        """``Cos(f)`` of this tensor f: cosine.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.cos().shape
        (5, 1, 3)
        """

    def cosh(self: Tensor) -> Tensor:
        """``Cosh(f)`` of this tensor f: hyperbolic cosine.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.cosh().shape
        (5, 1, 3)
        """

    def cross(self: Tensor, other: Value) -> Tensor:
        """``Cross(f, g)`` of this tensor f: vector product in three dimensions.

        Exactly 0 for g = f.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.cross(y).shape
        (5, 4, 3)
        """

    def det(self: Tensor) -> Tensor:
        """``Det(f)`` of this tensor f: determinant of a 2 x 2 or 3 x 3 matrix.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 9)))
        >>> x.det().shape
        (5, 1)
        """

    def difference_matrix(self: Tensor, other: Value) -> Tensor:
        """``DifferenceMatrix(f, g)`` of this tensor f: all differences f_k - g_l, at place k * D(g) + l.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 2))), Vj(np.ones((4, 3)))
        >>> x.difference_matrix(y).shape
        (5, 4, 6)
        """

    def digamma(self: Tensor) -> Tensor:
        """``Digamma(f)`` of this tensor f: derivative of Lgamma.

        -inf at 0, inf at -0, nan at negative integers and at -inf.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.digamma().shape
        (5, 1, 3)
        """

    def divergence(self: Tensor, var: Recorded[Array]) -> Tensor:
        """``Divergence(f, v)`` of this tensor f: sum over k of df_k/dv_k.

        Parameters
        ----------
        var : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (2 * x).divergence(x).shape
        (5, 1)
        """

    def elemt(self: Tensor, n: int, m: int) -> Tensor:
        """``ElemT(f, n, m)`` of this tensor f: n zeros, but f (of length 1) at place m, counted from 0.

        Parameters
        ----------
        n : int
            The number n in the definition.
        m : int
            The number m in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 1)))
        >>> x.elemt(3, 1).shape
        (5, 1, 3)
        """

    def erf(self: Tensor) -> Tensor:
        """``Erf(f)`` of this tensor f: error function, 2 / Sqrt(pi) times the integral of e^-t^2 from 0 to f.

        -1 at -inf, 1 at inf.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.erf().shape
        (5, 1, 3)
        """

    def erfc(self: Tensor) -> Tensor:
        """``Erfc(f)`` of this tensor f: 1 - Erf(f) without cancellation.

        2 at -inf, 0 at inf.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.erfc().shape
        (5, 1, 3)
        """

    def exp(self: Tensor) -> Tensor:
        """``Exp(f)`` of this tensor f: e^f.

        Exp(-inf) = 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.exp().shape
        (5, 1, 3)
        """

    def exp2(self: Tensor) -> Tensor:
        """``Exp2(f)`` of this tensor f: 2^f.

        Exp2(-inf) = 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.exp2().shape
        (5, 1, 3)
        """

    def expm1(self: Tensor) -> Tensor:
        """``Expm1(f)`` of this tensor f: e^f - 1 without cancellation near 0.

        Expm1(-inf) = -1.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.expm1().shape
        (5, 1, 3)
        """

    def extractt(self: Tensor, start: int, n: int) -> Tensor:
        """``ExtractT(f, start, n)`` of this tensor f: n zeros, but f from place start on.

        Parameters
        ----------
        start : int
            The number start in the definition.
        n : int
            The number n in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 2)))
        >>> x.extractt(1, 4).shape
        (5, 1, 4)
        """

    def grad_matrix(self: Tensor, other: Recorded[Array]) -> Tensor:
        """``GradMatrix(f, v)`` of this tensor f: all df_k/dv_l, at place k * D(v) + l.

        Parameters
        ----------
        other : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (2 * x).grad_matrix(x).shape
        (5, 1, 9)
        """

    def ifelse(self: Tensor, other1: Value, other2: Value) -> Tensor:
        """``IfElse(f, a, b)`` of this tensor f: a where f >= 0, else b.

        b where f is nan.

        Parameters
        ----------
        other1 : LazyTensor, array, number or list
            a in the definition.
        other2 : LazyTensor, array, number or list
            b in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj, Pm
        >>> x, y, z = Vi(np.ones((5, 3))), Vj(np.ones((4, 3))), Pm(np.ones(3))
        >>> x.ifelse(y, z).shape
        (5, 4, 3)
        """

    def inverse(self: Tensor) -> Tensor:
        """``Inverse(f)`` of this tensor f: inverse of a 2 x 2 or 3 x 3 matrix.

        Inf or nan where it is singular.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 9)))
        >>> x.inverse().shape
        (5, 1, 9)
        """

    def laplacian(self: Tensor, var: Recorded[Array]) -> Tensor:
        """``Laplacian(f, v)`` of this tensor f: sum over k of d^2 f/dv_k^2 for f of length 1.

        Parameters
        ----------
        var : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (x | x).laplacian(x).shape
        (5, 1)
        """

    def lgamma(self: Tensor) -> Tensor:
        """``Lgamma(f)`` of this tensor f: log|Gamma(f)|.

        Inf at 0, at negative integers and at both infinities.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.lgamma().shape
        (5, 1, 3)
        """

    def log(self: Tensor) -> Tensor:
        """``Log(f)`` of this tensor f: natural logarithm.

        Log(0) = -inf with slope +inf, nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.log().shape
        (5, 1, 3)
        """

    def log10(self: Tensor) -> Tensor:
        """``Log10(f)`` of this tensor f: logarithm to base 10.

        Log10(0) = -inf with slope +inf, nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.log10().shape
        (5, 1, 3)
        """

    def log1p(self: Tensor) -> Tensor:
        """``Log1p(f)`` of this tensor f: Log(1 + f) without cancellation near 0.

        Log1p(-1) = -inf, nan below -1.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.log1p().shape
        (5, 1, 3)
        """

    def log2(self: Tensor) -> Tensor:
        """``Log2(f)`` of this tensor f: logarithm to base 2.

        Log2(0) = -inf with slope +inf, nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.log2().shape
        (5, 1, 3)
        """

    def logaddexp(self: Tensor, other: Value) -> Tensor:
        """``Logaddexp(f, g)`` of this tensor f: Log(Exp(f) + Exp(g)) without overflow.

        Slopes 1/2 where f = g, at infinities too.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.logaddexp(y).shape
        (5, 4, 3)
        """

    def matvecmult(self: Tensor, other: Value) -> Tensor:
        """``MatVecMult(A, b)`` of this tensor A: product of the matrix A (D(A) / D(b) rows, D(b) columns) and the
        vector b.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            b in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 6))), Vj(np.ones((4, 3)))
        >>> x.matvecmult(y).shape
        (5, 4, 2)
        """

    def maximum(self: Tensor, other: Value) -> Tensor:
        """``Maximum(f, g)`` of this tensor f: the larger of f and g.

        Nan if either is, a tie counts as f.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.maximum(y).shape
        (5, 4, 3)
        """

    def minimum(self: Tensor, other: Value) -> Tensor:
        """``Minimum(f, g)`` of this tensor f: the smaller of f and g.

        Nan if either is, a tie counts as f.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.minimum(y).shape
        (5, 4, 3)
        """

    def normalize(self: Tensor) -> Tensor:
        """``Normalize(f)`` of this tensor f: f / Norm2(f).

        0 with slope 0 where f is 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.normalize().shape
        (5, 1, 3)
        """

    def one_hot(self: Tensor, D: int) -> Tensor:
        """``OneHot(f, n)`` of this tensor f: n zeros, but 1 at place Floor(f + 1/2), counted from 0, if there is such
        a place.

        Slope 0 everywhere.

        Parameters
        ----------
        D : int
            The number n in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 1)))
        >>> x.one_hot(3).shape
        (5, 1, 3)
        """

    def relu(self: Tensor) -> Tensor:
        """``ReLU(f)`` of this tensor f: 0 for f < 0, else f.

        Slope 1 at 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.relu().shape
        (5, 1, 3)
        """

    def rsqrt(self: Tensor) -> Tensor:
        """``Rsqrt(f)`` of this tensor f: 1 / Sqrt(f), but 0 with slope 0 at 0 (f ** -0.5 is inf there).

        Nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.rsqrt().shape
        (5, 1, 3)
        """

    def sigmoid(self: Tensor) -> Tensor:
        """``Sigmoid(f)`` of this tensor f: 1 / (1 + e^-f).

        0 at -inf, 1 at inf.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sigmoid().shape
        (5, 1, 3)
        """

    def sign(self: Tensor) -> Tensor:
        """``Sign(f)`` of this tensor f: -1, 0 or 1.

        Sign(0) = 0, slope 0 everywhere.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sign().shape
        (5, 1, 3)
        """

    def sin(self: Tensor) -> Tensor:
        """``Sin(f)`` of this tensor f: sine.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sin().shape
        (5, 1, 3)
        """

    def sinh(self: Tensor) -> Tensor:
        """``Sinh(f)`` of this tensor f: hyperbolic sine.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sinh().shape
        (5, 1, 3)
        """

    def softdtw_sqdist(self: Tensor, other: Value, gamma: Value) -> Tensor:
        """``SoftDTW_SqDist(x, y, gamma)`` of this tensor x: soft dynamic time warping of the sequences x and y with
        squared distances, for gamma > 0.

        R_kl = (x_k - y_l)^2 + softmin of R_(k-1)(l-1), R_(k-1)l and R_k(l-1), where the softmin of a is -gamma *
        Log(sum of Exp(-a_n / gamma)); the first row and column add up.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            y in the definition.
        gamma : LazyTensor, array, number or list
            gamma in the definition.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj, Pm
        >>> x, y, z = Vi(np.ones((5, 3))), Vj(np.ones((4, 2))), Pm(np.ones(1))
        >>> x.softdtw_sqdist(y, z).shape
        (5, 4)
        """

    def softplus(self: Tensor) -> Tensor:
        """``Softplus(f)`` of this tensor f: Log(1 + Exp(f)) without overflow.

        0 at -inf, slope Sigmoid(f).

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.softplus().shape
        (5, 1, 3)
        """

    def sqdist(self: Tensor, other: Value) -> Tensor:
        """``SqDist(f, g)`` of this tensor f: sum of (f_k - g_k)^2.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 3))), Vj(np.ones((4, 3)))
        >>> x.sqdist(y).shape
        (5, 4)
        """

    def sqnorm2(self: Tensor) -> Tensor:
        """``SqNorm2(f)`` of this tensor f: sum of f_k^2.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sqnorm2().shape
        (5, 1)
        """

    def sqrt(self: Tensor) -> Tensor:
        """``Sqrt(f)`` of this tensor f: square root.

        Slope 0 at 0 (so that norms have no nan), nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.sqrt().shape
        (5, 1, 3)
        """

    def square(self: Tensor) -> Tensor:
        """``Square(f)`` of this tensor f: f squared.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.square().shape
        (5, 1, 3)
        """

    def step(self: Tensor) -> Tensor:
        """``Step(f)`` of this tensor f: 0 for f < 0, else 1 (1 at 0).

        Slope 0 everywhere.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.step().shape
        (5, 1, 3)
        """

    def sumlinoperator(self: Tensor, v: Recorded[Array], a: Value | None = None, b: Value | None = None) -> Tensor:
        """``SumLinOperator(f, v, a, b)`` of this tensor f: sum over k and l of a_k M_kl b_l where f = M v is linear in
        v.

        a and b are 1 if they are left out.

        Parameters
        ----------
        v : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.
        a : LazyTensor, array, number or list, optional
            a in the definition.
        b : LazyTensor, array, number or list, optional
            b in the definition.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (2 * x).sumlinoperator(x).shape
        (5, 1)
        """

    def sumt(self: Tensor, n: int) -> Tensor:
        """``SumT(f, n)`` of this tensor f: a vector of length 1 repeated n times.

        Parameters
        ----------
        n : int
            The number n in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 1)))
        >>> x.sumt(3).shape
        (5, 1, 3)
        """

    def tan(self: Tensor) -> Tensor:
        """``Tan(f)`` of this tensor f: tangent.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.tan().shape
        (5, 1, 3)
        """

    def tanh(self: Tensor) -> Tensor:
        """``Tanh(f)`` of this tensor f: hyperbolic tangent.

        -1 at -inf, 1 at inf.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.tanh().shape
        (5, 1, 3)
        """

    def tensorprod(self: Tensor, other: Value) -> Tensor:
        """``TensorProd(f, g)`` of this tensor f: all products f_k g_l, at place k * D(g) + l.

        Parameters
        ----------
        other : LazyTensor, array, number or list
            g in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 2))), Vj(np.ones((4, 3)))
        >>> x.tensorprod(y).shape
        (5, 4, 6)
        """

    def trace_operator(self: Tensor, var: Recorded[Array], w: Value | None = None) -> Tensor:
        """``TraceOperator(f, v, w)`` of this tensor f: sum over k of w_k M_kk where f = M v is linear in v.

        w is 1 if it is left out, and f of length 1 counts as repeated.

        Parameters
        ----------
        var : LazyTensor
            The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``.
        w : LazyTensor, array, number or list, optional
            w in the definition.

        Returns
        -------
        LazyTensor
            A number for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> (2 * x).trace_operator(x).shape
        (5, 1)
        """

    def vecmatmult(self: Tensor, other: Value) -> Tensor:
        """``VecMatMult(b, A)`` of this tensor b: product of the vector b and the matrix A (D(b) rows, D(A) / D(b)
        columns).

        Parameters
        ----------
        other : LazyTensor, array, number or list
            A in the definition.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.ones((5, 2))), Vj(np.ones((4, 6)))
        >>> x.vecmatmult(y).shape
        (5, 4, 3)
        """

    def xlogx(self: Tensor) -> Tensor:
        """``XLogX(f)`` of this tensor f: f * Log(f).

        0 with slope -inf at 0 (0 for a sum of squares), nan below 0.

        Returns
        -------
        LazyTensor
            A vector for each pair (i, j).

        Raises
        ------
        ShapeError
            The lengths do not fit, or the numbers are complex and the function is one of real numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi
        >>> x = Vi(np.ones((5, 3)))
        >>> x.xlogx().shape
        (5, 1, 3)
        """

    def sumKmax(
        self: Tensor, K: int, weight: Value, axis: int | None = None, dim: int | None = None, **options: Unpack[Options]
    ) -> Array:
        """Sum of ``weight`` over the K largest terms.

        Over all where there are fewer, 0 over nothing; slopes in ``weight`` only.

        Parameters
        ----------
        K : int
            How many terms are kept, 1 or more.
        weight : LazyTensor or array
            The values that are added up.
        axis, dim : int
            The index that is reduced, counted as in `sum`: of a tensor without batch, 0 is i and 1 is j.
        **options
            Options of `reduction`.

        Returns
        -------
        array or tuple of arrays
            Of shape (batch.., M, D) over j, (batch.., N, D) over i.
            Lists of K terms have shape (.., K, D), or (.., K) where D is 1.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.zeros((5, 3))), Vj(np.ones((4, 3)))
        >>> result = x.sqdist(y).sumKmax(2, y, axis=1)
        """

    def sumKmin(
        self: Tensor, K: int, weight: Value, axis: int | None = None, dim: int | None = None, **options: Unpack[Options]
    ) -> Array:
        """Sum of ``weight`` over the K smallest terms.

        Over all where there are fewer, 0 over nothing; slopes in ``weight`` only.

        Parameters
        ----------
        K : int
            How many terms are kept, 1 or more.
        weight : LazyTensor or array
            The values that are added up.
        axis, dim : int
            The index that is reduced, counted as in `sum`: of a tensor without batch, 0 is i and 1 is j.
        **options
            Options of `reduction`.

        Returns
        -------
        array or tuple of arrays
            Of shape (batch.., M, D) over j, (batch.., N, D) over i.
            Lists of K terms have shape (.., K, D), or (.., K) where D is 1.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x, y = Vi(np.zeros((5, 3))), Vj(np.ones((4, 3)))
        >>> result = x.sqdist(y).sumKmin(2, y, axis=1)
        """

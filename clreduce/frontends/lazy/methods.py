"""Operators of `LazyTensor`, and its methods, one for each function of the registry: what records a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from clreduce.errors import ClreduceError, ShapeError
from clreduce.frontends.lazy.base import Recorded
from clreduce.frontends.vocabulary import DERIVATIVES
from clreduce.ir.expr import INDEX, REAL, Expr
from clreduce.ir.op import FUNCTIONS, OPS, Function, constant, constant_value, integer
from clreduce.ops.arithmetic import raised, square
from clreduce.ops.compare import equal, less, less_equal, negated, where
from clreduce.ops.derived import scalar_product, truth
from clreduce.ops.indices import as_real, difference_of_indices, tally

NOT_METHODS = frozenset({
    # operators and numbers; vector-axis reductions, whose methods take an axis; what has a method written out below
    "Add", "Subtract", "Minus", "Mult", "Divide", "Scalprod", "IntCst", "IntInv", "RatCst", "Zero", "Var",
    "Equal", "NotEqual", "LessThan", "LessOrEqual", "Sum", "Max", "Min", "ArgMax", "ArgMin", "Pow", "Powf",
    "Clamp", "ClampInt", "DiffClampInt", "Mod", "Round", "Where", "Elem", "Concat", "WeightedSqNorm", "WeightedSqDist",
    "SqNormIso", "SqNormDiag", "SymSqNorm", "TensorDot", "Kron", "BSpline", "Diff", "Factorize", "AutoFactorize",
    "ComplexAdd", "ComplexSubtract", "ComplexMult", "ComplexDivide", "ComplexRealScal", "ComplexReal", "ComplexImag",
    "ComplexAbs", "ComplexAngle", "ComplexExp", "ComplexSum", "ComplexSumT", "Conj", "Real2Complex", "Imag2Complex",
    "ComplexExp1j", "ComplexSquareAbs", "ComplexInv", "ComplexLog", "ComplexSqrt", "ComplexPow",
})  # fmt: skip
SPELLED = {"OneHot": "one_hot", "GradMatrix": "grad_matrix", "TraceOperator": "trace_operator"}
"""Methods that are not called like the function in small letters."""
_UFUNCS = {
    "add": "__add__", "subtract": "__sub__", "multiply": "__mul__", "divide": "__truediv__",
    "true_divide": "__truediv__", "power": "__pow__", "float_power": "__pow__", "negative": "__neg__", "positive": "__pos__", "absolute": "abs",
    "fabs": "abs", "equal": "__eq__", "not_equal": "__ne__", "less": "__lt__", "less_equal": "__le__",
    "greater": "__gt__", "greater_equal": "__ge__", "matmul": "__matmul__", "remainder": "mod", "mod": "mod",
    "reciprocal": "inv", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "arcsinh": "asinh",
    "arccosh": "acosh", "arctanh": "atanh", "rint": "round", "conjugate": "conj", "bitwise_or": "__or__",
}  # fmt: skip
_REFLECTED = {
    "__add__": "__radd__", "__sub__": "__rsub__", "__mul__": "__rmul__", "__truediv__": "__rtruediv__",
    "__pow__": "__rpow__", "__or__": "__ror__", "__matmul__": "__rmatmul__", "__eq__": "__eq__", "__ne__": "__ne__",
    "__lt__": "__gt__", "__le__": "__ge__", "__gt__": "__lt__", "__ge__": "__le__",
}  # fmt: skip


def method_name(function: Function) -> str:
    """How the method for a function of the formula language is called."""
    return SPELLED.get(function.name, function.name.lower())


class Methods(Recorded):
    """Everything that gives another `LazyTensor`."""

    __slots__ = ()

    def _apply(
        self, name: str, build: Callable[..., Expr], others: tuple[Any, ...], params: tuple[Any, ...] = ()
    ) -> Any:
        """``build(self, *others, *params)``; what does not fit is told in terms of shapes."""
        tensors = [self._from(other) for other in others]
        exprs = [_real(x.expr) for x in (self, *tensors)]
        try:
            expr = build(*exprs, *params)
        except ClreduceError as error:
            shapes = ", ".join(str(x._shape) for x in (self, *tensors))
            message = str(error) if str(error).startswith(name) else f"{name}: {error}"
            raise type(error)(f"{message}; the tensors have shapes {shapes}") from None
        return self._record(expr, *tensors)

    def _binary(self, name: str, other: Any, swapped: bool = False) -> Any:
        """An arithmetic operator, with the meaning that it has for complex numbers and for indices too."""
        x = self._from(other)
        a, b = (x, self) if swapped else (self, x)
        if self.is_complex or x.is_complex:
            return self._complex_binary(name, a, b, x)
        if (a.expr.kind == INDEX or b.expr.kind == INDEX) and name in _INDEX_RULES:
            both = _as_indices(a.expr, b.expr)
            if both is not None:
                return self._record(_INDEX_RULES[name](*both), x)
        try:
            expr = OPS[name](_real(a.expr), _real(b.expr))
        except ShapeError as error:
            raise ShapeError(f"{error} in tensors of shapes {a._shape} and {b._shape}") from None
        return self._record(expr, x)

    def _complex_binary(self, name: str, a: Any, b: Any, x: Any) -> Any:
        functions = {"add": "ComplexAdd", "sub": "ComplexSubtract", "mul": "ComplexMult", "div": "ComplexDivide"}
        exprs = [_as_complex(one) for one in (a, b)]
        try:
            expr = FUNCTIONS[functions[name]].build(*exprs)
        except ShapeError as error:
            raise ShapeError(f"{error} in tensors of shapes {a._shape} and {b._shape}") from None
        return self._record(expr, x, is_complex=True)

    # ------------------------------------------------------------------------------------------------------ operators

    def __add__(self, other: Any) -> Any:
        return self if _is_number(other, 0) else self._binary("add", other)

    def __radd__(self, other: Any) -> Any:
        return self if _is_number(other, 0) else self._binary("add", other, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self if _is_number(other, 0) else self._binary("sub", other)

    def __rsub__(self, other: Any) -> Any:
        return -self if _is_number(other, 0) else self._binary("sub", other, swapped=True)

    def __mul__(self, other: Any) -> Any:
        if _is_number(other, 1):
            return self
        return -self if _is_number(other, -1) else self._binary("mul", other)

    def __rmul__(self, other: Any) -> Any:
        if _is_number(other, 1):
            return self
        return -self if _is_number(other, -1) else self._binary("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Any:
        if _is_number(other, 0):
            raise ZeroDivisionError("a LazyTensor divided by the number 0")
        return self if _is_number(other, 1) else self._binary("div", other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._binary("div", other, swapped=True)

    def __neg__(self) -> Any:
        return self._record(-_real(self.expr), is_complex=self.is_complex)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self.abs()

    def __pow__(self, exponent: Any) -> Any:
        """Powers. Integers are multiplied out; 0.5 and -0.5 are roots."""
        if self.is_complex:
            return self._complex_power(exponent)
        if _is_plain(exponent):
            value = float(exponent)
            if value == 2:
                return self._record(square(_real(self.expr)))
            if value == int(value) if np.isfinite(value) else False:
                return self._record(raised(_real(self.expr), constant(int(value))))
            if abs(value) == 0.5:
                return self._record(raised(_real(self.expr), constant(value)))
        return self._apply("**", FUNCTIONS["Powf"].build, (exponent,))

    def __rpow__(self, base: Any) -> Any:
        return self._from(base).__pow__(self) if not isinstance(base, Recorded) else base.__pow__(self)

    def power(self, exponent: Any) -> Any:
        """``self ** exponent``."""
        return self**exponent

    def __or__(self, other: Any) -> Any:
        return self._apply("|", _scalar_product, (other,))

    def __ror__(self, other: Any) -> Any:
        return self._from(other)._apply("|", _scalar_product, (self,))

    def __mod__(self, other: Any) -> Any:
        return self.mod(other)

    def _compare(self, other: Any, mask: Callable[[Expr, Expr], Expr], swapped: bool = False) -> Any:
        x = self._from(other)
        a, b = (x, self) if swapped else (self, x)
        if self.is_complex or x.is_complex:
            raise ShapeError("complex numbers are not ordered; compare .real, .imag or abs()")
        given = _as_indices(a.expr, b.expr) if INDEX in (a.expr.kind, b.expr.kind) else None
        try:
            expr = truth(mask(*(given or (_real(a.expr), _real(b.expr)))))
        except ShapeError as error:
            raise ShapeError(f"{error} in tensors of shapes {a._shape} and {b._shape}") from None
        return self._record(expr, x)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, less)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, less_equal)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, less, swapped=True)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, less_equal, swapped=True)

    def __eq__(self, other: Any) -> Any:
        return self._compare(other, equal)

    def __ne__(self, other: Any) -> Any:
        return self._compare(other, lambda f, g: negated(equal(f, g)))

    def __and__(self, other: Any) -> Any:
        """Both are nonzero."""
        return self._compare(0, lambda f, g: negated(equal(f, g))) * self._from(other)._compare(
            0, lambda f, g: negated(equal(f, g))
        )

    def __invert__(self) -> Any:
        """1 where this is 0, else 0."""
        return self._compare(0, equal)

    # ------------------------------------------------------------------------------------- methods with their own forms

    def clamp(self, a: Any, b: Any) -> Any:
        """Limited to [a, b]."""
        return self._apply("clamp", FUNCTIONS["Clamp"].build, (a, b))

    def mod(self, n: Any, offset: Any = 0) -> Any:
        """What is left after whole multiples of n, from ``offset`` up."""
        return self._apply("mod", FUNCTIONS["Mod"].build, (n, offset))

    def round(self, d: int = 0) -> Any:
        """Rounded to d decimals; halves away from 0."""
        return self._apply("round", FUNCTIONS["Round"].build, (), (_whole(d, "d"),))

    def sinc(self) -> Any:
        """sin(pi x) / (pi x), as ``numpy.sinc``."""
        return (self * float(np.pi)).sinxdivx()

    def norm(self, dim: int = -1) -> Any:
        """The Euclidean norm of each vector."""
        if dim not in (-1, len(self._shape) - 1):
            raise ShapeError(f"norm is over the vectors: dim is -1 or {len(self._shape) - 1}; got {dim!r}")
        return self.norm2()

    def where(self, condition: Any, other: Any = 0) -> Any:
        """This where ``condition`` is not 0, else ``other``: ``K.where(K.i < K.j)`` is the upper triangle."""

        def build(f: Expr, c: Expr, g: Expr) -> Expr:
            return where(negated(equal(c, constant(0))), f, g)

        return self._apply("where", build, (condition, other))

    def elem(self, k: int) -> Any:
        """Component k of each vector; negative k count from the end."""
        k = _whole(k, "k")
        dim = self.expr.dim // 2 if self.is_complex else self.expr.dim
        if not -dim <= k < dim:
            raise ShapeError(f"component {k} asked of vectors of length {dim}")
        return self.extract(k % dim, 1)

    def extract(self, start: int, length: int) -> Any:
        """Components start to start + length - 1 of each vector."""
        unit = 2 if self.is_complex else 1
        build = FUNCTIONS["Extract"].build
        made = self._apply("extract", build, (), (unit * _whole(start, "start"), unit * _whole(length, "length")))
        made.is_complex = self.is_complex
        return made

    def concat(self, *others: Any) -> Any:
        """The components of this, then those of the others."""
        tensors = [self._from(other) for other in others]
        is_complex = any(x.is_complex for x in (self, *tensors))
        exprs = [_as_complex(x) if is_complex else _real(x.expr) for x in (self, *tensors)]
        return self._record(OPS["concat"](*exprs), *tensors, is_complex=is_complex)

    @classmethod
    def concatenate(cls, tensors: Any, axis: int = -1) -> Any:
        """Several tensors side by side along the vectors."""
        if not isinstance(tensors, (tuple, list)) or not tensors:
            raise ShapeError("concatenate takes a tuple of tensors")
        first = cls._from(tensors[0])
        if axis not in (-1, len(first._shape) - 1):
            raise ShapeError(f"tensors are joined along their vectors: axis is -1; got {axis!r}")
        return first.concat(*tensors[1:])

    @classmethod
    def cat(cls, tensors: Any, dim: int = -1) -> Any:
        """`concatenate`, as torch calls it."""
        return cls.concatenate(tensors, dim)

    def weightedsqnorm(self, s: Any) -> Any:
        """The weighted squared norm; s has length 1, D (weights) or D^2 (a matrix)."""
        return self._apply("weightedsqnorm", lambda f, s: FUNCTIONS["WeightedSqNorm"].build(s, f), (s,))

    def weightedsqdist(self, other: Any, s: Any) -> Any:
        """`weightedsqnorm` of the difference."""
        return (self - other).weightedsqnorm(s)

    def keops_tensordot(self, other: Any, dimf: Any, dimg: Any, contf: Any, contg: Any, *perm: Any) -> Any:
        """``numpy.tensordot`` of the vectors read as arrays of sizes ``dimf`` and ``dimg``."""
        lists = tuple(_wholes(one) for one in (dimf, dimg, contf, contg, *perm))
        return self._apply("keops_tensordot", FUNCTIONS["TensorDot"].build, (other,), lists)

    def keops_kron(self, other: Any, dimf: Any, dimg: Any) -> Any:
        """``numpy.kron`` of the vectors read as arrays of sizes ``dimf`` and ``dimg``."""
        return self._apply("keops_kron", FUNCTIONS["Kron"].build, (other,), (_wholes(dimf), _wholes(dimg)))

    def bspline(self, x: Any, k: int = 0) -> Any:
        """The B-splines of degree k on these knots, at x."""
        return self._apply("bspline", FUNCTIONS["BSpline"].build, (x,), (_whole(k, "k"),))

    def diff(self, v: Any, u: Any) -> Any:
        """The derivative in the variable v, in direction u."""
        return self._apply("diff", DERIVATIVES["Diff"].build, (v, u))

    def factorize(self, g: Any) -> Any:
        """This itself: parts that are used more than once are always computed once."""
        self._from(g)
        return self

    def auto_factorize(self) -> Any:
        """This itself: parts that are used more than once are always computed once."""
        return self

    # ------------------------------------------------------------------------------------------------ complex numbers

    def real2complex(self) -> Any:
        """Complex vectors with these as real parts."""
        return self._to_complex("Real2Complex")

    def imag2complex(self) -> Any:
        """Complex vectors with these as imaginary parts."""
        return self._to_complex("Imag2Complex")

    def exp1j(self) -> Any:
        """cos x + i sin x."""
        return self._to_complex("ComplexExp1j")

    def _to_complex(self, name: str) -> Any:
        if self.is_complex:
            raise ShapeError(f"{name} takes real numbers; these are complex")
        return self._record(FUNCTIONS[name].build(_real(self.expr)), is_complex=True)

    def _of_complex(self, name: str, is_complex: bool) -> Any:
        return self._record(FUNCTIONS[name].build(self.expr), is_complex=is_complex)

    @property
    def real(self) -> Any:
        """The real parts."""
        return self._of_complex("ComplexReal", False) if self.is_complex else self

    @property
    def imag(self) -> Any:
        """The imaginary parts."""
        return self._of_complex("ComplexImag", False) if self.is_complex else self * 0

    def angle(self) -> Any:
        """The angles of complex numbers, in [-pi, pi]."""
        if not self.is_complex:
            raise ShapeError("angle() takes complex numbers; these are real")
        return self._of_complex("ComplexAngle", False)

    def conj(self) -> Any:
        """The complex conjugates."""
        return self._of_complex("Conj", True) if self.is_complex else self

    def abs(self) -> Any:
        """Absolute values."""
        return self._of_complex("ComplexAbs", False) if self.is_complex else self._apply("abs", OPS["abs"], ())

    def exp(self) -> Any:
        """The exponential."""
        return self._of_complex("ComplexExp", True) if self.is_complex else self._apply("exp", OPS["exp"], ())

    def _complex_power(self, exponent: Any) -> Any:
        n = _whole(exponent, "the exponent of complex numbers")
        if n < 0:
            return 1 / self._complex_power(-n)
        result: Any = self._from(1).real2complex() if n == 0 else self
        for _ in range(n - 1):
            result = result * self
        return result

    # ---------------------------------------------------------------------------------------------------------- NumPy

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        name = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or options:
            return NotImplemented
        if not isinstance(inputs[0], Recorded) and name in _REFLECTED:
            return getattr(inputs[1], _REFLECTED[name])(inputs[0])
        first = inputs[0] if isinstance(inputs[0], Recorded) else self._from(inputs[0])
        found = getattr(type(first), name, None)
        return found(first, *inputs[1:]) if callable(found) else NotImplemented


_INDEX_RULES: dict[str, Callable[[Expr, Expr], Expr]] = {"add": tally, "sub": difference_of_indices}


def _real(expr: Expr) -> Expr:
    return expr if expr.kind == REAL else as_real(expr)


def _as_indices(a: Expr, b: Expr) -> tuple[Expr, Expr] | None:
    """Both as true integers, if both are indices or whole numbers."""
    found = []
    for expr in (a, b):
        known = constant_value(expr)
        if expr.kind == INDEX:
            found.append(expr)
        elif known is not None and known == int(known) and abs(known) < 2**31:
            found.append(integer(int(known)))
        else:
            return None
    return found[0], found[1]


def _as_complex(x: Any) -> Expr:
    return x.expr if x.is_complex else FUNCTIONS["Real2Complex"].build(_real(x.expr))


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))


def _is_number(value: Any, number: int) -> bool:
    return type(value) in (int, float) and value == number


def _whole(value: Any, name: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ShapeError(f"{name} is a whole number; got {value!r}")
    return int(value)


def _wholes(values: Any) -> tuple[int, ...]:
    return tuple(_whole(v, "an entry") for v in (values if isinstance(values, (tuple, list, np.ndarray)) else [values]))


def _scalar_product(f: Expr, g: Expr) -> Expr:
    if f.dim != g.dim:
        raise ShapeError(f"| needs vectors of equal length; got lengths {f.dim}, {g.dim}")
    return scalar_product(f, g)


def _method(function: Function) -> Any:
    """The method for a function of the registry: further formulas, then parameters, in the function's order."""
    count = len(function.arguments)

    def method(self: Any, *given: Any) -> Any:
        names = [*function.arguments[1:], *function.parameters]
        if not len(names) - function.optional <= len(given) <= len(names):
            raise TypeError(f"{method.__name__}({', '.join(names)}) takes {len(names)} arguments; got {len(given)}")
        params = tuple(_parameter(one) for one in given[count - 1 :])
        if function.name in DERIVATIVES and self._from(given[0]).expr.op.name != "variable":
            raise ShapeError(f"{method.__name__} differentiates in a variable: Vi(x), Vj(y) or Pm(p)")
        return self._apply(method.__name__, function.build, given[: count - 1], params)

    method.__name__ = method_name(function)
    method.__qualname__ = f"LazyTensor.{method.__name__}"
    method.__doc__ = f"{function.doc[:1].upper()}{function.doc[1:]}, f being this tensor."
    return method


def _parameter(value: Any) -> Any:
    return _wholes(value) if isinstance(value, (tuple, list)) else _whole(value, "a parameter")


def install() -> list[str]:
    """Give `Methods` a method for each function of the registry that has none; their names."""
    made = []
    for function in (*FUNCTIONS.values(), *DERIVATIVES.values()):
        name = method_name(function)
        if function.name not in NOT_METHODS and function.arguments and not hasattr(Methods, name):
            setattr(Methods, name, _method(function))
            made.append(name)
    return made


INSTALLED = tuple(install())
"""The methods that come from the registry."""

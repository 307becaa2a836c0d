"""Names that are compositions of other operations: they need no rule of their own."""

from __future__ import annotations

from fractions import Fraction

from clreduce.errors import FormulaError, ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import constant, spell
from clreduce.ops.arithmetic import square
from clreduce.ops.functions import sqrt
from clreduce.ops.shape import summed


def scalar_product(f: Expr, g: Expr) -> Expr:
    """Sum over k of f_k g_k; a side of length 1 multiplies the sum of the other."""
    if f.dim != g.dim and 1 not in (f.dim, g.dim):
        raise ShapeError(f"Scalprod needs vectors of equal length (or of length 1); got lengths {f.dim}, {g.dim}")
    return summed(f * g)


def squared_norm(f: Expr) -> Expr:
    """Sum over k of f_k squared."""
    return summed(square(f))


def norm(f: Expr) -> Expr:
    """Euclidean norm; its gradient at 0 is 0."""
    return sqrt(squared_norm(f))


def squared_distance(f: Expr, g: Expr) -> Expr:
    """Sum over k of (f_k - g_k) squared."""
    return squared_norm(f - g)


def ratio(p: int, q: int) -> Expr:
    """The constant p / q."""
    if q == 0:
        raise FormulaError("RatCst(p, q): q must not be 0")
    return constant(Fraction(p, q))


spell("Scalprod", scalar_product, "sum of f_k g_k; a side of length 1 multiplies the sum of the other", "f g")
spell("SqNorm2", squared_norm, "sum of f_k^2", "f")
spell("Norm2", norm, "Euclidean norm; its gradient at 0 is 0", "f", interval=(0.5, 2.0))
spell("SqDist", squared_distance, "sum of (f_k - g_k)^2", "f g")
spell("IntCst", lambda n: constant(n), "the integer n", "", "n", example=(3,))
spell("RatCst", ratio, "the ratio p / q of two integers", "", "p q", example=(1, 3))

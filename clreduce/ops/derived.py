"""Names that are compositions of other operations: they need no rule of their own."""

from __future__ import annotations

from fractions import Fraction

from clreduce.errors import FormulaError, ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, NAN, Edge, constant, constant_value, spell
from clreduce.ops.arithmetic import square
from clreduce.ops.compare import equal, less, less_equal, logical_not, where
from clreduce.ops.functions import absolute, clamp, floor, sign, sqrt
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


def truth(mask: Expr) -> Expr:
    """1 where the mask holds, else 0."""
    return where(mask, constant(1), constant(0))


def clamp_integers(f: Expr, a: int, b: int) -> Expr:
    """f limited to [a, b]."""
    return clamp(f, constant(a), constant(b))


def inside_integers(f: Expr, a: int, b: int) -> Expr:
    """The slope of `clamp_integers`: 1 where a <= f <= b, else 0."""
    return truth(less_equal(constant(a), f)) * truth(less_equal(f, constant(b)))


def modulo(f: Expr, n: Expr, d: Expr) -> Expr:
    """The remainder of f modulo n in an interval that begins at d. An infinite n is subtracted once, or not at all."""
    left = f - n * floor((f - d) / n)
    if constant_value(n) is not None:
        return left
    infinite = constant(INF)
    beyond = where(less((f - d) * sign(n), constant(0)), f + n, f)
    beyond = where(less(absolute(f), infinite), beyond, constant(NAN))
    return where(equal(absolute(n), infinite), beyond, left)


def reciprocal(n: int) -> Expr:
    """The constant 1 / n."""
    if n == 0:
        raise FormulaError("IntInv(n): n must not be 0")
    return constant(Fraction(1, n))


def ratio(p: int, q: int) -> Expr:
    """The constant p / q."""
    if q == 0:
        raise FormulaError("RatCst(p, q): q must not be 0")
    return constant(Fraction(p, q))


spell("Scalprod", scalar_product, "sum of f_k g_k; a side of length 1 multiplies the sum of the other", "f g",
      edges=(Edge(((1, 2, 3), 2), 12, ((2, 2, 2), 6)), Edge((2, (1, 2, 3)), 12, (6, (2, 2, 2)))))  # fmt: skip
spell("SqNorm2", squared_norm, "sum of f_k^2", "f",
      edges=(Edge(((0, 0),), 0, ((0, 0),)), Edge(((1, -INF),), INF, ((2, -INF),))))  # fmt: skip
spell("Norm2", norm, "Euclidean norm; its gradient at 0 is 0", "f", interval=(0.5, 2.0),
      edges=(
          Edge(((0, 0, 0),), 0, ((0, 0, 0),)), Edge(((INF, 0),), INF), Edge(((NAN, 0),), NAN, ((NAN, NAN),)),
          Edge(((3, -4),), 5, ((0.6, -0.8),)),
      ))  # fmt: skip
spell("SqDist", squared_distance, "sum of (f_k - g_k)^2", "f g",
      edges=(Edge(((1, 2), (1, 2)), 0, ((0, 0), (0, 0))), Edge(((1, 2, 3), 1), 5, ((0, 2, 4), -6))))  # fmt: skip
spell("Mod", modulo, "f - n * Floor((f - d) / n), for n > 0 in [d, d + n); slopes 1, -Floor((f - d) / n) and 0; for n "
      "infinite f, or f + n where f - d has the other sign",
      "f n d", interval=(0.5, 2.0),
      edges=(
          Edge((-1, 2, 0.3), 1, (1, 1, 0)), Edge((0, 2, 0.3), 2, (1, 1, 0)), Edge((2.5, 2, 0.3), 0.5, (1, -1, 0)),
          Edge((5, 2, 0), 1, (1, -2, 0)), Edge((5, 2, 2), 3, (1, -1, 0)), Edge((3, INF, 0), 3, (1, 0, 0)),
          Edge((-3, INF, 0), INF, (1, 1, 0)), Edge((3, -INF, 0), -INF, (1, 1, 0)), Edge((INF, INF, 0), NAN),
          Edge((INF, 2, 0), NAN), Edge((3, 0, 0), NAN),
      ))  # fmt: skip
spell("ClampInt", clamp_integers, "f limited to [a, b], for integers a and b; slope 1 at both ends", "f", "a b",
      example=(3, -1, 1),
      edges=(
          Edge((-1,), -1, (1,)), Edge((1,), 1, (1,)), Edge((2,), 1, (0,)), Edge((NAN,), NAN), Edge((5, 2, 4), 4, (0,)),
      ))  # fmt: skip
spell("DiffClampInt", inside_integers, "1 where a <= f <= b, else 0; slope 0 everywhere", "f", "a b",
      example=(3, -1, 1),
      edges=(Edge((-1,), 1, (0,)), Edge((1,), 1, (0,)), Edge((2,), 0, (0,)), Edge((NAN,), 0, (0,))))  # fmt: skip
spell("Equal", lambda f, g: truth(equal(f, g)), "1 where f = g, else 0; 0 with nan", "f g",
      edges=(Edge((1, 1), 1, (0, 0)), Edge((0, -0.0), 1), Edge((1, NAN), 0, (0, 0)), Edge((NAN, NAN), 0)))  # fmt: skip
spell("NotEqual", lambda f, g: truth(logical_not(equal(f, g))), "0 where f = g, else 1; 1 with nan", "f g",
      edges=(Edge((1, 1), 0, (0, 0)), Edge((1, NAN), 1, (0, 0)), Edge((NAN, NAN), 1)))  # fmt: skip
spell("LessThan", lambda f, g: truth(less(f, g)), "1 where f < g, else 0; 0 with nan", "f g",
      edges=(Edge((1, 1), 0, (0, 0)), Edge((-INF, 1), 1, (0, 0)), Edge((1, NAN), 0), Edge((NAN, 1), 0)))  # fmt: skip
spell("LessOrEqual", lambda f, g: truth(less_equal(f, g)), "1 where f <= g, else 0; 0 with nan", "f g",
      edges=(Edge((1, 1), 1, (0, 0)), Edge((2, 1), 0, (0, 0)), Edge((1, NAN), 0), Edge((NAN, 1), 0)))  # fmt: skip
spell("IntCst", lambda n: constant(n), "the integer n", "", "n", example=(3,),
      edges=(Edge((16777217,), 16777217),))  # fmt: skip
spell("IntInv", reciprocal, "1 / n for an integer n", "", "n", example=(3,), edges=(Edge((-3,), -1 / 3),))
spell("RatCst", ratio, "the ratio p / q of two integers", "", "p q", example=(1, 3),
      edges=(Edge((), 1 / 3), Edge((3, 4), 0.75)))  # fmt: skip
spell("Factorize", lambda f, g: f, "f; what is used several times is computed once without being told", "f g",
      example=(3, 2))  # fmt: skip
spell("AutoFactorize", lambda f: f, "f; what is used several times is computed once without being told", "f")

"""Text forms of formulas."""

from __future__ import annotations

from fractions import Fraction

import pytest

from clreduce.domain import Domain
from clreduce.ir.expr import INDEX, Expr, topological
from clreduce.ir.op import constant, position, variable
from clreduce.ir.show import show, show_shared, tree
from clreduce.ops.arithmetic import add, div, mul, neg, power, real_power, square
from clreduce.ops.compare import equal, less, less_equal, logical_not, where
from clreduce.ops.derived import norm, scalar_product, squared_distance, squared_norm
from clreduce.ops.functions import exp, sqrt
from clreduce.ops.shape import concat, element, expand, extract, pad, permute, reduce_sum, summed
from clreduce.ops.trigonometry import sin

x, y = variable("x", 3, Domain.I), variable("y", 3, Domain.J)
b = variable(2, 1, Domain.P)
one, zero = constant(1), constant(0)


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (x, "x"),
        (b, "Var(2, 1, 2)"),
        (variable(0, 1, Domain.I, INDEX), "0"),
        (variable(("ct", 0), 1, Domain.I), "('ct', 0)"),
        (variable("two words", 1, Domain.I), "'two words'"),
        (position(Domain.J), "position[J]"),
        (x + y + x, "x + y + x"),
        (x + (y + x), "x + (y + x)"),
        (x - (y - x), "x - (y - x)"),
        (x / (y * x), "x / (y * x)"),
        (x / y * x, "x / y * x"),
        ((x + y) * x, "(x + y) * x"),
        (x * y + x, "x * y + x"),
        (-(x * y), "-(x * y)"),
        (-x * y, "-x * y"),
        (x * -y, "x * -y"),
        (x - -y, "x - -y"),
        (neg(-x), "--x"),
        (-square(x), "-x**2"),
        (square(-x), "(-x)**2"),
        (power(x, -3), "x**-3"),
        (power(x, 0), "x**0"),
        (square(square(x)), "(x**2)**2"),
        (real_power(x, real_power(y, b)), "x**y**Var(2, 1, 2)"),
        (real_power(real_power(x, y), b), "(x**y)**Var(2, 1, 2)"),
        (real_power(x, -y), "x**-y"),
        (real_power(x, x + y), "x**(x + y)"),
        (real_power(x, constant(3)), "Powf(x, 3)"),
        (real_power(x, constant(0.5)), "Powf(x, 0.5)"),
        (real_power(x, constant(0.3)), "x**0.3"),
        (real_power(constant(-2), x), "(-2)**x"),
        (add(1, 2), "Add(1, 2)"),
        (div(1, 2), "Divide(1, 2)"),
        (neg(constant(2)), "Minus(2)"),
        (square(constant(2)), "Square(2)"),
        (power(constant(2), 3), "Pow(2, 3)"),
        (x * -2, "x * -2"),
        (-2 * x, "-2 * x"),
        (x - 1, "x - 1"),
        (x * Fraction(1, 3), "x * RatCst(1, 3)"),
        (x * Fraction(-1, 3), "x * RatCst(-1, 3)"),
        (constant(Fraction(1, 3)) * x, "RatCst(1, 3) * x"),
        (x * 0.1, "x * 0.1"),
        (x * -0.1, "x * -0.1"),
        (x * 1e300, "x * 1e+300"),
        (x * 10**400, "x * 1" + "0" * 400),
        (x * -0.0, "x * -0.0"),
        (x * float("inf"), "x * inf"),
        (x * float("nan"), "x * nan"),
        (scalar_product(x, y), "x | y"),
        (scalar_product(x - y, x - y), "x - y | x - y"),
        (scalar_product(scalar_product(x, y), x), "x | y | x"),
        (exp(-squared_distance(x, y)), "Exp(-SqDist(x, y))"),
        (squared_norm(x), "SqNorm2(x)"),
        (norm(x - y), "Norm2(x - y)"),
        (norm(x), "Norm2(x)"),
        (summed(exp(x)), "Sum(Exp(x))"),
        (sqrt(squared_norm(b)), "Sqrt(Var(2, 1, 2)**2)"),
        (1 - scalar_product(x, y), "1 - (x | y)"),
        (element(x, 1), "Elem(x, 1)"),
        (extract(x, 1, 2), "Extract(x, 1, 2)"),
        (concat(x, y), "Concat(x, y)"),
        (concat(x, y, x), "concat(x, y, x)"),
        (where(less(x, y), one, zero), "x < y"),
        (where(less_equal(x, y), one, zero), "x <= y"),
        (where(equal(x, y), one, zero), "x == y"),
        (where(logical_not(equal(x, y)), one, zero), "x != y"),
        (where(less(x, y), one, zero) * x, "(x < y) * x"),
        (where(less(where(less(x, y), one, zero), y), one, zero), "(x < y) < y"),
        (where(less(scalar_product(x, y), b), one, zero), "x | y < Var(2, 1, 2)"),
        (exp(where(less(x, y), one, zero)), "Exp(x < y)"),
        (where(less(x, y), x, zero), "where(less(x, y), x, 0)"),
        (where(logical_not(less(x, y)), one, zero), "where(logical_not(less(x, y)), 1, 0)"),
        (reduce_sum(concat(x, x), 1, 3, 2), "reduce_sum[1, 3, 2](Concat(x, x))"),
        (expand(x, 1, 2, 3), "expand[1, 2, 3](x)"),
        (permute(concat(x, x), (2, 3), (1, 0)), "permute[[2, 3], [1, 0]](Concat(x, x))"),
    ],
)
def test_show(expr: Expr, text: str) -> None:
    assert show(expr) == text


def test_place_is_shown_in_some_form() -> None:
    assert "(x" in show(pad(x, 1, 5))


def test_names() -> None:
    assert show(b * x, {2: "b", "x": "points"}) == "b * points"
    assert "b" in tree(b * x, {2: "b"})
    assert show_shared([exp(b) * exp(b)], {2: "b"}) == "t1 = Exp(b)\nt1 * t1"


def test_repr() -> None:
    assert repr(x + 1) == "Expr(x + 1)"


def shared(depth: int) -> Expr:
    f = x
    for _ in range(depth):
        f = sin(f) * f
    return f


def chain(depth: int) -> Expr:
    f = x
    for _ in range(depth):
        f = exp(f)
    return f


def test_shared_graph_does_not_explode() -> None:
    text = show(shared(64))
    assert text.endswith("...")
    assert len(text) == 10_003
    assert show(shared(64), limit=50).startswith("Sin(Sin(")
    lines = show_shared([shared(64)]).split("\n")
    assert len(lines) == 64
    assert lines[0] == "t1 = Sin(x) * x"
    assert lines[1] == "t2 = Sin(t1) * t1"
    assert lines[-1] == "Sin(t63) * t63"
    assert len(tree(shared(64)).split("\n")) < 300


def test_depth_is_free() -> None:
    f = chain(20_000)
    assert show(f, limit=10**6).count("Exp(") == 20_000
    assert show(f).endswith("...")
    assert show_shared([f]).endswith("...")
    assert len(tree(f).split("\n")) == 20_001
    assert len(show(sum((x for _ in range(20_000)), start=x), limit=10**6)) == 4 * 20_000 + 1


def test_show_shared() -> None:
    d = x - y
    assert show_shared([x + y]) == "x + y"
    assert show_shared([d, exp(d)]) == "t1 = x - y\nt1\nExp(t1)"
    assert show_shared([d, d]) == "t1 = x - y\nt1\nt1"
    assert show_shared([]) == ""


def test_shared_parts_are_not_hidden_in_a_short_form() -> None:
    d = x - y
    assert show_shared([summed(square(d)) * d]) == "t1 = x - y\nSqNorm2(t1) * t1"
    q = square(d)
    assert show_shared([summed(q) * q]) == "t1 = (x - y)**2\nSum(t1) * t1"
    m = x * y
    assert show_shared([summed(m) * m]) == "t1 = x * y\nSum(t1) * t1"
    mask = less(x, y)
    f = where(mask, one, zero)
    assert show_shared([f * where(mask, x, y)]) == "t1 = less(x, y)\nwhere(t1, 1, 0) * where(t1, x, y)"
    same = equal(x, y)
    assert show_shared([where(logical_not(same), one, zero) * where(same, x, y)]) == (
        "t1 = equal(x, y)\nwhere(logical_not(t1), 1, 0) * where(t1, x, y)"
    )
    s = squared_norm(x)
    assert show_shared([sqrt(s) * s]) == "t1 = SqNorm2(x)\nSqrt(t1) * t1"


def test_temporaries_avoid_the_names_of_variables() -> None:
    t1 = variable("t1", 3, Domain.I)
    assert show_shared([exp(t1) * exp(t1)]) == "t2 = Exp(t1)\nt2 * t2"


def test_tree() -> None:
    d = x - y
    assert tree(summed(d * d) * b) == (
        "mul: 1, IJ\n"
        "  reduce_sum[1, 3, 1]: 1, IJ\n"
        "    mul: 3, IJ\n"
        "      #1 sub: 3, IJ\n"
        "        x: 3, I\n"
        "        y: 3, J\n"
        "      #1\n"
        "  Var(2, 1, 2): 1, P"
    )


def test_tree_names_every_node_once() -> None:
    f = shared(5)
    assert tree(f).count("mul") + tree(f).count("sin") == sum(1 for node in topological([f]) if node.args)


def test_mul_of_numbers_inside_a_sum() -> None:
    assert show(mul(2, 3) * x) == "Mult(2, 3) * x"

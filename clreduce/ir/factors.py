"""Products of numbers in an order that computes less per pair, without a value that could leave the range of floats.

Autodiff multiplies cotangents in the order in which it meets operations. Two changes of that order are safe wherever
all values of the order as it stands are finite and normal, up to the factors that `simplify` moves:

- a constant of moderate size moves to the factor that is computed least often: ``-2 * (k(i, j) * (b_j * e_i))`` becomes
  ``k(i, j) * (b_j * (-2 * e_i))``;
- a product that the formula computes anyway is read again: beside ``k * e``, ``k * (b * e)`` becomes ``(k * e) * b``.

Nothing else moves. With a parameter g, ``k(i, j) * b_j * (g * e_i)`` would take one multiplication less than
``g * (k(i, j) * (e_i * b_j))``. But ``g * e_i`` may overflow, or vanish, where the result is an ordinary number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import constant, constant_value
from clreduce.ir.rewrite import is_moderate

_Rule = Callable[[Expr, Expr, dict[Expr, Expr]], Expr]


def arrange_products(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with each product of numbers reordered, where fewer multiplications per pair are left then.

    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.functions import exp
    >>> e, x, b = variable("e", 1, Domain.I), variable("x", 1, Domain.I), variable("b", 1, Domain.J)
    >>> k = exp(b - x)
    >>> arrange_products([-2 * (k * (b * e))])
    (Expr(Exp(b - x) * (b * (-2 * e))),)
    >>> arrange_products([k * e, k * (b * e)])
    (Expr(Exp(b - x) * e), Expr(Exp(b - x) * e * b))
    """
    return _place_constants(_reuse_products(_pull_constants(roots)))


def _is_product(node: Expr) -> bool:
    return node.op.name == "mul" and node.dim == 1 and all(arg.dim == 1 for arg in node.args)


def _inner_products(order: Sequence[Expr], roots: Sequence[Expr]) -> set[Expr]:
    """Products that one other product reads, and nothing else. What several nodes read stays whole."""
    uses = Counter(arg for node in order for arg in node.args)
    uses.update(roots)
    return {arg for node in order if _is_product(node) for arg in node.args if _is_product(arg) and uses[arg] == 1}


def _map_graph(roots: Sequence[Expr], order: Sequence[Expr], rule: _Rule) -> tuple[Expr, ...]:
    """``roots`` after ``rule(node, the node with mapped arguments, all nodes mapped so far)``, arguments first."""
    mapped: dict[Expr, Expr] = {}
    for node in order:
        args = tuple(mapped[arg] for arg in node.args)
        mapped[node] = rule(node, node if args == node.args else Expr(node.op, args, node.params), mapped)
    return tuple(mapped[root] for root in roots)


def _pull_constants(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with the constants of a product, and of the products within it, in front of it as one."""
    order = topological(roots)
    inner = _inner_products(order, roots)
    pulled: dict[Expr, Fraction] = {}
    """The constants of inner products; these are mapped to what is left of them."""

    def pull(node: Expr, same: Expr, mapped: dict[Expr, Expr]) -> Expr:
        if not _is_product(node):
            return same
        values = [pulled.get(arg) or _moderate_value(arg) for arg in node.args]
        coefficient = Fraction(1)
        for value in values:
            coefficient *= 1 if value is None else value
        rest = [mapped[arg] for arg in node.args if _moderate_value(arg) is None]
        if not rest or not is_moderate(coefficient):
            # As one they are too large to move: they stay where they were.
            a, b = (constant(pulled[arg]) * mapped[arg] if arg in pulled else mapped[arg] for arg in node.args)
            return a * b
        product = rest[0] * rest[1] if len(rest) == 2 else rest[0]
        if coefficient == 1:
            return product
        if node in inner:
            pulled[node] = coefficient
            return product
        return constant(coefficient) * product

    return _map_graph(roots, order, pull)


def _moderate_value(node: Expr) -> Fraction | None:
    value = constant_value(node)
    return value if isinstance(value, Fraction) and is_moderate(value) else None


def _reuse_products(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with a * (b * c) as (a * b) * c where a * b is computed anyway and b * c would be one more per pair."""
    order = topological(roots)
    inner = _inner_products(order, roots)
    computed = {frozenset(node.args): node for node in order if _is_product(node) and node not in inner}

    def reuse(node: Expr, same: Expr, mapped: dict[Expr, Expr]) -> Expr:
        if not _is_product(node):
            return same
        for outer, product in (node.args, node.args[::-1]):
            if product in inner and product.domain == Domain.IJ:
                for first, second in (product.args, product.args[::-1]):
                    known = computed.get(frozenset((outer, first)))
                    if known is not None:
                        # Its factors are read twice, so they are no inner products, and it stays as it is.
                        a, b = (mapped[arg] for arg in known.args)
                        return a * b * mapped[second]
        return same

    return _map_graph(roots, order, reuse)


def _place_constants(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with the constant in front of a product beside the factor that is computed least often."""
    order = topological(roots)
    inner = _inner_products(order, roots)
    cheapest: dict[Expr, Domain] = {}
    """The domain of a node; of an inner product, that of the factor within it which is computed least often."""

    def place(node: Expr, same: Expr, mapped: dict[Expr, Expr]) -> Expr:
        cheapest[node] = min(cheapest[arg] for arg in node.args) if node in inner else node.domain
        value = _moderate_value(node.args[0]) if _is_product(node) else None
        if value is None or node.args[1] not in inner:
            return same
        if _moderate_value(node.args[1].args[0]) is not None:
            return same  # two constants that are too large together
        path, factor = [], node.args[1]
        while factor in inner:
            side = int(cheapest[factor.args[0]] > cheapest[factor.args[1]])
            path.append((factor, side))
            factor = factor.args[side]
        scaled = -mapped[factor] if value == -1 else constant(value) * mapped[factor]
        for product, side in reversed(path):
            other = mapped[product.args[1 - side]]
            scaled = other * scaled if side else scaled * other
        return scaled

    return _map_graph(roots, order, place)

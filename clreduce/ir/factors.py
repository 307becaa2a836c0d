"""The order of products: fewer multiplications per pair, without values that could leave the range of floats.

Autodiff multiplies cotangents in the order of the operations. The following changes of that order are safe if all
values in the original order are finite and normal, up to the factors that `simplify` moves:

- a constant of moderate size moves to the factor that is computed least often: ``-2 * (k(i, j) * (b_j * e_i))`` becomes
  ``k(i, j) * (b_j * (-2 * e_i))``;
- a product that the formula computes anyway is read again: beside ``k * e``, ``k * (b * e)`` becomes ``(k * e) * b``.

With a parameter g, ``k(i, j) * (b_j * (g * e_i))`` takes one multiplication less than ``g * (k(i, j) * (b_j * e_i))``.
But ``g * e_i`` may overflow or vanish even if the result is an ordinary number. So parameters move only under the
assumption that they have moderate size, as constants that move must have (`arrange_moderate_products`). The caller
checks this assumption. Nothing else moves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from operator import mul

from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.ir.op import constant, constant_value
from clreduce.ir.rewrite import MODERATE, is_moderate

_Rule = Callable[[Expr, Expr, dict[Expr, Expr]], Expr]
_NARROWEST = 8.0
"""No parameter is assumed to be closer to 1 than by this factor."""


@dataclass(frozen=True)
class Arranged:
    """Formulas that are valid if the absolute values of some parameters are between 1 / ``limit`` and ``limit``."""

    values: tuple[Expr, ...]
    parameters: tuple[Expr, ...]
    """The variables that are assumed to have moderate size; without any, the formulas are always valid."""
    limit: float


def arrange_products(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with products of numbers reordered if this saves multiplications per pair.

    >>> from clreduce.ir.op import variable
    >>> from clreduce.ops.functions import exp
    >>> e, x, b = variable("e", 1, Domain.I), variable("x", 1, Domain.I), variable("b", 1, Domain.J)
    >>> k = exp(b - x)
    >>> arrange_products([-2 * (k * (b * e))])
    (Expr(Exp(b - x) * (b * (-2 * e))),)
    >>> arrange_products([k * e, k * (b * e)])
    (Expr(Exp(b - x) * e), Expr(Exp(b - x) * e * b))
    """
    return _arranged(roots, _Moves(False))


def arrange_moderate_products(roots: Sequence[Expr]) -> Arranged:
    """Arrange products and move parameters like constants if this saves multiplications per pair.

    >>> from clreduce.ir.op import variable
    >>> g, e, b = variable("g", 1, Domain.P), variable("e", 1, Domain.I), variable("b", 1, Domain.J)
    >>> arranged = arrange_moderate_products([2 * (g * (b * e))])
    >>> arranged.values, arranged.parameters, arranged.limit
    ((Expr(b * (2 * g * e)),), (Expr(g),), 512.0)
    """
    moves = _Moves(True)
    safe, values = arrange_products(roots), _arranged(roots, moves)
    if _products_per_pair(values) < _products_per_pair(safe):
        return Arranged(values, tuple(moves.assumed), moves.limit)
    return Arranged(safe, (), math.inf)


def _arranged(roots: Sequence[Expr], moves: _Moves) -> tuple[Expr, ...]:
    return _place_coefficients(_reuse_products(_pull_coefficients(roots, moves)), moves)


def _products_per_pair(roots: Sequence[Expr]) -> int:
    return sum(_is_product(node) and node.domain == Domain.IJ for node in topological(roots))


@dataclass(frozen=True, slots=True)
class _Size:
    """The largest distance from 1 of a product of constants and parameters, in powers of two: ``bits``, plus ``power``
    times the largest distance of the ``parameters``."""

    bits: float
    power: int
    parameters: frozenset[Expr]

    def __add__(self, other: _Size) -> _Size:
        return _Size(self.bits + other.bits, self.power + other.power, self.parameters | other.parameters)

    @property
    def limit(self) -> float:
        """The largest factor by which each parameter may differ from 1 so that the product has moderate size."""
        return float(2 ** ((math.log2(MODERATE) - self.bits) / self.power)) if self.power else math.inf


class _Moves:
    """The factors that move within products, and the assumptions for this."""

    def __init__(self, parameters: bool) -> None:
        self.parameters = parameters
        """Whether parameters move, besides constants."""
        self.assumed: dict[Expr, None] = {}
        self.limit = math.inf
        self.in_front: set[Expr] = set()
        """The coefficients with parameters that stand in front of products."""
        self._sizes: dict[Expr, _Size] = {}

    def note(self, node: Expr) -> Expr:
        """Record the size of ``node`` if it is known, after its arguments; returns ``node``."""
        if self.parameters and node.domain == Domain.P and node.dim == 1 and node.kind == REAL:
            size = self._size(node)
            if size is not None:
                self._sizes[node] = size
        return node

    def _size(self, node: Expr) -> _Size | None:
        if node.op.name == "variable":
            return _Size(0.0, 1, frozenset([node]))
        value = _moderate_value(node)
        if value:
            return _Size(abs(math.log2(abs(value))), 0, frozenset())
        if node.op.name not in ("mul", "div", "neg", "inv", "square"):
            return None
        sizes = [self._sizes.get(arg) for arg in node.args]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        return known[0] + known[-1] if node.op.name in ("mul", "div", "square") else known[0]

    def is_parameter(self, node: Expr) -> bool:
        """Whether a factor is a product of parameters whose size can be assumed."""
        size = self._sizes.get(node)
        return size is not None and size.power > 0

    def allows(self, coefficient: _Coefficient) -> bool:
        """Whether a factor has moderate size. If this depends on its parameters, they are assumed to have it, too."""
        if not is_moderate(coefficient.number):
            return False
        if coefficient.parameters:
            if not coefficient.number:
                return False
            size = _Size(abs(math.log2(abs(coefficient.number))), 0, frozenset())
            size = reduce(_Size.__add__, [self._sizes[node] for node in coefficient.parameters], size)
            if size.limit < _NARROWEST:
                return False
            self.assumed |= dict.fromkeys(sorted(size.parameters, key=lambda leaf: str(leaf.params)))
            self.limit = min(self.limit, size.limit)
        return True


@dataclass(frozen=True)
class _Coefficient:
    """The coefficient of a product: a number times products of parameters."""

    number: Fraction = Fraction(1)
    parameters: tuple[Expr, ...] = ()

    def __mul__(self, other: _Coefficient) -> _Coefficient:
        return _Coefficient(self.number * other.number, self.parameters + other.parameters)

    def __bool__(self) -> bool:
        return self != _Coefficient()

    def times(self, rest: Expr, moves: _Moves) -> Expr:
        """The product with ``rest``."""
        if not self.parameters:
            return constant(self.number) * rest if self else rest
        factor = reduce(mul, self.parameters)
        if self.number != 1:
            factor = -factor if self.number == -1 else constant(self.number) * factor
        moves.in_front.add(factor)
        return factor * rest


def _is_product(node: Expr) -> bool:
    return node.op.name == "mul" and node.dim == 1 and all(arg.dim == 1 for arg in node.args)


def _inner_products(order: Sequence[Expr], roots: Sequence[Expr]) -> set[Expr]:
    """Products that exactly one node reads, which is a product, too. Products with several readers stay whole."""
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


def _pull_coefficients(roots: Sequence[Expr], moves: _Moves) -> tuple[Expr, ...]:
    """``roots`` with the movable factors of each product, and of its inner products, as one coefficient in front."""
    order = topological(roots)
    inner = _inner_products(order, roots)
    pulled: dict[Expr, _Coefficient] = {}
    """The coefficients of inner products. The inner products themselves are mapped to their remaining factors."""

    def pull(node: Expr, same: Expr, mapped: dict[Expr, Expr]) -> Expr:
        if not _is_product(node):
            return moves.note(same)
        coefficient, rest = _Coefficient(), []
        for arg in node.args:
            value = _moderate_value(arg)
            coefficient *= pulled.get(arg, _Coefficient()) if value is None else _Coefficient(value)
            if value is None:
                if node.domain != Domain.P and moves.is_parameter(mapped[arg]):
                    coefficient *= _Coefficient(Fraction(1), (mapped[arg],))
                else:
                    rest.append(mapped[arg])
        if not rest or not moves.allows(coefficient):
            # Together the factors are too large to move, so they stay where they were.
            a, b = (pulled[arg].times(mapped[arg], moves) if arg in pulled else mapped[arg] for arg in node.args)
            return moves.note(a * b)
        product = moves.note(rest[0] * rest[1] if len(rest) == 2 else rest[0])
        if coefficient and node in inner:
            pulled[node] = coefficient
            return product
        return moves.note(coefficient.times(product, moves))

    return _map_graph(roots, order, pull)


def _moderate_value(node: Expr) -> Fraction | None:
    value = constant_value(node)
    return value if isinstance(value, Fraction) and is_moderate(value) else None


def _reuse_products(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """``roots`` with a * (b * c) as (a * b) * c if a * b is computed anyway and b * c would be another product."""
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
                        # Its factors are read twice, so they are not inner products, and it stays unchanged.
                        a, b = (mapped[arg] for arg in known.args)
                        return a * b * mapped[second]
        return same

    return _map_graph(roots, order, reuse)


def _place_coefficients(roots: Sequence[Expr], moves: _Moves) -> tuple[Expr, ...]:
    """``roots`` with the coefficient of each product next to the factor that is computed least often."""
    order = topological(roots)
    inner = _inner_products(order, roots)
    cheapest: dict[Expr, Domain] = {}
    """The domain of each node; for an inner product, the domain of its factor that is computed least often."""

    def place(node: Expr, same: Expr, mapped: dict[Expr, Expr]) -> Expr:
        cheapest[node] = min(cheapest[arg] for arg in node.args) if node in inner else node.domain
        if not _is_product(node) or node.args[1] not in inner:
            return same
        front, product = node.args
        value = _moderate_value(front)
        if value is None and front not in moves.in_front:
            return same
        if _moderate_value(product.args[0]) is not None:
            return same  # two constants that are too large together
        path, factor = [], product
        while factor in inner:
            side = int(cheapest[factor.args[0]] > cheapest[factor.args[1]])
            path.append((factor, side))
            factor = factor.args[side]
        scaled = -mapped[factor] if value == -1 else mapped[front] * mapped[factor]
        for product, side in reversed(path):
            other = mapped[product.args[1 - side]]
            scaled = other * scaled if side else scaled * other
        return scaled

    return _map_graph(roots, order, place)

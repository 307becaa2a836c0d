"""What the tests of all operations share: how a law is marked and counted, and the special points of a function.

A test of a law has a parameter ``name``, or ``names`` where several share a kernel, and marks that say which laws it
tests of them. ``conftest.py`` counts what ran by these marks; ``test_laws.py`` reads from them what would run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from oracle import Array

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS, OPS, Edge, Function, variable

ULPS = 20.0
"""Error allowed, in units in the last place of the largest component. x**64, squared six times, has 12."""
Values = Callable[[Expr, dict[Expr, Array], int], Array]
"""``values(f, data, rows)``: a formula on data, of shape (rows, D)."""


# ------------------------------------------------------------------------------------------------------------- laws


def law(title: str, of: Callable[[str], bool] = lambda name: True) -> pytest.MarkDecorator:
    """A mark for a test of a law; ``of`` tells of which of the test's names it says anything."""
    return pytest.mark.law(title, of)


def laws_tested(marks: Iterable[pytest.Mark], parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The laws that a test with these parameters is a test of, each with a name."""
    names = parameters.get("names", [parameters["name"]] if "name" in parameters else [])
    for mark in marks:
        if mark.name == "law":
            title, of = mark.args
            yield from ((title, name) for name in names if of(name))


def has_edges(name: str) -> bool:
    return bool(FUNCTIONS[name].edges)


# ----------------------------------------------------------------------------------------------- leaves and lengths


def lengths(function: Function) -> tuple[int, ...]:
    """Lengths of the vector arguments in its example."""
    count = len(function.arguments)
    return tuple(function.example[:count]) or (3,) * count


def parameters(function: Function) -> tuple[Any, ...]:
    """Its parameters in its example; optional ones may be left out there."""
    return tuple(function.example[len(function.arguments) :])


def argument(function: Function, at: int, dim: int, domain: Domain) -> Expr:
    """A variable for an argument. Functions tested in the same interval share it, and parts that are the same."""
    return variable(("argument", at, function.interval), dim, domain)


def cotangent(dim: int) -> Expr:
    return variable("cotangent", dim, Domain.I)


def gradients(f: Expr, leaves: Sequence[Expr]) -> list[Expr | None]:
    """What reverse mode makes of ``f``, for each leaf; None where the slope is zero."""
    return vjp({f: cotangent(f.dim)}, leaves)


# --------------------------------------------------------------------------------------------------- special points


def vector(value: Any) -> tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, tuple) else (float(value),)


@dataclass(frozen=True, eq=False)
class EdgeTable:
    """The special points of a function at which its arguments have the same lengths, and it the same parameters."""

    function: Function
    dims: tuple[int, ...]
    parameters: tuple[Any, ...]
    edges: list[Edge] = field(default_factory=list)

    @cached_property
    def leaves(self) -> list[Expr]:
        return [argument(self.function, at, dim, Domain.I) for at, dim in enumerate(self.dims)]

    @cached_property
    def value(self) -> Expr:
        return self.function.build(*self.leaves, *self.parameters)

    @cached_property
    def slopes(self) -> list[Expr | None]:
        """In each argument; nothing where no edge promises any, for then there may be none."""
        return gradients(self.value, self.leaves) if any(edge.slopes for edge in self.edges) else []

    @property
    def formulas(self) -> list[Expr]:
        return [self.value, *(f for f in self.slopes if f is not None)]

    def data(self, rows: int) -> dict[Expr, Array]:
        """The points over and over, and a cotangent of ones."""
        known = {cotangent(self.value.dim): np.ones((rows, self.value.dim))}
        for at, leaf in enumerate(self.leaves):
            points = [vector(edge.arguments[at]) for edge in self.edges]
            known[leaf] = np.resize(np.array(points), (rows, leaf.dim))
        return known

    def promises(self) -> Iterator[tuple[str, Edge, int, Expr | None, tuple[float, ...]]]:
        """What, of which edge, its number, the formula, and its promised value."""
        for number, edge in enumerate(self.edges):
            yield "the value", edge, number, self.value, vector(edge.value)
            for at, slope in enumerate(edge.slopes):
                if slope is not None:
                    yield f"slope {at}", edge, number, self.slopes[at], vector(slope)


def edge_tables(function: Function) -> list[EdgeTable]:
    """The special points of a function, by lengths and parameters."""
    count = len(function.arguments)
    found: dict[Any, EdgeTable] = {}
    for edge in function.edges:
        given = len(edge.arguments)
        assert given in (count, count + len(function.parameters)), f"{function.name}: {edge} has {given} arguments"
        assert not edge.slopes or len(edge.slopes) == count, f"{function.name}: {edge} has {len(edge.slopes)} slopes"
        of_its_own = edge.arguments[count:] if given > count else parameters(function)
        dims = tuple(len(vector(value)) for value in edge.arguments[:count])
        table = found.setdefault((dims, repr(of_its_own)), EdgeTable(function, dims, tuple(of_its_own)))
        table.edges.append(edge)
    return list(found.values())


def wrong_at_edges(table: EdgeTable, values: Values, numpy: Values, dtype: str, rows: int) -> Iterator[str]:
    """Promises of ``table`` that ``values`` does not keep, at each of the rows that the points fill.

    Where ``dtype`` cannot hold a point exactly (0.3, 1e308) and NumPy finds something else at the number nearest to
    it, nothing is promised. The sign of zero is not part of a promise.
    """
    info = np.finfo(dtype)
    with np.errstate(over="ignore", under="ignore"):
        data = {leaf: array.astype(dtype).astype(float) for leaf, array in table.data(rows).items()}
    same_points = all(np.array_equal(array, data[leaf], equal_nan=True) for leaf, array in table.data(rows).items())
    cache: dict[Expr, tuple[Array, Array]] = {}
    for what, edge, number, f, promised in table.promises():
        expected = np.array(promised)
        if f is not None and f.dim != len(expected):
            yield f"{table.function.name}, {what} at {edge.arguments} has length {f.dim}, promised is {promised}"
            continue
        if f is None:
            if expected.any() or np.isnan(expected).any():
                yield f"{table.function.name}, {what} at {edge.arguments}: 0, promised is {promised}"
            continue
        if f not in cache:
            cache[f] = values(f, data, rows), numpy(f, data, rows)
        mine = slice(number, rows, len(table.edges))
        found, nearby = (array[mine] for array in cache[f])
        point = np.concatenate([np.abs(vector(value)) for value in edge.arguments[: len(table.dims)]] or [[1.0]])
        sizes = np.concatenate([point, np.abs(expected)])
        # Values such as Sin(pi) are as exact as pi is; those such as Sqrt(0) are exact.
        slack = ULPS * float(info.eps) * max(sizes[np.isfinite(sizes)], default=0.0) + 2 * float(info.tiny)
        with np.errstate(over="ignore"):
            wanted = expected.astype(dtype).astype(float)
        if not same_points and not np.allclose(nearby, wanted, rtol=1e-4, atol=slack, equal_nan=True):
            continue
        if not np.allclose(found, wanted, rtol=ULPS * float(info.eps), atol=slack, equal_nan=True):
            yield f"{table.function.name}, {what} at {edge.arguments}: {found[0]}, promised is {promised}"


def is_elementwise(function: Function) -> bool:
    """Whether it is an operation of its own, and no composition."""
    return function.build in OPS.values()

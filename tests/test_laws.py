"""No operation is exempt: each name of the registry would be tested for each law, whatever part of the tests runs."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import test_intervals
import test_operations
import test_operations_numpy
from laws import EdgeTable, has_edges, laws_tested, wrong_at_edges
from test_operations_numpy import by_numpy

from clreduce.domain import Domain
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import FUNCTIONS, NAN, OPS, Edge, Op, variable
from clreduce.ops import hardware

OF_EVERY = {
    "description", "length, kind and domain", "derivatives to second order, in both modes",
    "values on a device", "gradients on a device", "values at corners on a device", "bounds", "bounds on a device",
}  # fmt: skip
OF_THOSE_WITH_EDGES = {"edges by NumPy", "edges on a device"}


def collected(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The laws that the tests of ``module`` are parametrised with, each with a name."""
    for test in vars(module).values():
        marks = list(getattr(test, "pytestmark", []))
        for parametrize in (mark for mark in marks if mark.name == "parametrize"):
            labels, rows = parametrize.args[:2]
            for row in rows:
                known = {labels: row} if isinstance(labels, str) else dict(zip(labels, row, strict=True))
                yield from laws_tested(marks, known)


TESTED = {*collected(test_operations), *collected(test_operations_numpy), *collected(test_intervals)}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_law_is_tested(name: str) -> None:
    assert {title for title, tested in TESTED if tested == name} >= OF_EVERY
    if has_edges(name):
        assert {title for title, tested in TESTED if tested == name} >= OF_THOSE_WITH_EDGES


def test_laws_are_known() -> None:
    """A mistyped title would be a law of its own."""
    others = {"vectors of length 1", "unequal lengths"}
    assert {title for title, _ in TESTED} == OF_EVERY | OF_THOSE_WITH_EDGES | others


def test_every_internal_operation_runs_on_devices() -> None:
    """As part of what the formula language has names for, or by itself; but for the functions of GPUs alone."""
    formulas = [f for case in test_operations.CASES.values() for f in case.formulas]
    tested = {node.op.name for node in topological(formulas)}
    of_gpus = {value.name for value in vars(hardware).values() if isinstance(value, Op)}
    assert set(OPS) - tested - of_gpus <= set(test_operations.INTERNAL), "add an example to INTERNAL"


def table(edge: Edge, f: Expr, *leaves: Expr) -> EdgeTable:
    """An edge of a function that builds ``f``."""
    found = EdgeTable(FUNCTIONS["Square"], tuple(leaf.dim for leaf in leaves), (), [edge])
    found.__dict__.update(leaves=list(leaves), value=f)
    return found


@pytest.mark.parametrize(("edge", "broken"), [
    (Edge((3,), 9, (6,)), False), (Edge((3,), 9.001, (6,)), True), (Edge((3,), 9, (6.001,)), True),
    (Edge((3,), NAN), True), (Edge((NAN,), NAN, (NAN,)), False), (Edge((NAN,), 1), True), (Edge((0,), 1e-9), True),
    (Edge((3,), (9, 9)), True), (Edge((3,), 9, (None,)), False), (Edge((0,), 0, (1e-12,)), True),
])  # fmt: skip
def test_broken_promises_are_noticed(edge: Edge, broken: bool) -> None:
    x = variable("x", 1, Domain.I)
    found = [*wrong_at_edges(table(edge, FUNCTIONS["Square"].build(x), x), by_numpy, by_numpy, "float64", 5)]
    assert bool(found) == broken

"""Programs and ways to call them that use every template and every reduction, for what checks kernels as such."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from test_schedules import PROGRAMS_BY_NAME

from clreduce.codegen.schedule import DIRECT
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.ops.derived import squared_distance
from clreduce.ops.functions import exp, relu
from clreduce.ops.matrices import matrix_vector
from clreduce.program import MapReduce, map_reduce, with_compensated_sums, with_fast_distances
from clreduce.reductions import FAMILIES, REDUCTIONS, RESIDUALS, Reduction


@dataclass(frozen=True)
class Case:
    """A program, how it is called, and what differs from its default schedule."""

    program: MapReduce
    batched: bool = False
    ranged: bool = False
    wide: bool = False
    change: tuple[tuple[str, Any], ...] = ()


def gaussian(dim: int, width: int = 1) -> MapReduce:
    x, y, b = variable("x", dim, Domain.I), variable("y", dim, Domain.J), variable("b", width, Domain.J)
    return map_reduce([exp(-squared_distance(x, y)) * b], "Sum")[0]


def network() -> MapReduce:
    """A hidden vector of each pair, which is kept in an array; slots: both matrices, points of i, points of j."""
    difference = variable("x", 6, Domain.I) - variable("y", 6, Domain.J)
    first, last = (variable(name, length, Domain.P) for name, length in (("first", 6 * 17), ("last", 17 * 3)))
    program, given = map_reduce([matrix_vector(last, relu(matrix_vector(first, difference)))], "Sum")
    assert [leaf.params[0] for leaf in given] == ["last", "first", "x", "y"]
    return program


def of_reduction(name: str, count: int | None, dim: int = 3) -> MapReduce:
    x, y, b = variable("x", dim, Domain.I), variable("y", dim, Domain.J), variable("b", 2, Domain.J)
    entry = REDUCTIONS.get(name) or RESIDUALS.get(name)
    two = (entry if isinstance(entry, Reduction) else (FAMILIES.get(name) or entry).build(1)).formulas == 2
    return map_reduce([squared_distance(x, y), *([b] if two else [])], name, count)[0]


def takes_count(name: str) -> bool:
    return name in FAMILIES or not isinstance(REDUCTIONS.get(name) or RESIDUALS[name], Reduction)


def cases() -> dict[str, Case]:
    """Every template and every reduction, at least once."""
    every = {name: Case(program) for name, program in PROGRAMS_BY_NAME.items()}
    for name in (*REDUCTIONS, *FAMILIES, *RESIDUALS):
        every[name] = Case(of_reduction(name, 5 if takes_count(name) else None))
    for dim, width in ((1, 1), (10, 1), (100, 1), (3, 3), (3, 40)):
        every[f"gaussian D={dim}, {width} columns"] = Case(gaussian(dim, width))
    (gradient_x,) = (g.program for g in gaussian(3).vjp([0]))
    (gradient_y,) = (g.program for g in gaussian(3).vjp([1]))
    every |= {
        "gradient in x": Case(gradient_x),
        "gradient in y": Case(gradient_y),
        "gradient of ArgMin's residual": Case(of_reduction("Min", None).vjp([0])[0].program),
        "forward mode": Case(gaussian(3).jvp([0, 1]).program),
        "network": Case(network()),
        "network, gradient in points": Case(network().vjp([2])[0].program),
        "network, gradient in weights": Case(network().vjp([0, 1])[0].program),
        "dot products": Case(with_fast_distances(gaussian(10))),
        "compensated": Case(with_compensated_sums(gaussian(3))),
        "batched": Case(gaussian(3), batched=True),
        "batched LogSumExp": Case(PROGRAMS_BY_NAME["LogSumExp"], batched=True),
        "ranges": Case(gaussian(3), ranged=True),
        "ranges, stored i": Case(PROGRAMS_BY_NAME["stored long i"], ranged=True),
        "ranges, batched": Case(PROGRAMS_BY_NAME["ArgMin"], batched=True, ranged=True),
        "wide": Case(gaussian(3), wide=True),
        "wide LogSumExp": Case(PROGRAMS_BY_NAME["LogSumExp"], wide=True),
        "K nearest, queue": Case(of_reduction("KMin_ArgKMin", 10), change=(("queue", 16),)),
        "K smallest, queue": Case(of_reduction("KMin", 10), change=(("queue", 16),)),
        "K nearest, prefilter": Case(of_reduction("KMin_ArgKMin", 10), change=direct(cols=8, queue=32, prefilter=4)),
        "K nearest, prefilter alone": Case(of_reduction("ArgKMin", 10), change=direct(cols=8, prefilter=4)),
        "K nearest, sorting": Case(of_reduction("ArgKMin", 50), change=direct(cols=4, queue=32, prefilter=8)),
        "K nearest, sorting in tiles": Case(of_reduction("ArgKMin", 50), change=(("queue", 32),)),
        "no local memory": Case(gaussian(3), change=direct()),
        "few rows": Case(gaussian(3), change=direct(rows=1, cols=8)),
    }
    return every


def direct(**change: Any) -> tuple[tuple[str, Any], ...]:
    """Changes to the default schedule of a GPU that give the loop shape without barriers."""
    return (("shape", DIRECT), ("group", 1), *change.items())


CASES = cases()

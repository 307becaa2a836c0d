"""The names that a formula may call (the registry's functions, `Var`, and differentiation), and those of reductions."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from clreduce.autodiff import divergence, grad, jvp, laplacian
from clreduce.errors import FormulaError
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS, Function, variable
from clreduce.ops.shape import zeros
from clreduce.reductions.reduction import ALIASES, FAMILIES, REDUCTIONS, Reduction, reduction_named


def _diff(f: Expr, v: Expr, u: Expr) -> Expr:
    return jvp([f], {v: u})[0] or zeros(f.dim)


VAR = Function("Var", variable, "a variable by its position", (), ("position", "dim", "category"))
DERIVATIVES = {
    function.name: function
    for function in (
        Function("Grad", grad, "(df/dv)^T e; without e it is a new variable, the last one", tuple("fve"), optional=1),
        Function("Diff", _diff, "(df/dv) u, the derivative of f in direction u", tuple("fvu")),
        Function("Divergence", divergence, "sum over k of df_k/dv_k", tuple("fv")),
        Function("Laplacian", laplacian, "sum over k of d^2 f/dv_k^2 for f of length 1", tuple("fv")),
    )
}
"""Differentiation inside formulas: always with respect to the second argument, which is a variable."""


def function_named(name: str) -> Function | None:
    return VAR if name == "Var" else FUNCTIONS.get(name) or DERIVATIVES.get(name)


def checked_reduction(name: Any, count: Any, formula2: Any) -> Reduction:
    """The reduction of that name, for the number K if it takes one, and with a second formula if one is given."""
    found = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(found, str) or (found not in REDUCTIONS and found not in FAMILIES):
        raise FormulaError(f"unknown reduction {name!r}; known are {', '.join([*REDUCTIONS, *FAMILIES])}")
    if found in REDUCTIONS:
        if count is not None:
            raise FormulaError(f"{name} takes no opt_arg; got {count!r}")
        reduction = reduction_named(found)
    else:
        try:
            number = 0 if isinstance(count, (bool, np.bool_)) else operator.index(count)
        except TypeError:
            number = 0
        if number < 1:
            raise FormulaError(f"{name} needs opt_arg=K, the number of terms to keep, 1 or more; got {count!r}")
        reduction = reduction_named(found, number)
    if formula2 is not None and reduction.with_formula2:
        return reduction_named(reduction.with_formula2, reduction.count)
    if formula2 is not None and not reduction.formula2:
        raise FormulaError(f"{name} takes no formula2; {', '.join(_with_formula2())} do")
    if formula2 is None and reduction.formula2:
        raise FormulaError(f"{name} needs formula2: {reduction.formula2}")
    return reduction


def _with_formula2() -> list[str]:
    """The names of the reductions that take a second formula."""
    kinds = [*REDUCTIONS.values(), *(family.build(1) for family in FAMILIES.values())]
    return [kind.name for kind in kinds if kind.formula2 or kind.with_formula2]

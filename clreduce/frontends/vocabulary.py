"""The names that a formula may call: the registry's functions, `Var`, and differentiation."""

from __future__ import annotations

from clreduce.autodiff import divergence, grad, jvp, laplacian
from clreduce.ir.expr import Expr
from clreduce.ir.op import FUNCTIONS, Function, variable
from clreduce.ops.shape import zeros


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

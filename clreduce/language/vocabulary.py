"""The names that formulas may call (the functions of the registry, `Var`, derivatives), and the names of reductions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import wraps
from typing import SupportsIndex

import numpy as np

from clreduce.autodiff import divergence, grad, jacobian, jvp, laplacian, trace
from clreduce.errors import FormulaError, ShapeError
from clreduce.ir.expr import Expr, topological
from clreduce.ir.op import FUNCTIONS, Function, constant, variable
from clreduce.ir.rewrite import simplify, uniform_value
from clreduce.ir.show import show
from clreduce.language.names import did_you_mean
from clreduce.ops.derived import scalar_product
from clreduce.ops.shape import repeated, zeros
from clreduce.reductions.reduction import ALIASES, FAMILIES, REDUCTIONS, Reduction, reduction_named

_QUOTED = 60
MOST_OPERATIONS = 10_000
"""The most operations of a derivative inside a formula. A derivative of a derivative has up to three times as many."""


def _bounded(build: Callable[..., Expr]) -> Callable[..., Expr]:
    """``build``, with a `FormulaError` if its result has too many operations for a kernel."""

    @wraps(build)
    def bounded(*args: object) -> Expr:
        derivative = build(*args)
        operations = len(topological([derivative]))
        if operations > MOST_OPERATIONS:
            raise FormulaError(
                f"this derivative takes {operations} operations, and {MOST_OPERATIONS} is the most. Each nested "
                "derivative multiplies their number: nest fewer, or write the inner ones as formulas"
            )
        return derivative

    return bounded


@_bounded
def _directional(f: Expr, v: Sequence[Expr], u: Sequence[Expr]) -> Expr:
    """The sum of the derivatives of f in the variables v, in the directions u."""
    tangents: dict[Expr, Expr] = {}
    for leaf, direction in zip(v, u, strict=True):
        if leaf.dim != direction.dim:
            raise ShapeError(f"the tangent has length {direction.dim}, the variable has length {leaf.dim}")
        tangents[leaf] = tangents[leaf] + direction if leaf in tangents else direction
    return jvp([f], tangents)[0] or zeros(f.dim)


@_bounded
def _adjoint(f: Expr, v: Expr, u: Expr) -> Expr:
    check_linear(f, v)
    return grad(f, v, u)


@_bounded
def _trace(f: Expr, v: Expr, w: Expr | None = None) -> Expr:
    if f.dim not in (1, v.dim):
        raise ShapeError(f"a trace needs a formula of length 1 or {v.dim}, as the variable; got length {f.dim}")
    _check_weights(w, v.dim)
    check_linear(f, v)
    return trace(f if f.dim == v.dim else repeated(f, v.dim), v, w)


@_bounded
def _sum_of_entries(f: Expr, v: Expr, left: Expr | None = None, right: Expr | None = None) -> Expr:
    _check_weights(left, f.dim)
    _check_weights(right, v.dim)
    check_linear(f, v)
    right = constant(1) if right is None else right
    along = _directional(f, [v], [right if right.dim == v.dim else repeated(right, v.dim)])
    return scalar_product(constant(1) if left is None else left, along)


def _check_weights(weights: Expr | None, dim: int) -> None:
    if weights is not None and weights.dim not in (1, dim):
        raise ShapeError(f"the weights must have length 1 or {dim}; got length {weights.dim}")


def check_linear(f: Expr, v: Expr, name: str | None = None) -> None:
    """Raise `FormulaError` unless the operations of f show that it is linear in v or does not depend on v.

    The message calls v ``name``.
    """
    node = nonlinear_node(f, {v})
    if node is not None:
        raise FormulaError(
            f"the formula must be linear in {name or f'the variable {show(v)}'}; {show(node, limit=_QUOTED)} is not"
        )


def nonlinear_node(f: Expr, variables: Collection[Expr]) -> Expr | None:
    """The first node of f that is not linear in the variables together, nor free of them; None if f is linear."""
    (f,) = simplify([f])
    fixed: set[Expr] = set()
    linear = set(variables)
    for node in topological([f]):
        if node in linear:
            continue
        if all(arg in fixed for arg in node.args):
            fixed.add(node)
            if uniform_value(node) == 0 or (node.op.linear and all(arg in linear for arg in node.args)):
                linear.add(node)
        elif _linear_node(node, fixed, linear):
            linear.add(node)
        else:
            return node
    return None


def _linear_node(node: Expr, fixed: set[Expr], linear: set[Expr]) -> bool:
    name, args = node.op.name, node.args
    if name == "lookup":
        return args[0] in linear and args[1] in fixed
    if node.op.linear or name in ("add", "sub", "difference", "neg"):
        return all(arg in linear for arg in args)
    if name == "mul":
        return any(a in linear and b in fixed for a, b in (args, args[::-1]))
    if name == "div":
        return args[0] in linear and args[1] in fixed
    return name in ("where", "if_else") and args[0] in fixed and args[1] in linear and args[2] in linear


VAR = Function("Var", variable, "a variable by its position", (), ("position", "dim", "category"))
DIFF = Function("Diff", _directional, "(df/dv) u, the derivative of f in direction u; v and u may be tuples, as in "
                "Diff(f, (v, w), (a, b)), and their parts add up", tuple("fvu"))  # fmt: skip
GRAD = Function(
    "Grad", _bounded(grad), "(df/dv)^T e; without e it is a new variable, the last one", tuple("fve"), optional=1
)
DERIVATIVES = {
    function.name: function
    for function in (
        GRAD,
        DIFF,
        Function("GradMatrix", _bounded(jacobian), "all df_k/dv_l, at place k * D(v) + l", tuple("fv")),
        Function("Divergence", _bounded(divergence), "sum over k of df_k/dv_k", tuple("fv")),
        Function("Laplacian", _bounded(laplacian), "sum over k of d^2 f/dv_k^2 for f of length 1", tuple("fv")),
        Function("AdjointOperator", _adjoint, "M^T u where f = M v is linear in v", tuple("fvu")),
        Function(
            "TraceOperator", _trace, "sum over k of w_k M_kk where f = M v is linear in v; w is 1 if it is left out, "
            "and f of length 1 counts as repeated", tuple("fvw"), optional=1,
        ),
        Function(
            "SumLinOperator", _sum_of_entries, "sum over k and l of a_k M_kl b_l where f = M v is linear in v; a and b "
            "are 1 if they are left out", tuple("fvab"), optional=2,
        ),
    )
}  # fmt: skip
"""The derivatives inside formulas, by name. All of them differentiate in their second argument, a variable."""


def function_named(name: str) -> Function | None:
    return VAR if name == "Var" else FUNCTIONS.get(name) or DERIVATIVES.get(name)


_OF_OTHER_LIBRARIES = {
    "average": "Mean", "std": "Var", "topk": "KMax", "argsort": "ArgKMin", "sort": "KMin",
    "softmax": "SumSoftMaxWeight", "product": "Prod", "amin": "Min", "amax": "Max",
}  # fmt: skip
"""Names of other libraries for reductions, or for values that are computed from them."""


def checked_reduction(name: object, count: object, formula2: object) -> Reduction:
    """The reduction called ``name``, for K = ``count`` if it takes a number; ``formula2`` is None without one.

    Raises `FormulaError` if the name is unknown, or if the reduction does not take these arguments.
    """
    known_name = ALIASES.get(name, name) if isinstance(name, str) else name
    if not isinstance(known_name, str) or (known_name not in REDUCTIONS and known_name not in FAMILIES):
        known = [*REDUCTIONS, *FAMILIES]
        meant = did_you_mean(name, known, _OF_OTHER_LIBRARIES) if isinstance(name, str) else ""
        raise FormulaError(f"unknown reduction {name!r}{meant}; known are {', '.join(known)}")
    if known_name in REDUCTIONS:
        if count is not None:
            raise FormulaError(f"{name} takes no opt_arg; got {count!r}")
        reduction = reduction_named(known_name)
    else:
        number = 0
        if isinstance(count, SupportsIndex) and not isinstance(count, (bool, np.bool_)):
            with suppress(TypeError):  # of an array of several numbers
                number = operator.index(count)
        if number < 1:
            raise FormulaError(
                f"{name} needs K (opt_arg=K for a Genred), the number of terms to keep, 1 or more; got {count!r}"
            )
        reduction = reduction_named(known_name, number)
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

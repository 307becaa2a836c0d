"""`generic_sum` and similar functions: routines from a formula and a description of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from clreduce.call.genred import Genred
from clreduce.domain import Domain
from clreduce.errors import FormulaError
from clreduce.language.aliases import parse_aliases

Made = TypeVar("Made", bound=Genred[Any])

_REDUCTIONS = {
    "generic_sum": ("Sum", "the sum of a formula", "array([[2.],\n       [2.]])"),
    "generic_logsumexp": ("LogSumExp", "the logarithm of a sum of exponentials", "array([[1.],\n       [1.]])"),
    "generic_argmin": ("ArgMin", "the index of the smallest value, as int64", "array([[0],\n       [0]])"),
    "generic_argkmin": ("ArgKMin", "the indices of the K smallest values, as int64", "array([[0],\n       [0]])"),
}
_DOC = """A `Genred` for {what}.

Parameters
----------
formula : str
    The formula, as in `Genred`.
output : str
    The result, described like an alias: ``"a = Vi({dim})"`` has a row per i and reduces over j, ``"a = Vj({dim})"`` has
    a row per j and reduces over i. {length}
*aliases : str
    The arguments in order, as in `Genred`.
**options
    Options of `Genred`.

Returns
-------
Genred
    The reduction.

Raises
------
FormulaError
    The result is a parameter, or the formula or an alias cannot be read.

Examples
--------
>>> import numpy as np
>>> from clreduce.numpy import {name}
>>> reduce = {name}("x * y", "a = Vi(1)", "x = Vi(1)", "y = Vj(1)")
>>> reduce(np.ones((2, 1)), np.array({data}))
{result}
"""
_IGNORED = "The length in parentheses is ignored: the result has the length of the formula."
_COUNTED = "The length in parentheses is K."


def generic(cls: type[Made], name: str) -> Callable[..., Made]:
    """The function called ``name``, which makes routines of class ``cls``."""
    reduction_op, what, example = _REDUCTIONS[name]
    counted = reduction_op == "ArgKMin"

    def make(formula: str, output: str, *aliases: str, **options: Any) -> Made:
        (result,) = parse_aliases([output])
        if result.domain == Domain.P:
            raise FormulaError(
                f"{name}: the first alias declares the result, a vector of i or of j such as 'a = Vi({result.dim})'; "
                f"got {output!r}"
            )
        for key in ("axis", "reduction_op", *(("opt_arg",) if counted else ())):
            if key in options:
                raise TypeError(
                    f"{name} has no option {key}: it follows from the name {name!r} and from the result {output!r}"
                )
        if counted:
            options["opt_arg"] = result.dim
        return cls(formula, list(aliases), reduction_op, axis=1 if result.domain == Domain.I else 0, **options)

    make.__name__ = make.__qualname__ = name
    make.__module__ = cls.__module__
    make.__doc__ = _DOC.format(
        what=what,
        name=name,
        dim="K" if counted else "D",
        length=_COUNTED if counted else _IGNORED,
        result=example,
        data="[[2.0]]" if reduction_op == "Sum" else "[[1.0]]",
    )
    return make

"""Docstrings of the methods that `LazyTensor` has from the registries, made from the records of these."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from clreduce.domain import Domain
from clreduce.ir.op import Function, variable
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.lazy.derivatives import TO_NUMBERS
from clreduce.ops.derived import scalar_product
from clreduce.reductions.reduction import Family, Reduction

_WIDTH = 108
"""Characters in a line: the stub indents it, and is no wider than other files."""
_SIZES = {Domain.I: 5, Domain.J: 4, Domain.P: 1}
"""The number of vectors of the examples, by category."""
_FORMULAS = {"Laplacian": "(x | x)"}
"""The formula that an example differentiates, if it is not ``2 * x``."""
_SETUP = ">>> import numpy as np\n>>> from clreduce.numpy import {names}\n"
_RESULTS = """
Returns
-------
LazyTensor
    A {kind} for each pair (i, j).

Raises
------
ShapeError
    The lengths do not fit, or the numbers are complex and the function is one of real numbers.
"""
_OPTIONS = """axis, dim : int
    The index that is reduced, counted as in `sum`: of a tensor without batch, 0 is i and 1 is j.
**options
    Options of `reduction`.
"""


def of_function(method: str, function: Function, names: Sequence[str]) -> str:
    """The docstring of the method for a function, which takes ``names`` beside the tensor."""
    called = f"{function.name}({', '.join((*function.arguments, *function.parameters))})"
    definition, _, remarks = function.doc.partition("; ")
    parts = [
        _wrapped(f"``{called}`` of this tensor {function.arguments[0]}: {definition}."),
        f"\n\n{_wrapped(_sentence(remarks))}" if remarks else "",
        _taken(function, names),
        _RESULTS.format(kind="number" if function.name in TO_NUMBERS else "vector"),
        _example(method, function),
    ]
    return "".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH)


def of_reduction(method: str, record: Reduction | Family) -> str:
    """The docstring of the method for a reduction."""
    reduction = record.build(2) if isinstance(record, Family) else record
    taken = ""
    if reduction.count:
        taken += "K : int\n    How many terms are kept, 1 or more.\n"
    if reduction.formula2:
        taken += f"weight : LazyTensor or array\n    {_sentence(reduction.formula2)}\n"
    rows = "(batch.., M, D) over j, (batch.., N, D) over i"
    result = f"array or tuple of arrays\n    Of shape {rows}.\n"
    result += "    Lists of K terms have shape (.., K, D), or (.., K) where D is 1."
    arguments = [*(["2"] if reduction.count else []), *(["y"] if reduction.formula2 else []), "axis=1"]
    doc = record.doc.replace("formula2", "``weight``")
    return (
        f"{_summary(doc)}\n\nParameters\n----------\n{taken}{_OPTIONS}\nReturns\n-------\n{result}\n\n"
        f"Examples\n--------\n{_SETUP.format(names='Vi, Vj')}"
        ">>> x, y = Vi(np.zeros((5, 3))), Vj(np.ones((4, 3)))\n"
        f">>> result = x.sqdist(y).{method}({', '.join(arguments)})\n"
    )


def _sentence(text: str) -> str:
    """A part of a definition as a sentence; names of formulas, of one letter, keep it."""
    is_word = text.split(" ", 1)[0].isalpha() and text[1:2] != " "
    words = text[0].upper() + text[1:] if is_word else text
    return words if words.endswith(".") else f"{words}."


def _summary(doc: str) -> str:
    """The first sentence as a summary, then the others."""
    first, _, others = _sentence(doc).partition("; ")
    return f"{_wrapped(first)}.\n\n{_wrapped(_sentence(others))}" if others else _wrapped(first)


def _taken(function: Function, names: Sequence[str]) -> str:
    """The section on parameters."""
    texts = []
    required = len(names) - function.optional
    meant = (*function.arguments[1:], *function.parameters)
    for at, (name, argument) in enumerate(zip(names, meant, strict=True)):
        if at >= len(function.arguments) - 1:
            kind, text = "int", f"The number {argument} in the definition."
        elif function.name in DERIVATIVES and at == 0:
            kind, text = "LazyTensor", "The variable that f is differentiated in: ``Vi(x)``, ``Vj(y)`` or ``Pm(p)``."
        else:
            kind, text = "LazyTensor, array, number or list", f"{argument} in the definition."
        texts.append(f"{name} : {kind}{'' if at < required else ', optional'}\n    {text}\n")
    if function.variadic:
        texts.append("*more : LazyTensor\n    Further vectors.\n")
    return f"\n\nParameters\n----------\n{''.join(texts)}" if texts else "\n"


def _example(method: str, function: Function) -> str:
    """An example that shows the shape of what the method gives, where lengths are those that the record names."""
    count = len(function.arguments)
    if function.name in DERIVATIVES:
        dims: tuple[int, ...] = (3,)
        called = _FORMULAS.get(function.name, "(2 * x)")
        others = ["x"] * (count - 1 - function.optional)
    else:
        dims = function.example[:count] or (3,) * count
        called, others = "x", [*"yzw"[: count - 1], *map(str, function.example[count:])]
    vectors = list(zip("xyzw", (Domain.I, Domain.J, Domain.P, Domain.P), dims, strict=False))
    makers = {"x": "Vi", "y": "Vj", "z": "Pm", "w": "Pm"}
    data = [
        f"{makers[name]}(np.ones({dim if domain == Domain.P else (_SIZES[domain], dim)}))"
        for name, domain, dim in vectors
    ]
    names = ", ".join(name for name, _, _ in vectors)
    imported = ", ".join(dict.fromkeys(makers[name] for name, _, _ in vectors))
    leaves = {name: variable(name, dim, domain) for name, domain, dim in vectors}
    if function.name in DERIVATIVES:
        x = leaves["x"]
        f = scalar_product(x, x) if function.name in _FORMULAS else 2 * x
        result = function.build(f, *[x] * len(others))
    else:
        result = function.build(*leaves.values(), *function.example[count:])
    sizes = (_SIZES[Domain.I], _SIZES[Domain.J] if "y" in leaves else 1)
    shape = sizes if function.name in TO_NUMBERS else (*sizes, result.dim)
    return (
        f"\nExamples\n--------\n{_SETUP.format(names=imported)}>>> {names} = {', '.join(data)}\n"
        f">>> {called}.{method}({', '.join(others)}).shape\n{shape}\n"
    )

"""Writes the stub of the methods that a `LazyTensor` has from the registry: clreduce/lazy/functions.pyi.

Editors and type checkers see these methods only there:

    python docs/make_stubs.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from inspect import Parameter, Signature
from pathlib import Path

from clreduce.domain import Domain
from clreduce.ir.op import Function, variable
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.lazy.functions import described, parameters_of, signature, wanted
from clreduce.lazy.registered import reduction_doc, reduction_signature, wanted_reductions
from clreduce.program import map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS

PATH = Path(__file__).resolve().parents[1] / "clreduce" / "lazy" / "functions.pyi"

_HEAD = '''\
"""Written by `python docs/make_stubs.py` from the registry. Do not edit: change the doc of the function."""

from inspect import Signature
from typing import Any, TypeVar

from typing_extensions import Unpack

from clreduce.ir.op import Function
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.methods import Methods
from clreduce.lazy.types import Options, Value

Tensor = TypeVar("Tensor", bound="FunctionMethods[Any]")
NOT_METHODS: frozenset[str]

def method_name(function: Function) -> str: ...
def wanted() -> dict[str, Function]: ...
def described(function: Function) -> str: ...
def parameters_of(function: Function) -> tuple[str, ...]: ...
def signature(function: Function) -> Signature: ...

class FunctionMethods(Methods[Array]):
'''


_LONGEST = 105
"""Characters of a name, its parameters and its result that fit into a line of a file."""
_OF_REDUCTIONS = {"K": "int", "weight": "Value", "axis": "int", "dim": "int", "options": "Unpack[Options]"}


def stub() -> str:
    """The text of the stub."""
    methods = [
        _method(name, signature(function), described(function), _types_of(function), "Tensor")
        for name, function in sorted(wanted().items())
    ]
    methods += [
        _method(name, reduction_signature(reduction), reduction_doc(reduction), _OF_REDUCTIONS, _result_of(reduction))
        for name, reduction in sorted(wanted_reductions().items())
    ]
    return _HEAD + "\n".join(methods)


def _result_of(reduction: str) -> str:
    """The type of what the method for a reduction returns."""
    record = REDUCTIONS.get(reduction) or FAMILIES[reduction].build(2)
    formulas = [variable(n, 1, Domain.IJ) for n in range(record.formulas)]
    count = len(map_reduce(formulas, record.name, record.count)[0].outputs)
    return "Array" if count == 1 else f"tuple[{', '.join(['Array'] * count)}]"


def _method(name: str, signature: Signature, doc: str, types: Mapping[str, str], result: str) -> str:
    parameters = ["self: Tensor"]
    for parameter in list(signature.parameters.values())[1:]:
        star = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        kind = types[parameter.name]
        default = "" if parameter.default is Parameter.empty else " | None = None"
        parameters.append(f"{star}{parameter.name}: {kind}{default}")
    quoted = textwrap.indent(doc, " " * 8, lambda line: bool(line.strip())).strip().replace("\\", "\\\\")
    taken = ", ".join(parameters)
    if len(name) + len(taken) + len(result) > _LONGEST:
        taken = f"\n        {taken}\n    "
    return f'    def {name}({taken}) -> {result}:\n        """{quoted}\n        """\n'


def _types_of(function: Function) -> dict[str, str]:
    """The types of what a method takes: vectors, then whole numbers."""
    names, count = parameters_of(function), len(function.arguments) - 1
    kinds = ["Recorded[Array]" if function.name in DERIVATIVES and at == 0 else "Value" for at in range(count)]
    return {**dict(zip(names, [*kinds, *["int"] * len(names)], strict=False)), "more": "Value"}


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")

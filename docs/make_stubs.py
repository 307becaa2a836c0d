"""Writes the stub of the methods that a `LazyTensor` has from the registry: clreduce/lazy/functions.pyi.

Editors and type checkers see these methods only there:

    python docs/make_stubs.py
"""

from __future__ import annotations

import textwrap
from inspect import Parameter, Signature
from pathlib import Path

from clreduce.lazy.functions import described, signature, wanted
from clreduce.lazy.registered import reduction_doc, reduction_signature, wanted_reductions

PATH = Path(__file__).resolve().parents[1] / "clreduce" / "lazy" / "functions.pyi"

_HEAD = '''\
"""Written by `python docs/make_stubs.py` from the registry. Do not edit: change the doc of the function."""

from inspect import Signature
from typing import Any, TypeVar

from clreduce.ir.op import Function
from clreduce.lazy.methods import Methods

Tensor = TypeVar("Tensor", bound="FunctionMethods")
NOT_METHODS: frozenset[str]

def method_name(function: Function) -> str: ...
def wanted() -> dict[str, Function]: ...
def described(function: Function) -> str: ...
def parameters_of(function: Function) -> tuple[str, ...]: ...
def signature(function: Function) -> Signature: ...

class FunctionMethods(Methods):
'''


def stub() -> str:
    """The text of the stub."""
    methods = [
        _method(name, signature(function), described(function), "Tensor") for name, function in sorted(wanted().items())
    ]
    methods += [
        _method(name, reduction_signature(reduction), reduction_doc(reduction), "Any")
        for name, reduction in sorted(wanted_reductions().items())
    ]
    return _HEAD + "\n".join(methods)


def _method(name: str, signature: Signature, doc: str, result: str) -> str:
    parameters = ["self: Tensor"]
    for parameter in list(signature.parameters.values())[1:]:
        star = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = "" if parameter.default is Parameter.empty else f" = {parameter.default}"
        parameters.append(f"{star}{parameter.name}: Any{default}")
    lines = textwrap.wrap(doc, 108, subsequent_indent="        ")
    quoted = "\n".join(lines).replace("\\", "\\\\")
    return f'    def {name}({", ".join(parameters)}) -> {result}:\n        """{quoted}"""\n'


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")

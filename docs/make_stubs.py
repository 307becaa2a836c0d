"""Writes the stub of the methods that a `LazyTensor` has from the registry: clreduce/lazy/functions.pyi.

Editors and type checkers see these methods only there:

    python docs/make_stubs.py
"""

from __future__ import annotations

import textwrap
from inspect import Parameter
from pathlib import Path

from clreduce.lazy.functions import described, signature, wanted

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
    methods = []
    for name, function in sorted(wanted().items()):
        parameters = ["self: Tensor"]
        for one in list(signature(function).parameters.values())[1:]:
            star = "*" if one.kind is Parameter.VAR_POSITIONAL else ""
            default = "" if one.default is Parameter.empty else f" = {one.default}"
            parameters.append(f"{star}{one.name}: Any{default}")
        doc = textwrap.wrap(described(function), 108, subsequent_indent="        ")
        quoted = "\n".join(doc).replace("\\", "\\\\")
        methods.append(f'    def {name}({", ".join(parameters)}) -> Tensor:\n        """{quoted}"""\n')
    return _HEAD + "\n".join(methods)


if __name__ == "__main__":
    PATH.write_text(stub(), encoding="utf-8")

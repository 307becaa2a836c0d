"""One method of `LazyTensor` for each function and reduction of the registries that has none yet.

A new one needs no line here.

``functions.pyi`` lists them for editors and type checkers; ``python docs/make_stubs.py`` writes it.
"""

from __future__ import annotations

import sys
from inspect import Parameter, Signature
from typing import Any

from clreduce.ir.op import FUNCTIONS, Function
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.lazy.base import Array
from clreduce.lazy.components import whole, wholes
from clreduce.lazy.derivatives import TO_NUMBERS
from clreduce.lazy.documented import of_function
from clreduce.lazy.methods import Methods
from clreduce.lazy.registered import reduction_method, wanted_reductions

NOT_METHODS = frozenset({
    # operators and numbers; what has a method of another form; what tensors of complex numbers do by operators
    "Add", "Subtract", "Minus", "Mult", "Divide", "Scalprod", "IntCst", "IntInv", "RatCst", "Zero", "Var",
    "Equal", "NotEqual", "LessThan", "LessOrEqual", "Sum", "Max", "Min", "ArgMax", "ArgMin", "Pow", "Powf",
    "ClampInt", "DiffClampInt", "Where", "TensorDot", "Kron", "SqNormIso", "SqNormDiag", "SymSqNorm",
    "ComplexAdd", "ComplexSubtract", "ComplexMult", "ComplexDivide", "ComplexRealScal", "ComplexReal", "ComplexImag",
    "ComplexAbs", "ComplexAngle", "ComplexExp", "ComplexSum", "ComplexSumT", "ComplexExp1j", "ComplexSquareAbs",
    "ComplexInv", "ComplexLog", "ComplexSqrt", "ComplexPow", "Factorize", "AutoFactorize", "Lookup",
})  # fmt: skip
_SPELLED = {
    "OneHot": "one_hot",
    "GradMatrix": "grad_matrix",
    "TraceOperator": "trace_operator",
    "DifferenceMatrix": "difference_matrix",
}
"""Methods that are not called like the function in small letters."""
_PARAMETERS = {
    "ifelse": ("other1", "other2"), "one_hot": ("D",), "softdtw_sqdist": ("other", "gamma"), "divergence": ("var",),
    "laplacian": ("var",), "trace_operator": ("var", "w"), "adjointoperator": ("v", "u"),
    "sumlinoperator": ("v", "a", "b"),
    **dict.fromkeys(
        ("atan2", "sqdist", "matvecmult", "vecmatmult", "tensorprod", "difference_matrix", "grad_matrix", "minimum",
         "maximum", "logaddexp", "cross"), ("other",)),
}  # fmt: skip
"""The names of the arguments after the tensor, for methods whose names differ from the formula language."""


class FunctionMethods(Methods[Array]):
    """The functions of the formula language, the tensor being their first argument."""

    __slots__ = ()


def method_name(function: Function) -> str:
    """The name of the method for a function of the formula language."""
    return _SPELLED.get(function.name, function.name.lower())


def wanted() -> dict[str, Function]:
    """The functions that become methods here, by the names of these."""
    every = (*FUNCTIONS.values(), *DERIVATIVES.values())
    named = {method_name(function): function for function in every if function.arguments}
    return {
        name: function
        for name, function in named.items()
        if function.name not in NOT_METHODS and not hasattr(Methods, name)
    }


def described(function: Function) -> str:
    """The docstring of a method."""
    return of_function(method_name(function), function, parameters_of(function))


def _method(name: str, function: Function) -> Any:
    """The method: further vectors, then whole numbers, in the order of the function."""
    count = len(function.arguments)
    names = parameters_of(function)
    fewest, most = len(names) - function.optional, len(names) if not function.variadic else sys.maxsize
    derivative, vectors = function.name in DERIVATIVES, False if function.name in TO_NUMBERS else None

    def method(self: Methods[Array], *args: Any, **named: Any) -> Any:
        if named:
            args += tuple(named.pop(name) for name in names[len(args) :] if name in named)
        if named or not fewest <= len(args) <= most:
            raise TypeError(f"the call is x.{name}({', '.join(names)}); got {len(args)} arguments{_beside(named)}")
        if derivative:
            return self._derived(name, function.name, *args)
        if function.variadic:
            return self._apply(name, function.build, args)
        params = tuple(map(_parameter, args[count - 1 :]))
        return self._apply(name, function.build, args[: count - 1], params, vectors)

    method.__name__, method.__qualname__, method.__module__ = name, f"LazyTensor.{name}", FunctionMethods.__module__
    method.__doc__ = described(function)
    method.__signature__ = signature(function)  # type: ignore[attr-defined]
    return method


def parameters_of(function: Function) -> tuple[str, ...]:
    """The names of the arguments of a method, without the tensor."""
    return _PARAMETERS.get(method_name(function), (*function.arguments[1:], *function.parameters))


def signature(function: Function) -> Signature:
    """The signature of a method."""
    names = parameters_of(function)
    required = len(names) - function.optional
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for at, name in enumerate(names):
        default = Parameter.empty if at < required else None
        parameters.append(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=default))
    if function.variadic:
        parameters.append(Parameter("more", Parameter.VAR_POSITIONAL))
    return Signature(parameters)


def _beside(named: dict[str, Any]) -> str:
    return f" and {', '.join(named)}" if named else ""


def _parameter(value: Any) -> Any:
    return wholes(value) if isinstance(value, (tuple, list)) else whole(value, "a parameter")


for _name, _function in wanted().items():
    setattr(FunctionMethods, _name, _method(_name, _function))
for _name, _reduction in wanted_reductions().items():
    setattr(FunctionMethods, _name, reduction_method(_name, _reduction))

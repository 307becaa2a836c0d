"""One method of `LazyTensor` for each reduction of the registry that `ListReductions` does not write out.

A new reduction needs no line here. Its method takes an axis, i or j; a reduction of a family takes its number K before,
one of two formulas a tensor of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from clreduce.lazy.documented import of_reduction
from clreduce.lazy.lists import ListReductions
from clreduce.reductions import FAMILIES, REDUCTIONS

_WRITTEN_OUT = frozenset({"LogSumExpWeight", "Max_SumShiftExp", "Max_SumShiftExpWeight"})
"""Reductions that a method of another name asks for."""


def method_name(reduction: str) -> str:
    """The name of the method for a reduction.

    >>> method_name("Mean"), method_name("KMin_ArgKMin")
    ('mean', 'Kmin_argKmin')
    """
    return "".join(letter if letter == "K" and reduction in FAMILIES else letter.lower() for letter in reduction)


def wanted_reductions() -> dict[str, str]:
    """The reductions that become methods here, by the names of these."""
    named = {method_name(name): name for name in (*REDUCTIONS, *FAMILIES) if name not in _WRITTEN_OUT}
    return {method: name for method, name in named.items() if not hasattr(ListReductions, method)}


def reduction_doc(name: str) -> str:
    """The docstring of a method."""
    return of_reduction(method_name(name), REDUCTIONS.get(name) or FAMILIES[name])


def reduction_signature(name: str) -> Signature:
    """The signature of a method: K, weights, an axis, and the options of `LazyTensor.reduction`."""
    weighted = (REDUCTIONS.get(name) or FAMILIES[name].build(2)).formulas > 1
    required = [*(["K"] if name in FAMILIES else []), *(["weight"] if weighted else [])]
    kind = Parameter.POSITIONAL_OR_KEYWORD
    parameters = [Parameter(word, kind) for word in ("self", *required)]
    parameters += [Parameter(word, kind, default=None) for word in ("axis", "dim")]
    return Signature([*parameters, Parameter("options", Parameter.VAR_KEYWORD)])


def reduction_method(method: str, name: str) -> Callable[..., object]:
    """The method, which `LazyTensor.reduction` computes."""
    signature = reduction_signature(name)

    def reduce(self: ListReductions[Any], *args: Any, **options: Any) -> Any:
        try:
            bound = signature.bind(self, *args, **options).arguments
        except TypeError as error:
            call = ", ".join(map(str, list(signature.parameters.values())[1:]))
            raise TypeError(f"the call is x.{method}({call}): {error}") from None
        return self.reduction(
            name, other=bound.get("weight"), opt_arg=bound.get("K"), axis=bound.get("axis"), dim=bound.get("dim"),
            **bound.get("options", {}),
        )  # fmt: skip

    reduce.__name__, reduce.__qualname__ = method, f"LazyTensor.{method}"
    reduce.__doc__ = reduction_doc(name)
    reduce.__signature__ = signature  # type: ignore[attr-defined]
    return reduce

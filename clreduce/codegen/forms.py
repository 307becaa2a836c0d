"""The choice between clreduce's own functions and those for which the device has an instruction.

On CPUs, and for values of i or j alone, kernels call clreduce's own functions, with the bounds in the templates. In
double precision on GPUs, exponentials of pairs read a table in local memory, which allows a shorter polynomial. For
float32 values of pairs, kernels call the device's functions, if a trial has shown that their errors are within the
bounds in `clreduce.ops.hardware` (`DeviceFacts.native_functions`):

- e^x is 2^(x log2 e). Beside the error of the device's 2^x there is that of rounding the exponent, up to |x| 2^-24 of
  the result: the size of the error that the argument itself carries after a sum of squares. The factor goes into a
  constant, or into a factor of x that is computed less often than for each pair.
- 1 / x, a / x = a (1 / x), Sqrt and Rsqrt: 1.5 to 2.5 ulp. a / p with p the same for all pairs is a (1 / p).

Where values, in the order of the formula, stay a factor of 2^20 away from both ends of the range, all of these give the
same up to such errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from clreduce.codegen.facts import DeviceFacts
from clreduce.domain import Domain
from clreduce.ir.expr import Expr, map_graph, topological
from clreduce.ir.op import constant, constant_value
from clreduce.ops.arithmetic import inv
from clreduce.ops.compare import equal, smaller, where
from clreduce.ops.hardware import (
    exp_by_roots,
    exp_by_roots_never_above_1,
    fast_larger,
    fast_smaller,
    minus_magnitude,
    native_exp2,
    native_recip,
    native_rsqrt,
    native_sqrt,
)

Rule = tuple[tuple[str, ...], Callable[..., Expr]]
"""The native functions that a form needs, and the function that makes the form from the arguments of a node."""
_ROOTS = "roots"
"""Stands for a table in local memory, in place of native functions."""
_LOG2_E = Fraction(math.log2(math.e))


class Forms:
    """The rewrite of formulas for the functions of one device and precision."""

    def __init__(self, dtype: str, facts: DeviceFacts, local_memory: bool = False) -> None:
        """``local_memory`` says whether the kernel's work-groups share local memory and it has no lanes."""
        self.on_gpu = dtype == "float" and facts.kind == "gpu"
        self.available = frozenset(facts.native_functions if self.on_gpu else ())
        if dtype == "double" and facts.kind == "gpu" and facts.tables and local_memory:
            self.available = frozenset((_ROOTS,))

    def __call__(self, roots: Sequence[Expr]) -> tuple[Expr, ...]:
        """``roots`` with the device's forms for values that differ from pair to pair."""
        return self._rewritten(roots, _RULES) if self.available else tuple(roots)

    def of_update(self, new: Sequence[Expr], extremes: Sequence[Expr]) -> tuple[Expr, ...]:
        """Rewrite the new state of a reduction, in which ``extremes`` are running maxima and minima.

        These are never nan, which allows faster comparisons. A reduction takes exponentials of numbers up to 0 only,
        apart from rounding.
        """
        if not self.available and not self.on_gpu:
            return tuple(new)
        numbers = set(extremes if self.on_gpu else ())
        for node in topological(new):
            if node.op.name in _EXTREMA and node.args[0] in numbers:
                numbers.add(node)

        def extremum(node: Expr, args: tuple[Expr, ...]) -> Expr | None:
            return _EXTREMA[node.op.name](*args) if node in numbers and node.op.name in _EXTREMA else None

        return self._rewritten(new, _RULES | _RULES_OF_UPDATES, extremum)

    def _rewritten(
        self,
        roots: Sequence[Expr],
        rules: dict[str, tuple[Rule, ...]],
        special: Callable[[Expr, tuple[Expr, ...]], Expr | None] = lambda node, args: None,
    ) -> tuple[Expr, ...]:
        def form_of(node: Expr, rebuilt: Expr) -> Expr:
            form = special(node, rebuilt.args)
            if form is None and node.domain == Domain.IJ:
                for needed, rule in rules.get(node.op.name, ()):
                    if self.available.issuperset(needed):
                        return rule(*rebuilt.args)
            return form or rebuilt

        return map_graph(roots, form_of)


def scaled(x: Expr, factor: Fraction) -> Expr:
    """x times a nonzero constant. The constant goes into a factor of x that is computed less often, if there is one."""
    value = constant_value(x)
    if isinstance(value, Fraction):
        return constant(value * factor)
    if x.op.name == "neg":
        return scaled(x.args[0], -factor)
    if x.op.name == "mul":
        for here, other in (x.args, x.args[::-1]):
            if isinstance(constant_value(here), Fraction) or (here.domain != Domain.IJ and other.domain == Domain.IJ):
                return scaled(here, -factor) * other.args[0] if other.op.name == "neg" else scaled(here, factor) * other
    return x * constant(factor)


def _exp(x: Expr) -> Expr:
    return native_exp2(scaled(x, _LOG2_E))


def _sigmoid(x: Expr) -> Expr:
    return native_recip(1 + native_exp2(scaled(x, -_LOG2_E)))


def _quotient(a: Expr, b: Expr) -> Expr:
    return a * (native_recip(b) if b.domain == Domain.IJ else inv(b))


def _rsqrt(x: Expr) -> Expr:
    return where(equal(x, constant(0)), constant(0), native_rsqrt(x))


def _weight(x: Expr) -> Expr:
    """e^x for an x that is at most 0. If rounding has made it positive, -|x| is as accurate as the bound 0."""
    if x.op is smaller and constant_value(x.args[1]) == 0:
        return native_exp2(minus_magnitude(scaled(x.args[0], _LOG2_E)))
    return _exp(x)


def _weight_by_roots(x: Expr) -> Expr:
    """`_weight` in double precision, by the table of roots."""
    if x.op is smaller and constant_value(x.args[1]) == 0:
        return exp_by_roots_never_above_1(minus_magnitude(x.args[0]))
    return exp_by_roots(x)


_RULES: dict[str, tuple[Rule, ...]] = {
    "exp": ((("exp2",), _exp), ((_ROOTS,), exp_by_roots)),
    "exp_never_above_1": ((("exp2",), _exp), ((_ROOTS,), exp_by_roots_never_above_1)),
    "exp2": ((("exp2",), native_exp2),),
    "sigmoid": ((("exp2", "recip"), _sigmoid),),
    "inv": ((("recip",), native_recip),),
    "div": ((("recip",), _quotient),),
    "sqrt": ((("sqrt",), native_sqrt),),
    "rsqrt": ((("rsqrt",), _rsqrt),),
    "inverse_root": ((("rsqrt",), lambda x: native_rsqrt(x + constant(0))),),
}
"""The rules of each operation. The first rule whose needs are available applies."""
_RULES_OF_UPDATES: dict[str, tuple[Rule, ...]] = {
    "exp": ((("exp2",), _weight), ((_ROOTS,), _weight_by_roots)),
    "exp_never_above_1": ((("exp2",), _weight), ((_ROOTS,), exp_by_roots_never_above_1)),
}
_EXTREMA = {"smaller": fast_smaller, "larger": fast_larger}

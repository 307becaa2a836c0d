"""`Genred`: a routine that is made from the text of a formula."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from clreduce.call.options import Options, refuse_unknown
from clreduce.call.routine import Routine, checked_axis
from clreduce.language.formula import parse_all
from clreduce.language.vocabulary import checked_reduction

Array = TypeVar("Array")
"""The array type that calls return."""


class Genred(Routine, Generic[Array]):
    """A reduction of a formula over i or j, given as text: ``out = Genred(formula, aliases, reduction_op, axis)(...)``.

    Parameters
    ----------
    formula:
        The formula, for instance ``"Exp(-SqDist(x, y)) * b"``: a Python-like expression of operations and aliases.
    aliases:
        The arguments in order: ``"x = Vi(3)"`` (one vector of length 3 per i), ``"y = Vj(3)"`` (per j),
        ``"p = Pm(1)"`` (one vector for all pairs).
    reduction_op:
        ``Sum``, ``Mean``, ``Var``, ``Prod``; ``Min``, ``ArgMin``, ``Min_ArgMin`` and their ``Max`` forms; ``KMin``,
        ``ArgKMin``, ``KMin_ArgKMin``, ``SumKMin`` and their ``KMax`` forms, which take ``opt_arg``; ``Count``, ``Any``,
        ``All``; ``LogSumExp``, ``Max_SumShiftExp``; and, with ``formula2``, ``LogSumExpWeight``, ``SumSoftMaxWeight``
        (or ``SoftMax``), ``Max_SumShiftExpWeight``.
    axis:
        The index that is reduced: 1 for j (the result has a row per i), 0 for i (the result has a row per j).
    opt_arg:
        The number K, 1 or more, of reductions with ``KMin`` or ``KMax`` in their name.
    formula2:
        A second formula of any length; the first one must then have length 1. It gives the weights of the terms of
        ``LogSumExp`` (optional), ``LogSumExpWeight`` and ``Max_SumShiftExpWeight``, the values that
        ``SumSoftMaxWeight`` averages, or the values that ``SumKMin`` and ``SumKMax`` add up.
    dtype_acc:
        The precision of the accumulators of reductions that add up. ``"auto"`` is the precision of the terms. For
        float32 arrays, ``"float64"`` computes the terms in float32, accumulates them in float64 and rounds the result
        to float32. Other arrays allow their own dtype only; float16 and bfloat16 arrays also float32.
    use_double_acc:
        Short for ``dtype_acc="float64"``.
    sum_scheme:
        ``"block_sum"`` (the default, ``"auto"``) adds up in blocks, which keeps rounding errors small.
        ``"direct_sum"`` uses one running sum. ``"kahan_scheme"`` (compensated summation) also accumulates the rounding
        errors, so the error does not grow with the number of terms. Float32 arrays with ``dtype_acc="float64"`` need
        no blocks and use none.
    fast:
        ``"dot"`` computes squared distances between vectors x_i and y_j of 8 or more components as
        ``|x_i|^2 + |y_j|^2 - 2 <x_i, y_j>``, also in derivatives. This takes fewer operations but loses digits: the
        absolute error is about eps * (|x_i|^2 + |y_j|^2), even if the distance is small. So centre data that are far
        from the origin. Near-ties in ``ArgMin`` or ``ArgKMin`` may be resolved differently. None (the default)
        subtracts component by component.
    accuracy:
        ``"auto"`` allows faster functions on GPUs, for values that are computed for each pair. In float32 these are
        functions of the hardware (2^x for exponentials, roots, quotients), if a test on the device has shown that they
        keep stated bounds; `explain` lists them. The relative error of e^x is then up to 2 ulp plus ``|x| * 6e-8``. In
        float64, e^x reads a table in local memory; its relative error is 1.1 ulp plus ``|x| * 1.5e-17``. ``"full"``
        always uses the functions of clreduce, whose errors are a few ulp everywhere. CPUs always use those.
    dtype, cuda_type, enable_chunks, rec_multVar_highdim, use_fast_math:
        Accepted for compatibility, and ignored. The first two are deprecated: the data's dtype decides. The others are
        speed switches of another engine.

    Raises
    ------
    FormulaError
        The formula, an alias or an option is invalid. For a syntax error the message points at the place.
    ShapeError
        Vectors inside the formula have incompatible lengths.
    OptionError
        An option is unknown; the error names the nearest known one.
    """

    if TYPE_CHECKING:  # reductions with two results give a pair; type checkers refuse unknown options

        def __call__(  # type: ignore[override]
            self, *args: Any, backend: str = "auto", device_id: int = -1, ranges: Any = None, out: Any = None,
            max_memory: int | str | None = None, deterministic: bool | None = None, prune: bool | str = "auto",
            atol: float | None = None, rtol: float | None = None,
        ) -> Array: ...  # fmt: skip
        def grad(self, variable: str | int) -> Callable[..., Array]: ...
        def vjp(  # type: ignore[override]
            self, *args: Any, cotangent: Any, wrt: Sequence[str | int] | str | int | None = None, output: Any = None,
            backend: str = "auto", device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
            deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
            rtol: float | None = None,
        ) -> tuple[Array, ...]: ...  # fmt: skip
        def jvp(  # type: ignore[override]
            self, *args: Any, tangents: dict[str | int, Any], output: Any = None, backend: str = "auto",
            device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
            deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
            rtol: float | None = None,
        ) -> Array: ...  # fmt: skip
        def hvp(  # type: ignore[override]
            self, *args: Any, cotangent: Any, tangents: dict[str | int, Any],
            wrt: Sequence[str | int] | str | int | None = None, output: Any = None, backend: str = "auto",
            device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
            deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
            rtol: float | None = None,
        ) -> tuple[Array, ...]: ...  # fmt: skip

    def __init__(
        self,
        formula: str,
        aliases: Sequence[str],
        reduction_op: str = "Sum",
        axis: int = 0,
        dtype: Any = None,
        opt_arg: Any = None,
        formula2: str | None = None,
        cuda_type: Any = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: bool | None = False,
        use_fast_math: bool = True,
        fast: str | None = None,
        accuracy: str = "auto",
        **unknown: Any,
    ) -> None:
        if unknown:
            refuse_unknown("Genred", Genred.__init__, unknown)
        if dtype is not None or cuda_type is not None:
            warnings.warn("dtype and cuda_type are ignored: the data's dtype decides", DeprecationWarning, stacklevel=2)
        axis = checked_axis(axis)
        reduction = checked_reduction(reduction_op, opt_arg, formula2)
        options = Options.checked(reduction, sum_scheme, dtype_acc, use_double_acc, fast, accuracy)
        exprs, variables = parse_all([formula] if formula2 is None else [formula, formula2], aliases)
        self.formula, self.formula2, self.reduction_op = formula, formula2, reduction_op
        self.aliases = tuple(aliases)
        super().__init__(exprs, variables, reduction, axis, options)

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.formula,) if self.formula2 is None else (self.formula, self.formula2)

    def __repr__(self) -> str:
        count = self.program.reduction.count
        number = "" if count is None else f", opt_arg={count}"
        formula2 = "" if self.formula2 is None else f", formula2={self.formula2!r}"
        fast = "" if self.options.fast is None else f", fast={self.options.fast!r}"
        options = f"axis={self.axis}{number}{formula2}{fast}"
        return f"Genred({self.formula!r}, {list(self.aliases)!r}, {self.reduction_op!r}, {options})"

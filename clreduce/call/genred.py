"""`Genred`: a routine that is made from the text of a formula."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from clreduce.call.derivative_methods import Tangents
from clreduce.call.options import Options, refuse_unknown
from clreduce.call.routine import Routine, checked_axis
from clreduce.language.formula import parse_all
from clreduce.language.vocabulary import checked_reduction

Array = TypeVar("Array", covariant=True)
"""The array type that calls return."""


class Genred(Routine, Generic[Array]):
    """A reduction of a formula over i or j, given as text: ``out = Genred(formula, aliases, reduction_op, axis)(...)``.

    Parameters
    ----------
    formula : str
        The formula, for instance ``"Exp(-SqDist(x, y)) * b"``: a Python-like expression of operations and aliases.
    aliases : list of str
        The arguments in order: ``"x = Vi(3)"`` (one vector of length 3 per i), ``"y = Vj(3)"`` (per j), ``"p = Pm(1)"``
        (one vector for all pairs).
    reduction_op : str, optional
        ``Sum``, ``Mean``, ``Var``, ``Prod``; ``Min``, ``ArgMin``, ``Min_ArgMin`` and the corresponding names with
        ``Max``; ``KMin``, ``ArgKMin``, ``KMin_ArgKMin``, ``SumKMin`` and the corresponding names with ``KMax``, which
        take ``opt_arg``; ``Count``, ``Any``, ``All``; ``LogSumExp``, ``Max_SumShiftExp``; and, with ``formula2``,
        ``LogSumExpWeight``, ``SumSoftMaxWeight`` (or ``SoftMax``), ``Max_SumShiftExpWeight``.
    axis : int, optional
        The index that is reduced: 1 for j (the result has a row per i), 0 for i (the result has a row per j).
    opt_arg : int, optional
        The number K, 1 or more, of reductions with ``KMin`` or ``KMax`` in their name.
    formula2 : str, optional
        A second formula, of any length; the first one then has length 1. It gives the weights of the terms of
        ``LogSumExp`` (where it may be missing), ``LogSumExpWeight`` and ``Max_SumShiftExpWeight``, the values that
        ``SumSoftMaxWeight`` averages, or those that ``SumKMin`` and ``SumKMax`` add up.
    dtype_acc : str, optional
        The precision of sums, for reductions that add up. ``"auto"`` is the precision of the computation. For float32
        arrays, ``"float64"`` computes the terms in float32 and everything after them in float64; only the result is
        rounded to float32. Other arrays take their own dtype, or float32 if they are float16.
    use_double_acc : bool, optional
        True means ``dtype_acc="float64"``.
    sum_scheme : str, optional
        ``"block_sum"`` (the default, ``"auto"``) adds up in blocks, which keeps rounding errors small. ``"direct_sum"``
        uses one running sum. ``"kahan_scheme"`` also keeps the rounding error of each addition, so that errors do not
        grow with the number of terms. A sum that is kept in float64 for float32 arrays has no blocks.
    fast : str or None, optional
        ``"dot"`` computes squared distances between vectors x_i and y_j, from 8 components on, as ``|x_i|^2 + |y_j|^2 -
        2 <x_i, y_j>``, also in derivatives. This takes fewer operations and costs digits: the error of a squared
        distance is about eps * (|x_i|^2 + |y_j|^2), however small the distance. Centre data that are far from the
        origin. Near-ties in ``ArgMin`` or ``ArgKMin`` may be resolved differently. None, the default, subtracts
        component by component.
    accuracy : str, optional
        On GPUs, float32 formulas of each pair may call functions of the hardware, where a trial on the device has shown
        that they stay within stated bounds: 2^x for exponentials, roots and quotients (`explain` lists them). The error
        of such an exponential e^x is up to 2 ulp and ``|x| * 6e-8``. In float64, e^x of pairs reads a table in local
        memory there, with an error of 1.1 ulp and ``|x| * 1.5e-17``. ``"full"`` keeps the functions of clreduce, whose
        errors are a few ulp everywhere. On CPUs there is no difference.
    dtype, cuda_type, enable_chunks, rec_multVar_highdim, use_fast_math
        Accepted for compatibility. The first two are deprecated, because the data's dtype decides. The others switch
        optimisations of another engine and do not affect results.

    Raises
    ------
    FormulaError
        The formula or an alias cannot be read; the message points at the place.
    ShapeError
        Lengths inside the formula do not fit.
    OptionError
        There is no option of that name; the message names the nearest one.

    See Also
    --------
    LazyTensor : Records a formula from an expression.
    KernelSolve : Solves linear systems with such a sum as their operator.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import Genred
    >>> gaussian_sum = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "Sum", axis=1)
    >>> x, y, b = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    >>> gaussian_sum(x, y, b).round(3)
    array([[1.736],
           [2.368]])
    """

    if TYPE_CHECKING:  # reductions with two results give a pair; type checkers refuse unknown options

        def __call__(  # type: ignore[override]
            self, *args: object, backend: str = "auto", device_id: int = -1, ranges: object = None, out: object = None,
            max_memory: int | str | None = None, deterministic: bool | None = None, prune: bool | str = "auto",
            atol: float | None = None, rtol: float | None = None,
        ) -> Array: ...  # fmt: skip
        def grad(self, variable: str | int) -> Callable[..., Array]: ...
        def vjp(  # type: ignore[override]
            self, *args: object, cotangent: object, wrt: Sequence[str | int] | str | int | None = None,
            output: object = None, backend: str = "auto", device_id: int = -1, ranges: object = None,
            max_memory: int | str | None = None, deterministic: bool | None = None, prune: bool | str = "auto",
            atol: float | None = None, rtol: float | None = None,
        ) -> tuple[Array, ...]: ...  # fmt: skip
        def jvp(  # type: ignore[override]
            self, *args: object, tangents: Tangents, output: object = None, backend: str = "auto",
            device_id: int = -1, ranges: object = None, max_memory: int | str | None = None,
            deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
            rtol: float | None = None,
        ) -> Array: ...  # fmt: skip
        def hvp(  # type: ignore[override]
            self, *args: object, cotangent: object, tangents: Tangents,
            wrt: Sequence[str | int] | str | int | None = None, output: object = None, backend: str = "auto",
            device_id: int = -1, ranges: object = None, max_memory: int | str | None = None,
            deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
            rtol: float | None = None,
        ) -> tuple[Array, ...]: ...  # fmt: skip

    def __init__(
        self,
        formula: str,
        aliases: Sequence[str],
        reduction_op: str = "Sum",
        axis: int = 0,
        dtype: object = None,
        opt_arg: object = None,
        formula2: str | None = None,
        cuda_type: object = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: bool | None = False,
        use_fast_math: bool = True,
        fast: str | None = None,
        accuracy: str = "auto",
        **unknown: object,
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
    def _texts(self) -> tuple[str, ...]:
        """The formulas as the user wrote them."""
        return (self.formula,) if self.formula2 is None else (self.formula, self.formula2)

    def __repr__(self) -> str:
        count = self.program.reduction.count
        number = "" if count is None else f", opt_arg={count}"
        formula2 = "" if self.formula2 is None else f", formula2={self.formula2!r}"
        fast = "" if self.options.fast is None else f", fast={self.options.fast!r}"
        options = f"axis={self.axis}{number}{formula2}{fast}"
        return f"Genred({self.formula!r}, {list(self.aliases)!r}, {self.reduction_op!r}, {options})"

"""`KernelSolve`: the solution of (alpha + K) a = b for a formula in text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

from clreduce.call.arguments import describe
from clreduce.call.derivative_methods import Tangents
from clreduce.call.options import Options, refuse_unknown
from clreduce.call.routine import checked_axis
from clreduce.domain import Domain
from clreduce.errors import FormulaError
from clreduce.language.formula import Variable, parse_all
from clreduce.language.vocabulary import checked_reduction
from clreduce.solve.solver import Alpha, Solver
from clreduce.typing import AnyArray

if TYPE_CHECKING:
    from clreduce.solve.iteration import SolveInfo

Array = TypeVar("Array", bound=AnyArray)
"""The array type that calls return."""

_VARIABLE = re.compile(r"\s*Var\s*\(\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d)\s*\)\s*\Z")


class KernelSolve(Solver, Generic[Array]):
    """Solves (alpha + K) a = b by conjugate gradients: ``a = KernelSolve(formula, aliases, "b", axis=1)(x, x, b)``.

    K is never stored. It is symmetric and positive definite, or the product of such a matrix and factors of i or j;
    other values of ``solver`` in a call are for other matrices. Each component of b, and each index of a batch, is a
    system of its own with its own steps, unless the formula mixes components; all systems share the products. The
    vectors of the iteration are kept in float64 by the host; a device with its own memory gets one and returns one per
    product.

    Parameters
    ----------
    formula : str
        The formula whose sum is the product K a, for instance ``"Exp(-SqDist(x, y)) * b"``; linear in the unknown.
    aliases : list of str
        The arguments in order, as in `Genred`.
    varinvalias : str
        The alias of the unknown, or ``"Var(position, dim, category)"``. It has the category of the reduced axis.
    axis : int, optional
        The index that is reduced: 1 for j, 0 for i.
    sum_scheme, fast, accuracy, dtype, cuda_type, opt_arg, dtype_acc, use_double_acc, enable_chunks, rec_multVar_highdim
        As in `Genred`.
    use_fast_math
        As in `Genred`.

    Raises
    ------
    FormulaError
        The formula or an alias cannot be read, or the formula is not linear in the unknown.
    ShapeError
        The formula and the unknown differ in length.
    OptionError
        There is no option of that name; the message names the nearest one.

    Examples
    --------
    >>> import numpy as np
    >>> from clreduce.numpy import KernelSolve
    >>> x, b = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [0.0], [2.0]])
    >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
    >>> a = solve(x, x, b, alpha=0.1, eps=1e-10)
    >>> bool(np.allclose(np.exp(-((x - x.T) ** 2)) @ a + 0.1 * a, b))
    True
    """

    if TYPE_CHECKING:

        @overload
        def __call__(
            self, *args: object, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6,
            ranges: Sequence[AnyArray] | None = None, x0: AnyArray | None = None, info: Literal[True],
            **options: object,
        ) -> tuple[Array, SolveInfo]: ...  # fmt: skip
        @overload
        def __call__(
            self, *args: object, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6,
            ranges: Sequence[AnyArray] | None = None, x0: AnyArray | None = None, info: Literal[False] = False,
            **options: object,
        ) -> Array: ...  # fmt: skip
        @overload
        def __call__(
            self, *args: object, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6,
            ranges: Sequence[AnyArray] | None = None, x0: AnyArray | None = None, info: bool = False,
            **options: object,
        ) -> Array | tuple[Array, SolveInfo]: ...  # fmt: skip
        def __call__(
            self, *args: object, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6,
            ranges: Sequence[AnyArray] | None = None, x0: AnyArray | None = None, info: bool = False,
            **options: object,
        ) -> Array | tuple[Array, SolveInfo]: ...  # fmt: skip
        def grad(self, variable: str | int) -> Callable[..., Array]: ...
        def jvp(
            self, *args: object, tangents: Tangents, output: AnyArray | None = None, backend: str = "auto",
            device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6, ranges: Sequence[AnyArray] | None = None,
            **options: object,
        ) -> Array: ...  # fmt: skip

    def __init__(
        self,
        formula: str,
        aliases: Sequence[str],
        varinvalias: str,
        axis: int = 0,
        dtype: object = None,
        opt_arg: object = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: bool | None = None,
        use_fast_math: bool = True,
        fast: str | None = None,
        accuracy: str = "auto",
        cuda_type: object = None,
        **unknown: object,
    ) -> None:
        if unknown:
            refuse_unknown("KernelSolve", KernelSolve.__init__, unknown)
        for name, value in (("dtype", dtype), ("cuda_type", cuda_type)):
            if value is not None:
                warnings.warn(f"{name} is ignored: the data's dtype decides", DeprecationWarning, stacklevel=2)
        axis = checked_axis(axis)
        reduction = checked_reduction("Sum", opt_arg, None)
        options = Options.checked(reduction, sum_scheme, dtype_acc, use_double_acc, fast, accuracy)
        exprs, variables = parse_all([formula], aliases)
        self.formula, self.aliases, self.varinvalias = formula, tuple(aliases), varinvalias
        super().__init__(exprs, variables, reduction, axis, options, _position_of(varinvalias, variables))

    @property
    def _texts(self) -> tuple[str, ...]:
        """The formula as the user wrote it."""
        return (self.formula,)

    def __repr__(self) -> str:
        fast = "" if self.options.fast is None else f", fast={self.options.fast!r}"
        return f"KernelSolve({self.formula!r}, {list(self.aliases)!r}, {self.varinvalias!r}, axis={self.axis}{fast})"


def _position_of(name: object, known: Sequence[Variable]) -> int:
    """The position of the variable that an alias or a text ``Var(position, dim, category)`` names."""
    written = _VARIABLE.match(name) if isinstance(name, str) else None
    for variable in known:
        category = (Domain.I, Domain.J, Domain.P).index(variable.domain)
        if variable.name == name and name is not None:
            return variable.position
        if written is not None and tuple(map(int, written.groups())) == (variable.position, variable.dim, category):
            return variable.position
    raise FormulaError(
        f"varinvalias must be the alias of the unknown, or its Var(position, dim, category); got {name!r}. The "
        f"variables are {', '.join(map(describe, known))}"
    )

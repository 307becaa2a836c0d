"""Linear systems of a `LazyTensor`: ``K.solve(b)``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, overload

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, substitute
from clreduce.ir.op import variable
from clreduce.lazy.base import Array, Recorded
from clreduce.lazy.evaluating import MAKE_OPTIONS
from clreduce.lazy.leaves import DOMAINS, Leaf, with_array
from clreduce.lazy.lists import ListReductions
from clreduce.ops.indices import as_real
from clreduce.solve.solver import Solver

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from clreduce.lazy.types import SolutionOptions, SystemOptions, Value
    from clreduce.solve.iteration import SolveInfo

_UNKNOWN = ("unknown",)
"""The name of the variable that is solved for."""


class PendingSolve(Generic[Array]):
    """A linear system that waits for the data of its symbolic variables: ``s(*arrays)`` solves it."""

    def __init__(
        self,
        tensor: SolveMethods[Array],
        expr: Expr,
        leaves: dict[Expr, Leaf],
        axis: int,
        options: SolutionOptions,
        flat: bool,
    ) -> None:
        self.tensor, self._expr, self._leaves, self.axis, self._options = tensor, expr, leaves, axis, options
        self._flat = flat

    @overload
    def __call__(
        self, *args: Value, info: Literal[True], **options: Unpack[SystemOptions]
    ) -> tuple[Array, SolveInfo]: ...
    @overload
    def __call__(self, *args: Value, **options: Unpack[SolutionOptions]) -> Array: ...
    def __call__(self, *args: Value, **options: Unpack[SolutionOptions]) -> Array | tuple[Array, SolveInfo]:
        """The solution for these data.

        Parameters
        ----------
        *args : array
            One array for each symbolic variable, in the order of their positions.
        **options
            Options of a call of `KernelSolve`, which take precedence over those given to ``solve``.

        Returns
        -------
        array
            The solution.
        """
        solution = self.tensor._solved(self._expr, self._leaves, self.axis, self._options | options, args)
        return _without_axis(solution) if self._flat else solution

    @property
    def callfun(self) -> Solver:
        """The solver of the system, which takes all of its arrays: that of the right-hand side, then the others."""
        return self.tensor._solver(self._expr, self._leaves, self.axis, self._options)

    def __repr__(self) -> str:
        return f"{self.tensor!r}\nsolve, axis={self.axis}; call it with the data"


class SolveMethods(ListReductions[Array]):
    """Methods that solve systems whose matrix is a `LazyTensor`."""

    solver: ClassVar[type[Solver]]
    """The class that solves systems; set by the subclass that users see."""
    __slots__ = ()

    @overload
    def solve(
        self, other: Value, var: Recorded[Array] | None = ..., call: Literal[True] = ..., *, info: Literal[True],
        **options: Unpack[SystemOptions],
    ) -> tuple[Array, SolveInfo]: ...  # fmt: skip
    @overload
    def solve(
        self, other: Value, var: Recorded[Array] | None = ..., *, call: Literal[False],
        **options: Unpack[SolutionOptions],
    ) -> PendingSolve[Array]: ...  # fmt: skip
    @overload
    def solve(
        self, other: Value, var: Recorded[Array] | None = ..., call: bool = ..., **options: Unpack[SolutionOptions]
    ) -> Array: ...  # fmt: skip
    def solve(
        self, other: Value, var: Recorded[Array] | None = None, call: bool = True, **options: Unpack[SolutionOptions]
    ) -> Array | tuple[Array, SolveInfo] | PendingSolve[Array]:  # fmt: skip
        """The solution a of the linear system ``(alpha + K) a = other``, without storing K.

        Parameters
        ----------
        other : array or LazyTensor
            The right-hand side, an array of shape (.., M, E) or (M,); or ``Vi(b)`` or ``Vj(b)``, and then the sum is
            over the other index.
        var : LazyTensor, optional
            The symbolic variable that stands for a in this tensor, which is linear in it: ``Vj(0, E)``. Without it this
            tensor is the kernel, symmetric and positive definite, and K a is the sum of ``self * a``.
        call : bool, optional
            With False, or if variables are symbolic, a `PendingSolve` waits for their data.
        **options
            alpha, eps, x0, info, maxiter, solver, preconditioner, callback, progress, backend, device_id and ranges as
            in a call of `KernelSolve`, sum_scheme and fast as in `KernelSolve`. Unless they are given, ``alpha`` is
            1e-10 and ``eps`` 1e-6.

        Returns
        -------
        array
            The solution, of the shape of ``other``; with ``info=True`` a pair of it and a `SolveInfo`.

        Raises
        ------
        ShapeError
            The system is not square, or the numbers are complex.
        NotConverged
            The iteration did not reach the tolerance, for solvers that must.

        Warns
        -----
        ConvergenceWarning
            The iteration stopped before it reached the tolerance.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> x = np.array([[0.0], [1.0], [3.0]])
        >>> K = (-Vi(x).sqdist(Vj(x))).exp()
        >>> a = K.solve(np.ones(3), alpha=0.1)
        >>> bool(np.allclose(0.1 * a + K @ a, 1, atol=1e-4))
        True
        """
        if self.is_complex:
            raise ShapeError("complex systems cannot be solved: solve for the real and imaginary parts")
        array = self._right_array(other)
        flat = not isinstance(array, Recorded) and array.ndim == 1
        right, data = self._right_hand_side(array[:, None] if flat else array)
        axis = 1 if right.domain == Domain.I else 0
        size = None if data.array is None else data.array.shape[-2]
        if {self.ni, self.nj, size} - {None} != {size or self.ni or self.nj} - {None}:
            raise ShapeError(
                "solve needs a square tensor, and a right-hand side with as many rows; this tensor has shape "
                f"{self.shape}, and the right-hand side has {size} rows"
            )
        name = right.params[0] if data.array is None else _UNKNOWN
        unknown = variable(name, right.dim, DOMAINS[axis])
        expr = self.expr if self.expr.kind == "real" else as_real(self.expr)
        leaves = dict(self._leaves)
        if var is None:
            if expr.dim not in (1, right.dim):
                raise ShapeError(
                    f"K.solve(b): K needs one number for each pair, or as many as b has columns; K has shape "
                    f"{self._shape} and b {right.dim} columns"
                )
            expr = expr * unknown
        else:
            symbol = self._symbol(var, right, axis)
            (expr,) = substitute([expr], {symbol: unknown})
            del leaves[symbol]
        leaves = {unknown: data, **leaves}
        if not call or any(leaf.array is None for leaf in leaves.values()):
            return PendingSolve(self, expr, leaves, axis, options, flat)
        solution = self._solved(expr, leaves, axis, options, ())
        return _without_axis(solution) if flat else solution

    def _right_array(self, other: Any) -> Any:
        """The right-hand side as an array of this library, or as the tensor that it is."""
        array: Any = other if isinstance(other, Recorded) else self.library.as_array(other)
        if array is not None and (isinstance(array, Recorded) or array.ndim > 0):
            return array
        told = "a number" if array is not None else f"{type(other).__name__}{self.library.advice(other)}"
        raise ShapeError(
            f"the right-hand side must be a {self.library.name} array of shape (.., M, E) or (M,), or Vi(b) or Vj(b); "
            f"got {told}"
        )

    def _right_hand_side(self, other: Any) -> tuple[Expr, Leaf]:
        """The variable of i or j that ``other`` is, and its data."""
        if isinstance(other, Recorded):
            right = self._from(other)
            if right.expr.op.name != "variable" or right.expr.domain == Domain.P or right.is_complex:
                raise ShapeError("the right-hand side must be an array, or Vi(b) or Vj(b) of an array of real numbers")
            return right.expr, right._leaves[right.expr]
        return with_array(other, other, tuple(other.shape[:-2]), other.shape[-1], Domain.I)

    def _symbol(self, var: Any, right: Expr, axis: int) -> Expr:
        """The leaf of this tensor that ``var`` stands for."""
        symbol = var.expr if isinstance(var, Recorded) else None
        leaf = self._leaves.get(symbol) if symbol is not None else None
        if symbol is None or leaf is None or leaf.array is not None:
            raise ShapeError(
                "var must be a symbolic variable of this tensor, such as Vj(0, 1) with a position and a length"
            )
        if symbol.domain != DOMAINS[axis] or symbol.dim != right.dim:
            raise ShapeError(
                f"for this right-hand side, var must be V{'ij'[axis]} of length {right.dim}; got "
                f"V{'ijp'[DOMAINS.index(symbol.domain)]} of length {symbol.dim}"
            )
        return symbol

    def _solver(self, expr: Expr, leaves: dict[Expr, Leaf], axis: int, options: SolutionOptions) -> Solver:
        made = tuple((key, value) for key, value in options.items() if key in MAKE_OPTIONS)
        return self.solver._of((expr,), tuple(leaves), "Sum", axis, None, made)

    def _solved(
        self, expr: Expr, leaves: dict[Expr, Leaf], axis: int, options: SolutionOptions, fed: tuple[Any, ...]
    ) -> Any:
        called: dict[str, Any] = {key: value for key, value in options.items() if key not in MAKE_OPTIONS}
        if self.ranges is not None:
            called.setdefault("ranges", self.ranges)
        if self.backend is not None:
            called.setdefault("backend", self.backend)
        solver = self._solver(expr, leaves, axis, options)
        symbols = [leaf.params[0][1] for leaf, data in leaves.items() if data.array is None]
        if len(fed) != len(symbols) or sorted(symbols) != list(range(len(symbols))):
            raise ShapeError(
                f"symbolic variables need positions 0, 1, 2 ... and one array each; got positions {sorted(symbols)} "
                f"and {len(fed)} arrays"
            )
        arrays = [fed[leaf.params[0][1]] if data.array is None else data.array for leaf, data in leaves.items()]
        return solver(*arrays, **called)


def _without_axis(solution: Any) -> Any:
    """A solution without its last axis; with ``info``, the pair of it and the `SolveInfo`."""
    return (solution[0][..., 0], *solution[1:]) if isinstance(solution, tuple) else solution[..., 0]

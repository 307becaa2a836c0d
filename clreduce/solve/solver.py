"""`Solver`: a routine whose call solves (alpha + K) a = b, and gives the derivatives of the solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from clreduce.call.arguments import Arguments, check_beside, describe, without_last_axis
from clreduce.call.derivative_methods import Tangents
from clreduce.call.executor import Executor
from clreduce.call.options import Options
from clreduce.call.routine import Routine
from clreduce.domain import Domain
from clreduce.errors import DtypeError, FormulaError, ShapeError
from clreduce.ir.expr import Expr
from clreduce.language.formula import Variable
from clreduce.language.vocabulary import check_linear
from clreduce.reductions.reduction import Reduction
from clreduce.runtime.resident import first_resident
from clreduce.solve.derivative import SystemDerivative, may_differ_from_transpose
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.options import SolveOptions
from clreduce.solve.resident import ResidentSystem
from clreduce.solve.system import System
from clreduce.typing import AnyArray, Array
from clreduce.warning import warn

_RIDGE = "alpha"
Alpha: TypeAlias = "float | AnyArray"
"""The ridge: a number, or an array of one number."""


class Solver(Routine):
    """Solves (alpha + K) a = b, where K a is a sum over i or j of a formula that is linear in the variable of a.

    A call takes the arguments of the product K a, with b in the place of a.
    """

    def __init__(
        self,
        values: Sequence[Expr],
        variables: Sequence[Variable],
        reduction: Reduction,
        axis: int,
        options: Options,
        unknown: int = 0,
    ) -> None:
        """``unknown`` is the position of the variable that is solved for."""
        super().__init__(values, variables, reduction, axis, options)
        self.unknown = unknown
        variable, expr = self.variables[unknown], values[0]
        reduced = Domain.J if axis == 1 else Domain.I
        if variable.domain != reduced:
            raise FormulaError(
                f"the unknown must be declared as {'Vj' if axis == 1 else 'Vi'}, because axis={axis} reduces that "
                f"index; it is {describe(variable)}"
            )
        if self._slot_of(unknown) is None:
            raise FormulaError(f"the formula must depend on the unknown, {describe(variable)}, and be linear in it")
        if expr.dim != variable.dim:
            raise ShapeError(
                f"the formula must have the length of the unknown, {describe(variable)}; it has length {expr.dim}. A "
                "system needs as many equations as unknowns"
            )
        check_linear(expr, variable.expr, variable.name or "the unknown")

    def __call__(
        self, *args: object, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6,
        ranges: Sequence[AnyArray] | None = None, x0: AnyArray | None = None, info: bool = False,
        **options: object,
    ) -> AnyArray | tuple[AnyArray, SolveInfo | None]:  # fmt: skip
        """The solution a, of the shape of b.

        Parameters
        ----------
        *args : array
            The arrays in the order of the aliases, with b in the place of the unknown: of any strides, with batch
            dimensions that broadcast. M and N are equal.
        backend, device_id, ranges
            As in a call of `Genred`.
        alpha : float or array, optional
            The ridge: a number, or an array of one number.
        eps : float, optional
            A component of b (of each index of a batch) is solved once ``|b - (alpha + K) a| <= eps * |b|``; components
            whose equations are coupled count as one. For b of unit variance this is ``residual**2 <= size * eps**2``;
            zero columns have the solution zero.
        x0 : array, optional
            The start of the iteration, of the shape of b; zero by default.
        info : bool, optional
            Whether to return ``(a, SolveInfo)``.
        **options
            The options below, under Notes.

        Returns
        -------
        array or tuple
            The solution, of shape (.., N, D), or (.., N) if b came without a last axis of length 1. With ``info=True``
            a pair of it and a `SolveInfo`.

        Raises
        ------
        NotConverged
            Residuals no longer fall, far from ``eps``, and ``maxiter`` is None. Attributes: ``residual``,
            ``iterations`` and the ``solution`` so far.
        SolveError
            K is not symmetric or alpha + K not positive definite, and the solver needs that; or a value is nan.
        OptionError
            There is no option of that name; the message names the nearest one.

        Warns
        -----
        ConvergenceWarning
            A residual is larger than ``eps`` allows, after ``maxiter`` products or because rounding allows no less.
            Attributes: ``residual`` and ``iterations``.

        Notes
        -----
        The further options are

        - ``maxiter``: the most products with K; None for ten for each unknown. With None, the iteration ends earlier if
          residuals no longer fall (after 1000, 2000, 4000 .. products, if they have not halved since half of that).
        - ``solver``: ``"auto"`` uses conjugate gradients, for K symmetric and alpha + K positive definite, or for
          products of such a K and positive factors of i or j that are written in the formula, as in
          ``w_i * Exp(-SqDist(x, y)) * b``. ``"cg"`` does the same without looking for factors. ``"minres"`` is for
          symmetric K, even if alpha + K is not definite; ``"gmres"`` is for any K. A function is called like the
          solvers of ``scipy.sparse.linalg``: ``solver(A, b)``, with the arguments out of ``x0, rtol, atol, maxiter, M``
          that it takes, returns ``x`` or ``(x, info)``. ``A`` has ``shape``, ``dtype``, ``matvec``, ``rmatvec`` and
          ``@``. All systems together are one system for it, with right-hand sides of norm 1.
        - ``preconditioner``: None; ``"diagonal"``; ``("nystrom", rank)`` or `nystrom`; or a function that maps
          residuals of shape (batch.., n, D), in float64, to approximate solutions. The map must be symmetric and
          positive definite.
        - ``callback``: a function that is called as ``callback(iteration, residuals)`` after each product.
          ``residuals`` is a new array of shape (batch.., D), relative to b. A function as ``solver`` excludes it.
        - ``progress``: whether to show progress on stderr. None follows `set_progress`: by default terminals show it
          after one second.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import KernelSolve
        >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
        >>> x, b = np.array([[0.0], [1.0], [3.0]]), np.array([1.0, 0.0, 2.0])
        >>> a, info = solve(x, x, b, alpha=0.1, info=True)
        >>> a.shape, info.converged
        ((3,), True)
        """
        chosen = SolveOptions.checked(eps, **options)
        executor = self.runner.executor(backend, device_id, None, None)
        arguments = self._arguments(args, ranges)
        solution, how = self._solution(arguments, executor, alpha, chosen, x0)
        solution = self.library.finished(solution, arguments.given_dtype, arguments.like)
        result = self._like_right(solution, arguments, args)
        return (result, how) if info else result

    def _solution(
        self, arguments: Arguments, executor: Executor, alpha: Any, chosen: SolveOptions, x0: Any
    ) -> tuple[Any, SolveInfo | None]:
        """The solution, of shape (batch.., n, D), and the outcome of the solve; None for that if it comes later."""
        system = self.system(self._where_solved(arguments, chosen), executor, self._ridge(alpha))
        start = None if x0 is None else self._checked_vector(system, x0, "x0")
        solution, how = chosen.run(system, self.right_hand_side(system), start)
        return self.library.between(solution, arguments.like), how

    def vjp(
        self, *args: object, cotangent: AnyArray, wrt: Sequence[str | int] | str | int | None = None,
        output: AnyArray | None = None, backend: str = "auto", device_id: int = -1, alpha: Alpha = 1e-10,
        eps: float = 1e-6, ranges: Sequence[AnyArray] | None = None, **options: object,
    ) -> tuple[AnyArray | float, ...]:  # fmt: skip
        """Reverse mode: (d a / d argument)^T cotangent, for each argument of ``wrt`` in order.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        cotangent : array
            Of the shape of the solution.
        wrt : list of str or int, str, int or None, optional
            Aliases or positions of arguments, or ``"alpha"`` unless an alias has that name. None means all arguments,
            without alpha.
        output : array, optional
            The solution, if you have it; it saves a solve.
        backend, device_id, alpha, eps, ranges, **options
            As in the call.

        Returns
        -------
        tuple of arrays
            One for each argument of ``wrt``, in the shape of the argument; a float for alpha. The gradient in b takes
            one more solve with the same operator.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import KernelSolve
        >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
        >>> x, b = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [0.0], [2.0]])
        >>> in_b, in_alpha = solve.vjp(x, x, b, cotangent=np.ones((3, 1)), wrt=["b", "alpha"], alpha=0.1)
        >>> in_b.shape, type(in_alpha)
        ((3, 1), <class 'float'>)
        """
        derivative = self._derivative_of_solution(args, backend, device_id, alpha, ranges, eps, options)
        names = self._with_ridge(wrt)
        positions = self._positions([name for name in names if name is not None])
        adjoint = derivative.adjoint(self._checked_vector(derivative.system, cotangent, "cotangent"))
        needs_solution = positions != [self.unknown] or None in names
        solution = self._known(derivative, output) if needs_solution else adjoint
        in_alpha = -float((adjoint * solution).sum())
        return self._by_name(names, derivative.gradients(solution, adjoint, positions), in_alpha, derivative, args)

    def jvp(
        self, *args: object, tangents: Tangents, output: AnyArray | None = None, backend: str = "auto",
        device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6, ranges: Sequence[AnyArray] | None = None,
        **options: object,
    ) -> AnyArray:  # fmt: skip
        """Forward mode: the directional derivative of the solution.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        tangents : dict
            Maps aliases, positions or ``"alpha"`` to arrays of the arguments' shapes; missing ones are zero.
        output, backend, device_id, alpha, eps, ranges, **options
            As in `vjp`.

        Returns
        -------
        array
            Of the shape of the solution.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import KernelSolve
        >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
        >>> x, b = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [0.0], [2.0]])
        >>> solve.jvp(x, x, b, tangents={"b": np.ones((3, 1))}, alpha=0.1).shape
        (3, 1)
        """
        derivative = self._derivative_of_solution(args, backend, device_id, alpha, ranges, eps, options)
        arguments = derivative.system.arguments
        moves, ridge = self._moves(arguments, args, tangents)
        result = derivative.tangent(self._known(derivative, output), moves, ridge)
        beside = self.library.between(result.astype(derivative.system.dtype), arguments.like)
        finished = self.library.finished(beside, arguments.given_dtype, arguments.like)
        moved: AnyArray = self._like_right(finished, arguments, args)
        return moved

    def hvp(
        self, *args: object, cotangent: AnyArray, tangents: Tangents,
        wrt: Sequence[str | int] | str | int | None = None, output: AnyArray | None = None, backend: str = "auto",
        device_id: int = -1, alpha: Alpha = 1e-10, eps: float = 1e-6, ranges: Sequence[AnyArray] | None = None,
        **options: object,
    ) -> tuple[AnyArray | float, ...]:  # fmt: skip
        """Second derivatives: the derivative of `vjp` with this ``cotangent`` along ``tangents``.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        cotangent : array
            Of the shape of the solution.
        tangents : dict
            As in `jvp`.
        wrt, output, backend, device_id, alpha, eps, ranges, **options
            As in `vjp`.

        Returns
        -------
        tuple of arrays
            One for each argument of ``wrt``, in the shape of the argument; a float for alpha.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import KernelSolve
        >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
        >>> x, b, ones = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [0.0], [2.0]]), np.ones((3, 1))
        >>> (in_x,) = solve.hvp(x, x, b, cotangent=ones, tangents={"b": ones}, wrt="x", alpha=0.1)
        >>> in_x.shape
        (3, 1)
        """
        derivative = self._derivative_of_solution(args, backend, device_id, alpha, ranges, eps, options)
        names = self._with_ridge(wrt)
        positions = self._positions([name for name in names if name is not None])
        moves, ridge = self._moves(derivative.system.arguments, args, tangents)
        solution = self._known(derivative, output)
        adjoint = derivative.adjoint(self._checked_vector(derivative.system, cotangent, "cotangent"))
        moved = derivative.tangent(solution, moves, ridge)
        moved_adjoint = derivative.tangent(adjoint, {**moves, self.unknown: None}, ridge, transposed=True)
        by_adjoint = derivative.gradients(solution, moved_adjoint, positions)
        by_arguments = derivative.moved_gradients(solution, adjoint, moved, moves, positions)
        changes = [
            change + by_arguments[at] if at in by_arguments else change
            for change, at in zip(by_adjoint, positions, strict=True)
        ]
        in_alpha = -float((moved_adjoint * solution).sum() + (adjoint * moved).sum())
        return self._by_name(names, changes, in_alpha, derivative, args)

    # -------------------------------------------------------------------------------------------------- the data

    def _derivative_of_solution(
        self, args: Sequence[Any], backend: str, device_id: int, alpha: Any, ranges: object, eps: float,
        options: Mapping[str, object],
    ) -> SystemDerivative:  # fmt: skip
        """The derivatives of the solution for these arguments of a call."""
        chosen = SolveOptions.checked(eps, **options)
        executor = self.runner.executor(backend, device_id, None, None)
        arguments = self._where_solved(self._arguments(args, ranges), chosen)
        return SystemDerivative(self, self.unknown, self.system(arguments, executor, self._ridge(alpha)), chosen)

    def system(self, arguments: Arguments, executor: Executor, ridge: float | Array) -> System:
        """The system of these arguments, solved on the host or on the device of the arguments."""
        kind = System if first_resident(arguments.arrays) is None else ResidentSystem
        return kind(self, self.unknown, arguments, executor, ridge, self._by_ranges(arguments, executor))

    def _where_solved(self, arguments: Arguments, chosen: SolveOptions) -> Arguments:
        """The arguments at the place of the solve: on their device if the iteration can run there, else on the host."""
        if first_resident(arguments.arrays) is None:
            return arguments.on_host(self.library)
        why = chosen.needs_host
        if why is None:
            return arguments
        warn(
            f"{why} works on the host: this solve copies its arrays there once, and the solution back",
            UserWarning,
        )
        return arguments.on_host(self.library)

    def _by_ranges(self, arguments: Arguments, executor: Executor) -> Callable[[Array], Array] | None:
        """Products that leave pairs out are evaluations of their own."""
        if arguments.ranges is None:
            return None
        evaluation, arrays = self._evaluation_of(arguments, executor), self._in_slots(arguments.arrays)
        slot = self._slot_of(self.unknown)
        assert slot is not None, "the formula depends on the unknown"

        def product(vector: Array) -> Array:
            return evaluation([vector if n == slot else array for n, array in enumerate(arrays)])[0]

        return product

    def _ridge(self, alpha: Any) -> float:
        value = self.library.to_host(alpha) if self.library.accepts(alpha) else alpha
        array = np.asarray(value) if isinstance(value, (int, float, np.number, np.ndarray)) else np.empty(0)
        if array.size != 1 or array.dtype.kind not in "iuf":
            raise DtypeError(f"alpha must be a real number, or an array of one; got {alpha!r}")
        ridge = float(array.reshape(()))
        if not np.isfinite(ridge):
            raise ShapeError(f"alpha must be a finite number; got {ridge}")
        return ridge

    def _checked_vector(self, system: System, vector: Any, what: str) -> Array:
        checked = self._beside(system.shape, system.dtype.name, vector, what)
        return system.vector(checked if isinstance(system, ResidentSystem) else self.library.on_host(checked))

    def _beside(self, shape: tuple[int, ...], dtype: str, vector: Any, what: str) -> Any:
        """An array with the shape of the solution; like b, it may lack the last axis of length 1."""
        if self.library.accepts(vector) and tuple(self.library.shape(vector)) == shape[:-1] and shape[-1] == 1:
            vector = vector[..., None]
        return check_beside(shape, dtype, vector, what, self.library)

    def _like_right(self, solution: Any, arguments: Arguments, args: Sequence[Any]) -> Any:
        """A solution, without its last axis if b had none."""
        short = without_last_axis(np.shape(args[self.unknown]), arguments.arrays[self.unknown].shape)
        return solution[..., 0] if short else solution

    def right_hand_side(self, system: System) -> Array:
        """The right-hand side b, with the shape of the solution, in float64."""
        return system.vector(system.arguments.arrays[self.unknown])

    def _known(self, derivative: SystemDerivative, output: Any) -> Array:
        """The solution: ``output`` if the caller has it, else the result of one more solve."""
        if output is not None:
            return self._checked_vector(derivative.system, output, "output")
        system = derivative.system
        solution: Array = system.solved(derivative.options.run(system, self.right_hand_side(system))[0])
        return solution

    def transposes(self, options: SolveOptions) -> bool:
        """Whether the transposed operator may differ from the operator, as far as formula and options show.

        Parameters
        ----------
        options : SolveOptions
            The options of the call.

        Returns
        -------
        bool
            Whether derivatives solve with the transpose.
        """
        return may_differ_from_transpose(self, self.unknown, options)

    # ----------------------------------------------------------------------------------- alpha among the arguments

    def _with_ridge(self, names: Sequence[str | int] | str | int | None) -> list[str | int | None]:
        """A list of the names and positions of arguments, with None for alpha."""
        listed: Sequence[str | int]
        listed = range(len(self.variables)) if names is None else [names] if isinstance(names, (str, int)) else names
        taken = any(known.name == _RIDGE for known in self.variables)
        return [None if name == _RIDGE and not taken else name for name in listed]

    def _by_name(
        self, names: Sequence[str | int | None], gradients: Sequence[Array], in_alpha: float,
        derivative: SystemDerivative, args: Sequence[Any],
    ) -> tuple[Any, ...]:  # fmt: skip
        """Gradients that the host has computed, as a call returns them; the one in alpha where a name is None."""
        arguments = derivative.system.arguments
        beside = [self.library.between(gradient, arguments.like) for gradient in gradients]
        positions = self._positions([name for name in names if name is not None])
        arrays = iter(self._as_given(beside, arguments, args, positions))
        return tuple(in_alpha if name is None else next(arrays) for name in names)

    def _moves(
        self, arguments: Arguments, args: Sequence[Any], tangents: Any
    ) -> tuple[dict[int, Array | None], float]:  # fmt: skip
        """The tangents of arguments by their position, and the tangent of alpha."""
        if not isinstance(tangents, dict):
            raise ShapeError(
                f"tangents must be a dict from aliases or positions to arrays; got a {type(tangents).__name__}"
            )
        names = dict(zip(tangents, self._with_ridge(list(tangents)), strict=True))
        ridge = sum(self._ridge(tangents[key]) for key, name in names.items() if name is None)
        others = {key: tangents[key] for key, name in names.items() if name is not None}
        moves = self._checked_tangents(arguments, args, others)
        if first_resident(arguments.arrays) is None:
            moves = {at: self.library.on_host(move) for at, move in moves.items()}
        return moves, ridge

"""`KernelSolve`: the solution of (alpha + K) a = b for a formula in text, and its derivatives."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from clreduce.call.arguments import Arguments, check_beside, describe, without_last_axis
from clreduce.call.backend import device_for
from clreduce.call.derivative import Derivative, summed_to
from clreduce.call.evaluation import together
from clreduce.call.options import Options
from clreduce.call.routine import Routine, checked_axis
from clreduce.domain import Domain
from clreduce.errors import DtypeError, FormulaError, ShapeError
from clreduce.ir.expr import Expr
from clreduce.language.formula import Variable, parse_all
from clreduce.language.vocabulary import check_linear, checked_reduction
from clreduce.reductions.reduction import Reduction
from clreduce.runtime.device import Device
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.metric import weights_of
from clreduce.solve.options import Solving
from clreduce.solve.system import System

Array = np.ndarray[Any, Any]
_RIDGE = "alpha"
_VARIABLE = re.compile(r"\s*Var\s*\(\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d)\s*\)\s*\Z")


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
        """``unknown``: the position of the variable that is solved for."""
        super().__init__(values, variables, reduction, axis, options)
        self.unknown = unknown
        found, expr = self.variables[unknown], values[0]
        reduced = Domain.J if axis == 1 else Domain.I
        if found.domain != reduced:
            raise FormulaError(
                f"the unknown has the category of the reduced axis, {'Vj' if axis == 1 else 'Vi'} for axis={axis}; "
                f"it is {describe(found)}"
            )
        if self.slot_of(unknown) is None:
            raise FormulaError(f"the formula does not depend on the unknown, {describe(found)}")
        if expr.dim != found.dim:
            raise ShapeError(
                f"the formula has length {expr.dim} and the unknown {describe(found)} has length {found.dim}: "
                "a system needs as many equations as unknowns"
            )
        check_linear(expr, found.expr, found.name or "the unknown")

    def __call__(
        self, *args: Any, backend: str = "auto", device_id: int = -1, alpha: Any = 1e-10, eps: float = 1e-6,
        ranges: Any = None, x0: Any = None, info: bool = False, **options: Any,
    ) -> Any:  # fmt: skip
        """The solution a, of the shape of b: (.., N, D), or (.., N) where b came without the last axis of length 1.

        Parameters
        ----------
        args:
            The arrays in the order of the aliases, b standing in the place of the unknown: of any strides, with batch
            dimensions that broadcast. M and N are equal.
        alpha:
            The ridge: a number, or an array of one number.
        eps:
            A component of b (of each index of a batch) is solved once ``|b - (alpha + K) a| <= eps * |b|``; components
            whose equations are coupled count as one. For b of unit variance this is ``residual**2 <= size * eps**2``;
            zero columns have the solution zero.
        x0:
            Where to start, of the shape of b; None: at zero.
        maxiter:
            Products with K, at most. None: ten for each unknown, and an end before that where residuals no longer fall
            (after 1000 or 2000 products, 4000 ..., if they have not halved since half of that).
        solver:
            ``"auto"``: conjugate gradients, for K symmetric and alpha + K positive definite, or products of such a K
            with positive factors of i or j that stand in the formula, as in ``w_i * Exp(-SqDist(x, y)) * b``.
            ``"cg"``: the same, and the factors are not looked at. ``"minres"``: for symmetric K, also where alpha + K
            is not definite. ``"gmres"``: for any K. Or a function that is called as those of ``scipy.sparse.linalg``:
            ``solver(A, b)``, with those of ``x0, rtol, atol, maxiter, M`` that it takes, returns ``x`` or
            ``(x, info)``; ``A`` has ``shape``, ``dtype``, ``matvec``, ``rmatvec`` and ``@``, and all systems together
            are one, with a right-hand side of norm 1 each.
        preconditioner:
            None; ``"diagonal"``; ``("nystrom", rank)`` or `nystrom`; or a function that maps residuals of shape
            (batch.., n, D), in float64, to approximate solutions, symmetric and positive definite.
        callback:
            Called as ``callback(iteration, residuals)`` after each product; ``residuals`` are relative, an array of
            its own, of shape (batch.., D). Not with a ``solver`` of your own.
        progress:
            Whether to show on stderr how far it is. None: where stderr is a terminal, after one second.
        info:
            Whether to return ``(a, SolveInfo)``.

        Warns
        -----
        ConvergenceWarning
            A residual is larger than was asked for, after the ``maxiter`` products that were allowed or because
            rounding allows no less; it has the attributes ``residual`` and ``iterations``.

        Raises
        ------
        NotConverged
            Residuals no longer fall, far from ``eps``, and ``maxiter`` is None. Attributes: ``residual``,
            ``iterations`` and the ``solution`` so far.
        SolveError
            K is not symmetric, alpha + K not positive definite (each only where the solver needs it), or there is nan.
        OptionError
            There is no option of that name; the error names the one that was meant.
        """
        chosen = Solving.checked(eps, **options)
        device = device_for(backend, device_id)
        arguments = self._arguments(args, ranges)
        found, how = self._solution(arguments, device, alpha, chosen, x0)
        result = self._like_right(self.library.finished(found, arguments.given_dtype, arguments.like), arguments, args)
        return (result, how) if info else result

    def _solution(
        self, arguments: Arguments, device: Device, alpha: Any, chosen: Solving, x0: Any
    ) -> tuple[Any, SolveInfo]:
        """The solution, of shape (batch.., n, D), and how it was found."""
        problem = self.system(arguments.on_host(self.library), device, self._ridge(alpha))
        start = None if x0 is None else self._checked_vector(problem, x0, "x0")
        found, how = chosen.run(problem, self.right_hand_side(problem), start)
        return self.library.between(found, arguments.like), how

    def vjp(
        self, *args: Any, cotangent: Any, wrt: Sequence[str | int] | str | int | None = None, output: Any = None,
        backend: str = "auto", device_id: int = -1, alpha: Any = 1e-10, eps: float = 1e-6, ranges: Any = None,
        **options: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Reverse mode: (d a / d argument)^T cotangent, for each argument of ``wrt`` in order.

        ``wrt`` names aliases, gives their positions, or is ``"alpha"`` (a float is returned) unless an alias has that
        name; None means all arguments, without alpha. The gradient in b is one more solve with the same operator;
        ``output``, the solution if it is known, spares another one. Options are those of the call.
        """
        chosen = Solving.checked(eps, **options)
        problem = self._problem(args, backend, device_id, alpha, ranges)
        names = self._with_ridge(wrt)
        positions = self._positions([name for name in names if name is not None])
        incoming = self._checked_vector(problem, cotangent, "cotangent")
        adjoint, _ = chosen.run(problem, incoming, transposed=True)
        solution = self._known(problem, output, chosen) if positions != [self.unknown] or None in names else adjoint
        gradients = iter(self._gradients(problem, solution, adjoint, positions, args))
        return tuple(-float((adjoint * solution).sum()) if name is None else next(gradients) for name in names)

    def jvp(
        self, *args: Any, tangents: dict[str | int, Any], output: Any = None, backend: str = "auto",
        device_id: int = -1, alpha: Any = 1e-10, eps: float = 1e-6, ranges: Any = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Forward mode: the directional derivative of a, for tangents by alias or position, and by ``"alpha"``."""
        chosen = Solving.checked(eps, **options)
        problem = self._problem(args, backend, device_id, alpha, ranges)
        moves, ridge = self._moves(problem, args, tangents)
        solution = self._known(problem, output, chosen)
        result = self._tangent(problem, solution, moves, ridge, chosen)
        beside = self.library.between(result, problem.arguments.like)
        finished = self.library.finished(beside, problem.arguments.given_dtype, problem.arguments.like)
        return self._like_right(finished, problem.arguments, args)

    def hvp(
        self, *args: Any, cotangent: Any, tangents: dict[str | int, Any],
        wrt: Sequence[str | int] | str | int | None = None, output: Any = None, backend: str = "auto",
        device_id: int = -1, alpha: Any = 1e-10, eps: float = 1e-6, ranges: Any = None, **options: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Second derivatives: how `vjp` with this ``cotangent`` changes when arguments move along ``tangents``."""
        chosen = Solving.checked(eps, **options)
        problem = self._problem(args, backend, device_id, alpha, ranges)
        names = self._with_ridge(wrt)
        positions = self._positions([name for name in names if name is not None])
        moves, ridge = self._moves(problem, args, tangents)
        solution = self._known(problem, output, chosen)
        incoming = self._checked_vector(problem, cotangent, "cotangent")
        adjoint, _ = chosen.run(problem, incoming, transposed=True)
        moved = self._tangent(problem, solution, moves, ridge, chosen)
        moved_adjoint = self._tangent(problem, adjoint, {**moves, self.unknown: None}, ridge, chosen, True)
        first = self._gradients(problem, solution, moved_adjoint, positions, args)
        fed = self._fed(problem, solution)
        along = {at: move for at, move in moves.items() if at != self.unknown and move is not None}
        along[self.unknown] = moved.astype(problem.dtype)
        others = [at for at in positions if at != self.unknown]
        pulled = {0: -adjoint.astype(problem.dtype)}
        product = self._product(problem, fed)
        second = self.by_position(
            others, fed, np.zeros_like, lambda slots: product.hvp(pulled, self._by_slot(along), slots)
        )
        added = dict(zip(others, self._host_gradients(second, problem.arguments, args, others), strict=True))
        parts = iter([one + added[at] if at in added else one for one, at in zip(first, positions, strict=True)])
        change = -float((moved_adjoint * solution).sum() + (adjoint * moved).sum())
        return tuple(change if name is None else next(parts) for name in names)

    # -------------------------------------------------------------------------------------------------- the data

    def _problem(self, args: Sequence[Any], backend: str, device_id: int, alpha: Any, ranges: Any) -> System:
        device = device_for(backend, device_id)
        arguments = self._arguments(args, ranges).on_host(self.library)
        return self.system(arguments, device, self._ridge(alpha))

    def system(self, arguments: Arguments, device: Device, ridge: float | Array) -> System:
        """The system of these arguments, which are on the host."""
        return System(self, self.unknown, arguments, device, ridge, self._by_ranges(arguments, device))

    def _by_ranges(self, arguments: Arguments, device: Device) -> Callable[[Array], Array] | None:
        """Products that leave pairs out are evaluations of their own."""
        if arguments.ranges is None:
            return None
        evaluation, arrays = self.evaluation(arguments, device), self.feeds(arguments.arrays)
        slot = self.slot_of(self.unknown)
        assert slot is not None, "the formula depends on the unknown"

        def product(vector: Array) -> Array:
            return evaluation([vector if n == slot else array for n, array in enumerate(arrays)])[0]

        return product

    def _ridge(self, alpha: Any) -> float:
        value = self.library.to_host(alpha) if self.library.accepts(alpha) else alpha
        array = np.asarray(value) if isinstance(value, (int, float, np.number, np.ndarray)) else np.empty(0)
        if array.size != 1 or array.dtype.kind not in "iuf":
            raise DtypeError(f"alpha is a number, or an array of one number; got {alpha!r}")
        ridge = float(array.reshape(()))
        if not np.isfinite(ridge):
            raise ShapeError(f"alpha is a finite number; got {ridge}")
        return ridge

    def _checked_vector(self, problem: System, given: Any, what: str) -> Array:
        found = self._beside(problem.shape, problem.dtype.name, given, what)
        return self.library.on_host(found).astype(np.float64)

    def _beside(self, shape: tuple[int, ...], dtype: str, given: Any, what: str) -> Any:
        """An array of the shape of the solution, which may come without its last axis, as b."""
        if self.library.accepts(given) and tuple(self.library.shape(given)) == shape[:-1] and shape[-1] == 1:
            given = given[..., None]
        return check_beside(shape, dtype, given, what, self.library)

    def _like_right(self, found: Any, arguments: Arguments, args: Sequence[Any]) -> Any:
        """A solution without its last axis if b came without."""
        short = without_last_axis(np.shape(args[self.unknown]), arguments.arrays[self.unknown].shape)
        return found[..., 0] if short else found

    def right_hand_side(self, problem: System) -> Array:
        given = problem.arguments.arrays[self.unknown]
        return np.broadcast_to(given, problem.shape).astype(np.float64)

    def _known(self, problem: System, output: Any, chosen: Solving) -> Array:
        """The solution: the one given, or that of one more solve."""
        if output is not None:
            return self._checked_vector(problem, output, "output")
        found, _ = chosen.run(problem, self.right_hand_side(problem))
        return found

    def _product(self, problem: System, arguments: Arguments) -> Derivative:
        """The derivatives of the product K a."""
        evaluation = self.evaluation(arguments, problem.device)
        return Derivative(evaluation, self.feeds(arguments.arrays), together)

    def _host_gradients(
        self, gradients: Sequence[Array], arguments: Arguments, args: Sequence[Any], positions: Sequence[int]
    ) -> tuple[Any, ...]:
        """Gradients that were computed on the host, as those of a call."""
        beside = [self.library.between(gradient, arguments.like) for gradient in gradients]
        return self._as_given(beside, arguments, args, positions)

    def _fed(self, problem: System, vector: Array) -> Arguments:
        """The arguments with a vector in the place of b."""
        arrays = list(problem.arguments.arrays)
        arrays[self.unknown] = np.ascontiguousarray(vector, problem.dtype)
        return replace(problem.arguments, arrays=tuple(arrays))

    # --------------------------------------------------------------------------------------------------- derivatives

    def _with_ridge(self, names: Sequence[str | int] | str | int | None) -> list[str | int | None]:
        """Names and positions in a list, alpha as None."""
        listed: Sequence[str | int]
        listed = range(len(self.variables)) if names is None else [names] if isinstance(names, (str, int)) else names
        taken = any(known.name == _RIDGE for known in self.variables)
        return [None if name == _RIDGE and not taken else name for name in listed]

    def _gradients(
        self, problem: System, solution: Array, adjoint: Array, positions: Sequence[int], args: Sequence[Any]
    ) -> tuple[Any, ...]:
        """Of arguments, for the solution of the system with the cotangent on its right-hand side."""
        others = [at for at in positions if at != self.unknown]
        fed, pulled = self._fed(problem, solution), {0: -adjoint.astype(problem.dtype)}
        product = self._product(problem, fed)
        gradients = self.by_position(others, fed, np.zeros_like, lambda slots: product.vjp(pulled, slots))
        found = dict(zip(others, gradients, strict=True))
        shape = problem.arguments.arrays[self.unknown].shape
        found[self.unknown] = summed_to(shape, adjoint, len(problem.batch)).astype(problem.dtype)
        return self._host_gradients([found[at] for at in positions], problem.arguments, args, positions)

    def _moves(self, problem: System, args: Sequence[Any], tangents: Any) -> tuple[dict[int, Array | None], float]:
        """Tangents by position, and that of alpha."""
        if not isinstance(tangents, dict):
            raise ShapeError(f"tangents maps aliases (or positions) to arrays; got {type(tangents).__name__}")
        names = dict(zip(tangents, self._with_ridge(list(tangents)), strict=True))
        ridge = sum(self._ridge(tangents[key]) for key, name in names.items() if name is None)
        others = {key: tangents[key] for key, name in names.items() if name is not None}
        moves = self._checked_tangents(problem.arguments, args, others)
        return {at: self.library.on_host(move) for at, move in moves.items()}, ridge

    def transposes(self, chosen: Solving) -> bool:
        """Whether the transposed operator may be another one, as far as formula and options tell."""
        if chosen.is_general:
            return True
        unknown = self.program.slots[self.slot_of(self.unknown)]  # type: ignore[index]
        return chosen.solver != "cg" and weights_of(self.program.values[0], unknown) is not None

    def _tangent(
        self, problem: System, solution: Array, moves: dict[int, Array | None], ridge: float, chosen: Solving,
        transposed: bool = False,
    ) -> Array:  # fmt: skip
        """The derivative of ``solution``: A da = db - (dK + dalpha) a; ``transposed``: of the solution for A^T."""
        own = moves.get(self.unknown)
        right = np.zeros(problem.shape) if own is None else np.broadcast_to(own, problem.shape).astype(np.float64)
        others = {at: move for at, move in moves.items() if at != self.unknown and move is not None}
        if any(self.slot_of(at) is not None for at in others):
            product, along = self._product(problem, self._fed(problem, solution)), self._by_slot(others)
            if transposed and self.transposes(chosen):  # K is linear: K^T a is its gradient, for the cotangent a
                pulled = {0: solution.astype(problem.dtype)}
                right -= product.hvp(pulled, along, [problem.slot])[problem.slot]
            else:
                right -= product.jvp(along)[0]
        right -= ridge * solution
        found, _ = chosen.run(problem, right, transposed=transposed)
        return found


class KernelSolve(Solver):
    """Solves (alpha + K) a = b by conjugate gradients: ``a = KernelSolve(formula, aliases, "b", axis=1)(x, x, b)``.

    K is symmetric and positive definite, or such a K times factors of i or j, and never stored; other ``solver``s are
    for others. Each component of b, and each index of a batch, is a system
    of its own with its own steps, unless the formula mixes components; all of them share the products. The vectors of
    the iteration are kept in float64 by the host; a device with its own memory gets one and returns one per product.

    >>> import numpy as np
    >>> from clreduce.numpy import KernelSolve
    >>> x, b = np.array([[0.0], [1.0], [3.0]]), np.array([[1.0], [0.0], [2.0]])
    >>> solve = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(1)", "y = Vj(1)", "b = Vj(1)"], "b", axis=1)
    >>> a = solve(x, x, b, alpha=0.1, eps=1e-10)
    >>> bool(np.allclose(np.exp(-((x - x.T) ** 2)) @ a + 0.1 * a, b))
    True

    Parameters
    ----------
    formula:
        The formula whose sum is the product K a, for instance ``"Exp(-SqDist(x, y)) * b"``; linear in the unknown.
    aliases:
        The arguments in order, as in `Genred`.
    varinvalias:
        The alias of the unknown, or ``"Var(position, dim, category)"``. It has the category of the reduced axis.
    axis:
        The index that is reduced: 1 for j, 0 for i.
    sum_scheme, fast, dtype, opt_arg, dtype_acc, use_double_acc, enable_chunks, rec_multVar_highdim, use_fast_math:
        As in `Genred`.

    Raises
    ------
    FormulaError
        The formula or an alias cannot be read, or the formula is not linear in the unknown.
    ShapeError
        The formula and the unknown differ in length.
    """

    def __init__(
        self,
        formula: str,
        aliases: Sequence[str],
        varinvalias: str,
        axis: int = 0,
        dtype: Any = None,
        opt_arg: Any = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: bool | None = None,
        use_fast_math: bool = True,
        fast: str | None = None,
        cuda_type: Any = None,
    ) -> None:
        for name, value in (("dtype", dtype), ("cuda_type", cuda_type)):
            if value is not None:
                warnings.warn(f"{name} is ignored: the data's dtype decides", DeprecationWarning, stacklevel=2)
        axis = checked_axis(axis)
        reduction = checked_reduction("Sum", opt_arg, None)
        options = Options.checked(reduction, sum_scheme, dtype_acc, use_double_acc, fast)
        exprs, found = parse_all([formula], aliases)
        self.formula, self.aliases, self.varinvalias = formula, tuple(aliases), varinvalias
        super().__init__(exprs, found, reduction, axis, options, _position_of(varinvalias, found))

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.formula,)

    def __repr__(self) -> str:
        fast = "" if self.options.fast is None else f", fast={self.options.fast!r}"
        return f"KernelSolve({self.formula!r}, {list(self.aliases)!r}, {self.varinvalias!r}, axis={self.axis}{fast})"


def _position_of(name: Any, known: Sequence[Variable]) -> int:
    """The position of the variable that an alias or a text ``Var(position, dim, category)`` names."""
    written = _VARIABLE.match(name) if isinstance(name, str) else None
    for one in known:
        category = (Domain.I, Domain.J, Domain.P).index(one.domain)
        if one.name == name and name is not None:
            return one.position
        if written is not None and tuple(map(int, written.groups())) == (one.position, one.dim, category):
            return one.position
    raise FormulaError(
        f"varinvalias names the unknown, an alias or Var(position, dim, category); got {name!r}, "
        f"there are {', '.join(map(describe, known))}"
    )

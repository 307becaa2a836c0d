"""Solves for array libraries that follow computations: the system is a value, which they differentiate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from clreduce.call.arguments import Arguments
from clreduce.call.derivative import Derivative
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor
from clreduce.errors import DtypeError, ShapeError
from clreduce.solve.iteration import SolveInfo
from clreduce.solve.options import SolveOptions
from clreduce.solve.solver import Solver
from clreduce.typing import AnyArray, Array

if TYPE_CHECKING:
    from typing_extensions import Self

ArrayType = TypeVar("ArrayType", bound=AnyArray)
"""The arrays of one library."""


@dataclass(frozen=True, eq=False, slots=True)
class FollowedSystem:
    """A solve without its numbers. The array library decides what ``arrays`` are."""

    solver: Solver
    arguments: Arguments
    """Sizes, dtypes and ranges, without arrays: each solve has its own arrays."""
    executor: Executor
    chosen: SolveOptions
    outcomes: list[SolveInfo]
    """The outcomes of solves, which the caller reads."""
    prepared: list[Any]
    """The preconditioner of all solves with this operator, which the first of them makes."""
    transposed: bool = False
    """Whether the operator is transposed."""
    start: Any = None
    """The start of the iteration; None for zero."""

    def computed(self, alpha: Array, arrays: Sequence[Array], start: Array | None) -> Array:
        """The solution in float64, from alpha and the arrays of a call; the right-hand side replaces the unknown."""
        ridge = alpha.astype(np.float64)
        if not np.isfinite(ridge).all():
            raise ShapeError(f"alpha must be a finite number; got {float(ridge.flat[0])}")
        arguments = replace(self.arguments, arrays=tuple(arrays))
        problem = self.solver.system(arguments, self.executor, float(ridge.reshape(())) if ridge.size == 1 else ridge)
        if start is not None:
            start = np.broadcast_to(start.astype(np.float64), problem.shape)
        problem.precondition = self.prepared[0] if self.prepared else None
        solution, how = self.chosen.run(problem, self.solver.right_hand_side(problem), start, self.transposed)
        self.outcomes.append(how)
        self.prepared[:] = [problem.precondition]
        return solution

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the solution."""
        rows, solver = self.solver._sizes_of(self.arguments)[0], self.solver
        return tuple(map(int, (*self.arguments.batch, rows, solver.variables[solver.unknown].dim)))

    def wider(self, sizes: tuple[int, ...]) -> Self:
        """This system with these dimensions in front of the batch."""
        return replace(self, arguments=replace(self.arguments, batch=(*sizes, *self.arguments.batch)), prepared=[])

    def quiet(self) -> Self:
        """This system for another right-hand side, without a report to the caller."""
        return replace(self, chosen=replace(self.chosen, callback=None), start=None, outcomes=[])

    def adjoint(self) -> Self:
        """The system of the transposed operator; this one where the operator is symmetric."""
        return replace(self, transposed=not self.transposed) if self.solver.transposes(self.chosen) else self

    def with_right(self, arrays: Sequence[ArrayType], right: ArrayType) -> list[ArrayType]:
        """The arrays, in which ``right`` replaces the unknown."""
        at, library = self.solver.unknown, self.solver.library
        array: ArrayType = library.arranged(right, self.arguments.dtype, tuple(right.shape))
        return [*arrays[:at], array, *arrays[at + 1 :]]

    @property
    def slot(self) -> int:
        """The slot of the unknown in the program of the product."""
        slot = self.solver._slot_of(self.solver.unknown)
        assert slot is not None, "the formula depends on the unknown"
        return slot

    @property
    def evaluation(self) -> Evaluation:
        """The product with the array that replaces the unknown."""
        return self.solver._evaluation_of(self.arguments, self.executor)

    def product(self, arrays: Sequence[AnyArray]) -> Derivative[Any]:
        """The derivatives of the product."""
        return Derivative(self.evaluation, self.solver._in_slots(arrays), self.solver.runner.run_all)


class FollowedSolver(Solver):
    """A solver whose solutions an array library follows if its runner says so."""

    followed: ClassVar[type[FollowedSystem]] = FollowedSystem

    def _solution(
        self, arguments: Arguments, executor: Executor, alpha: Any, chosen: SolveOptions, x0: Any
    ) -> tuple[Any, SolveInfo | None]:
        library = self.library
        ridges = [alpha] if library.accepts(alpha) else []
        starts = [x0] if library.accepts(x0) else []
        if not self.runner.tracks([*arguments.arrays, *ridges, *starts]):
            return super()._solution(arguments, executor, alpha, chosen, x0)
        if ridges and (np.prod(library.shape(alpha)) != 1 or library.dtype_name(alpha).startswith("complex")):
            raise DtypeError(
                f"alpha must be a real number, or an array of one; got an array of shape {library.shape(alpha)}"
            )
        ridge = alpha if ridges else library.between(np.array(self._ridge(alpha)), None)
        outcomes: list[SolveInfo] = []
        system = self.followed(self, replace(arguments, arrays=(), like=None), executor, chosen, outcomes, [])
        if x0 is not None:
            system = replace(system, start=self._beside(system.shape, arguments.dtype, x0, "x0"))
        solution = self._followed(system, ridge.reshape((1,) * len(system.shape)), list(arguments.arrays))
        return solution, outcomes[-1] if outcomes else None

    def _followed(self, system: FollowedSystem, alpha: Any, arrays: list[Any]) -> Any:
        """The solution, for alpha of shape (1, .., 1)."""
        raise NotImplementedError

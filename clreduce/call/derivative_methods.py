"""Derivatives of a routine: `vjp`, `grad`, `jvp` and `hvp`, and the checks of their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from clreduce.call.arguments import (
    COMPUTED,
    Arguments,
    check_beside,
    describe,
)
from clreduce.call.base import RoutineBase
from clreduce.call.derivative import Derivative
from clreduce.call.executor import Executor
from clreduce.call.options import refuse_unknown
from clreduce.call.pruning.request import Pruning
from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.typing import AnyArray, SomeArray

Tangents: TypeAlias = "Mapping[str, AnyArray | float] | Mapping[str | int, AnyArray | float]"
"""Tangents of arguments by aliases and positions; a solver also takes a number, for ``"alpha"``."""


def _by_row(array: Any, arguments: Arguments) -> Any:
    """An array of a result's shape, reshaped to (batch.., rows, D)."""
    rank = len(arguments.batch) + 1
    return array.reshape((*array.shape[:rank], prod(array.shape[rank:])))


class DerivativeMethods(RoutineBase):
    """The methods that differentiate a routine."""

    def vjp(
        self, *args: Any, cotangent: AnyArray, wrt: Sequence[str | int] | str | int | None = None, output: Any = None,
        backend: str = "auto", device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
        rtol: float | None = None, **unknown: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Reverse mode: (d result / d argument)^T cotangent, for each argument of ``wrt`` in order.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        cotangent : array
            Of the shape of the result; of the values, if the result has indices too.
        wrt : list of str or int, str, int or None, optional
            Aliases or positions of arguments; None means all.
        output : array or tuple of arrays, optional
            The result of the call, if you have it. The derivatives of ``LogSumExp``, ``Min_ArgMin`` and
            ``KMin_ArgKMin`` need it, and compute it if it is missing.
        backend, device_id, max_memory, deterministic
            As in a call.
        ranges, prune, atol, rtol
            Those of the call. The gradient in a parameter is a sum over all rows; its tolerance holds for each term of
            that sum.

        Returns
        -------
        tuple of arrays
            One for each argument of ``wrt``, in the shape of the argument.

        Raises
        ------
        NotDifferentiableError
            The reduction has no derivative.
        ShapeError
            The cotangent has another shape than the result.

        Notes
        -----
        One kernel computes the gradients in all i-variables, and a second kernel those in all j-variables.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> total = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
        >>> x, y = np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])
        >>> in_x, in_y = total.vjp(x, y, cotangent=np.ones((2, 1)))
        >>> in_x.ravel(), in_y.ravel()
        (array([7., 7.]), array([3., 3.]))
        """
        if unknown:
            refuse_unknown("vjp", DerivativeMethods.vjp, unknown)
        executor = self.runner.executor(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        positions = self._positions(wrt)
        incoming = self._checked_cotangent(arguments, cotangent)
        derivative = self._derivative(arguments, executor, self._checked_output(arguments, output), prune, atol, rtol)
        gradients = self._by_position(
            positions, arguments, self.library.zeros_like, lambda slots: derivative.vjp(incoming, slots)
        )
        return self._as_given(gradients, arguments, args, positions)

    def grad(self, variable: str | int) -> Callable[..., Any]:
        """The function ``g(*args, cotangent)`` that returns (d result / d variable)^T cotangent.

        Parameters
        ----------
        variable : str or int
            The alias of an argument, or its position.

        Returns
        -------
        callable
            It takes the options of `vjp`, as in ``g(*args, cotangent, output=result, ranges=ranges)``.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> total = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
        >>> total.grad("x")(np.array([[1.0]]), np.array([[3.0], [4.0]]), np.array([[1.0]]))
        array([[7.]])
        """
        (position,) = self._positions([variable])

        def gradient(*args: Any, **options: Any) -> Any:
            if len(args) != len(self.variables) + 1:
                needed = f"the {len(self.variables)} arrays of {self!r} and the cotangent"
                raise ShapeError(f"the gradient needs {needed}; got {len(args)} arrays")
            return self.vjp(*args[:-1], cotangent=args[-1], wrt=[position], **options)[0]

        gradient.__doc__ = f"(d result / d {describe(self.variables[position])})^T cotangent of {self!r}."
        return gradient

    def jvp(
        self, *args: Any, tangents: Tangents, output: Any = None, backend: str = "auto",
        device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
        rtol: float | None = None, **unknown: Any,
    ) -> Any:  # fmt: skip
        """Forward mode: the directional derivative of the result, in its shape.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        tangents : dict
            Maps aliases or positions to arrays of the arguments' shapes; missing ones are zero.
        output, backend, device_id, ranges, max_memory, deterministic, prune, atol, rtol
            As in `vjp`.

        Returns
        -------
        array
            The derivative of the result; of the values, if the result has indices too.

        Raises
        ------
        NotDifferentiableError
            The reduction has no derivative.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> total = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
        >>> total.jvp(np.array([[1.0]]), np.array([[3.0], [4.0]]), tangents={"x": np.array([[2.0]])})
        array([[14.]])
        """
        if unknown:
            refuse_unknown("jvp", DerivativeMethods.jvp, unknown)
        executor = self.runner.executor(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        known = self._checked_output(arguments, output)
        incoming = self._by_slot(self._checked_tangents(arguments, args, tangents))
        shape, dtype = self._result_forms(arguments)[0]
        result = self._derivative(arguments, executor, known, prune, atol, rtol).jvp(incoming)[0]
        return self.library.finished(result.reshape(shape), dtype, arguments.like)

    def hvp(
        self, *args: Any, cotangent: AnyArray, tangents: Tangents,
        wrt: Sequence[str | int] | str | int | None = None, output: Any = None, backend: str = "auto",
        device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, prune: bool | str = "auto", atol: float | None = None,
        rtol: float | None = None, **unknown: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Second derivatives: the Hessian of <cotangent, result> times ``tangents``, for each argument of ``wrt``.

        This is the derivative of `vjp` with this ``cotangent`` along ``tangents``.

        Parameters
        ----------
        *args : array
            The arrays of the call.
        cotangent : array
            Of the shape of the result.
        tangents : dict
            Maps aliases or positions to arrays of the arguments' shapes; missing ones are zero.
        wrt, output, backend, device_id, ranges, max_memory, deterministic, prune, atol, rtol
            As in `vjp`.

        Returns
        -------
        tuple of arrays
            One for each argument of ``wrt``, in the shape of the argument.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> total = Genred("Square(x - y)", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
        >>> x, y, one = np.array([[1.0]]), np.array([[3.0], [4.0]]), np.array([[1.0]])
        >>> total.hvp(x, y, cotangent=one, tangents={"x": one}, wrt="x")  # d^2 / dx^2 of two squares
        (array([[4.]]),)
        """
        if unknown:
            refuse_unknown("hvp", DerivativeMethods.hvp, unknown)
        executor = self.runner.executor(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        positions = self._positions(wrt)
        known = self._checked_output(arguments, output)
        incoming = self._checked_cotangent(arguments, cotangent)
        moves = self._by_slot(self._checked_tangents(arguments, args, tangents))
        derivative = self._derivative(arguments, executor, known, prune, atol, rtol)
        gradients = self._by_position(
            positions, arguments, self.library.zeros_like, lambda slots: derivative.hvp(incoming, moves, slots)
        )
        return self._as_given(gradients, arguments, args, positions)

    def _by_position(
        self,
        positions: Sequence[int],
        arguments: Arguments,
        zeros: Callable[[SomeArray], SomeArray],
        gradients: Callable[[list[int]], dict[int, SomeArray]],
    ) -> list[SomeArray]:
        """The gradient in each argument of ``positions``; zeros for arguments that the formula does not use.

        ``gradients`` computes gradients by slot.
        """
        slots = {at: self._slot_of(at) for at in positions}
        by_slot = gradients(sorted({slot for slot in slots.values() if slot is not None}))
        return [zeros(arguments.arrays[at]) if slots[at] is None else by_slot[slots[at]] for at in positions]  # type: ignore[index]

    def _by_slot(self, tangents: Mapping[int, Any]) -> dict[int, Any]:
        """Tangents by slot, from tangents by position. Arguments that the formula does not use have none."""
        slots = {self._slot_of(at): tangent for at, tangent in tangents.items()}
        return {slot: tangent for slot, tangent in slots.items() if slot is not None}

    def _derivative(
        self, arguments: Arguments, executor: Executor, outputs: tuple[Any, ...] | None, prune: bool | str,
        atol: float | None, rtol: float | None,
    ) -> Derivative[Any]:  # fmt: skip
        """The `Derivative` of the routine at these arguments."""
        pruning = Pruning.checked(prune, atol, rtol, self.program.reduction)
        evaluation = self._evaluation_of(arguments, executor, pruning)
        return Derivative(evaluation, self._in_slots(arguments.arrays), self.runner.run_all, outputs)

    def _checked_cotangent(self, arguments: Arguments, cotangent: Any) -> dict[int, Any]:
        """The cotangent of the first result, of shape (batch.., rows, D), under its number 0."""
        if not self.program.real_outputs:
            return {}  # the program says that it has no derivative
        shape, _ = self._result_forms(arguments)[0]
        checked = check_beside(shape, arguments.dtype, cotangent, "cotangent", self.library)
        return {0: _by_row(checked, arguments)}

    def _checked_output(self, arguments: Arguments, output: Any) -> tuple[Any, ...] | None:
        """The results that the caller passed as ``output``, checked; None if derivatives must compute them again."""
        if output is None:
            return None
        forms = self._result_forms(arguments)
        outputs = output if isinstance(output, tuple) else (output,)
        if len(outputs) != len(forms):
            raise ShapeError(f"output must be what the call returned, {len(forms)} array(s); got {len(outputs)}")
        checked = tuple(
            _by_row(check_beside(shape, COMPUTED.get(dtype, dtype), array, "output", self.library), arguments)
            for array, (shape, dtype) in zip(outputs, forms, strict=True)
        )
        # A result that was rounded to float16 or bfloat16 is not accurate enough to serve as a residual.
        return checked if arguments.given_dtype == arguments.dtype else None

    def _checked_tangents(self, arguments: Arguments, args: Sequence[Any], tangents: Any) -> dict[int, Any]:
        """The checked tangents by position, each in its argument's shape."""
        if not isinstance(tangents, Mapping):
            raise ShapeError(
                f"tangents must be a dict from aliases (or positions) to arrays, such as {{'x': dx}}; got "
                f"{type(tangents).__name__}"
            )
        positions = self._positions(list(tangents))
        if len(set(positions)) < len(positions):
            raise ShapeError(
                "tangents contain one argument twice, by its name and by its position: "
                f"{', '.join(map(repr, tangents))}"
            )
        incoming = {}
        for at, (key, value) in zip(positions, tangents.items(), strict=True):
            shape = np.shape(args[at])
            if arguments.are_complex[at]:
                shape = (*shape[:-1], 2 * (shape[-1] if shape else 1))
            tangent = check_beside(tuple(shape), arguments.dtype, value, f"the tangent of {key}", self.library)
            incoming[at] = tangent.reshape(arguments.arrays[at].shape)
        return incoming

    def _as_given(
        self, gradients: Sequence[Any], arguments: Arguments, args: Sequence[Any], positions: Sequence[int]
    ) -> tuple[Any, ...]:
        """Gradients as arrays of the caller's library, each in its argument's shape; complex for complex arguments."""
        shaped = []
        for gradient, at in zip(gradients, positions, strict=True):
            if arguments.are_complex[at]:
                numbers = self.library.finished_complex(gradient, arguments.like)
            else:
                numbers = self.library.finished(gradient, arguments.given_dtype, arguments.like)
            shaped.append(numbers.reshape(np.shape(args[at])))
        return tuple(shaped)

    def _positions(self, names: Sequence[str | int] | str | int | None) -> list[int]:
        if names is None:
            return list(range(len(self.variables)))
        if isinstance(names, (str, int, np.integer)):
            names = [names]
        known = {variable.name: variable.position for variable in self.variables if variable.name}
        positions = []
        for name in names:
            if isinstance(name, str) and name in known:
                positions.append(known[name])
            elif isinstance(name, (int, np.integer)) and name is not True and 0 <= name < len(self.variables):
                positions.append(int(name))
            else:
                raise NotDifferentiableError(
                    f"there is no argument {name!r} to differentiate in; the arguments are "
                    f"{', '.join(map(describe, self.variables))}"
                )
        return positions

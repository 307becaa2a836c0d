"""`Routine`: what is called with arrays. Written once; each array library binds it to its adapter."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import numpy as np

from clreduce.adapters.adapter import Adapter
from clreduce.call import explain as explaining
from clreduce.call.arguments import (
    COMPUTED,
    Arguments,
    Checks,
    check_arguments,
    check_beside,
    check_result,
    describe,
)
from clreduce.call.backend import executor_for
from clreduce.call.derivative import Derivative
from clreduce.call.estimate import MemoryEstimate, ShapesOnly, estimate
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor
from clreduce.call.options import Options, refuse_unknown
from clreduce.call.ranges import check_ranges
from clreduce.call.runner import HOST, Runner
from clreduce.call.states import State
from clreduce.call.work import Work, plan_of
from clreduce.domain import Domain
from clreduce.errors import DeviceError, NotDifferentiableError, ShapeError
from clreduce.ir.expr import INDEX, Expr, substitute
from clreduce.ir.show import show
from clreduce.language.formula import Variable
from clreduce.language.vocabulary import checked_reduction
from clreduce.memo import Memo, memoised
from clreduce.program import MapReduce, map_reduce, swapped
from clreduce.reductions.reduction import Reduction
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan import Plan
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.warning import warn

if TYPE_CHECKING:
    from typing_extensions import Self

Array = np.ndarray[Any, Any]


def checked_axis(axis: Any) -> int:
    """0 or 1, or one error."""
    try:
        number = -1 if isinstance(axis, (bool, np.bool_)) else operator.index(axis)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise ShapeError(f"axis is 0 (reduce over i) or 1 (reduce over j); got {axis!r}")
    return number


def _evaluation(
    routine: Routine, rows: int, columns: int, batch: tuple[int, ...], dtype: str, executor: Executor,
    ranges: CheckedRanges | None = None,
) -> Evaluation:  # fmt: skip
    reduction = routine.program.reduction
    count = reduction.count or 0
    if type(columns) is int and columns < count and "Sum" not in reduction.name:
        fill = "-inf" if "KMax" in reduction.name else "inf"
        size, places = "N" if routine.axis == 1 else "M", f"last {count - columns}" if columns else str(count)
        warn(
            f"{reduction.name} keeps K = {count} of {size} = {columns} terms: the {places} places are padding, the "
            f"value {fill} and the index -1",
            UserWarning,
        )
    region = Region(rows, columns, batch, ranges=ranges, kept=routine._rows)
    return Evaluation(Work(routine.program, routine.options, region, dtype), executor)


_kept_evaluation = memoised(256)(_evaluation)
"""Evaluations over all pairs, which keep what they prepare."""


def _by_row(array: Any, arguments: Arguments) -> Any:
    """A result's array as (batch.., rows, D)."""
    rank = len(arguments.batch) + 1
    return array.reshape((*array.shape[:rank], prod(array.shape[rank:])))


class Routine:
    """A reduction over i or j of formulas that are read or recorded already; what it is called with comes in order.

    ``values`` are formulas in which ``variables`` stand for the arguments of a call.
    """

    library: ClassVar[Adapter]
    """The adapter of the array library; set by the subclass that users see."""
    runner: ClassVar[Runner] = HOST

    def __init__(
        self,
        values: Sequence[Expr],
        variables: Sequence[Variable],
        reduction: Reduction,
        axis: int,
        options: Options,
    ) -> None:
        self.variables: tuple[Variable, ...] = tuple(variables)
        self.axis, self.options = axis, options
        values = values if axis == 1 else [swapped(expr)[0] for expr in values]
        self.program, given = map_reduce(values, reduction.name, reduction.count)
        self._check = Checks(self.variables)
        self._feeds = tuple(leaf.params[0] for leaf in given)
        self._rows, self._columns = (Domain.I, Domain.J) if axis == 1 else (Domain.J, Domain.I)

    @classmethod
    @memoised(1024)
    def of(
        cls,
        values: tuple[Expr, ...],
        leaves: tuple[Expr, ...],
        reduction_op: str,
        axis: int,
        opt_arg: Any = None,
        options: tuple[tuple[str, Any], ...] = (),
    ) -> Self:
        """The routine whose arguments are ``leaves``, the variables of the formulas; the same one each time."""
        reduction = checked_reduction(reduction_op, opt_arg, None if len(values) == 1 else values[1])
        variables = [Variable(None, n, leaf.dim, leaf.domain, leaf.kind) for n, leaf in enumerate(leaves)]
        named = {leaf: known.expr for leaf, known in zip(leaves, variables, strict=True)}
        return cls(substitute(values, named), variables, reduction, axis, Options.checked(reduction, **dict(options)))

    @property
    def texts(self) -> tuple[str, ...]:
        """The formulas as text, with the output index called i."""
        return tuple(show(value) for value in self.program.values)

    @property
    def expr(self) -> Expr:
        """The formula as read, with the output index called i."""
        return self.program.values[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show(self.expr)}, {self.program.reduction!r}, axis={self.axis})"

    def __call__(
        self, *args: Any, backend: str = "auto", device_id: int = -1, ranges: Any = None, out: Any = None,
        max_memory: int | str | None = None, deterministic: bool | None = None, **unknown: Any,
    ) -> Any:  # fmt: skip
        """The reduction, of shape (batch.., M or N, D).

        D is the length of the formula; with ``formula2`` it is that of ``formula2``. ``Max_SumShiftExp`` puts two
        vectors side by side. Where K terms are kept it is (batch.., M or N, K, D), or (batch.., M or N, K) if D is 1.
        ``Min_ArgMin``, ``KMin_ArgKMin`` and those of ``Max`` give two results, values and indices, and take a tuple of
        two as ``out``.

        ``args`` are the arrays in the order of the aliases: (.., M, D) for Vi, (.., N, D) for Vj, (.., D) for Pm. Where
        D is 1 the last axis may be left out: (M,), (N,), a number; and in a batch, if another argument has its
        dimensions, (B, M), (B, N), (B,). Gradients have the shapes of what came in. The
        result has the dtype that NumPy's promotion gives for all of them together; integers and booleans without floats
        are computed in float64, float16 in float32 and rounded. A complex array has half as many columns, and counts as
        pairs (re, im) of reals; results are real. A parameter may be a number, or a tuple of them, which has no dtype.

        ``out`` receives the result if given. ``backend`` is ``"auto"`` (the current device), ``"CPU"`` or ``"GPU"``
        (longer spellings such as ``"GPU_1D"`` mean the same); ``device_id`` counts devices of that kind from 0.

        ``max_memory`` is the most that the call may take on its device, in bytes or as text such as ``"512MB"``: what
        takes more is cut into blocks (see `clreduce.set_max_memory`). ``deterministic=True`` gives the same bits on
        all devices of a kind, however many, and for any limit of memory (see `clreduce.set_deterministic`).

        ``ranges`` names the pairs to reduce over, None meaning all: int32 or int64 arrays ``(ranges_i, slices_i,
        redranges_j, ranges_j, slices_j, redranges_i)``, as `cluster.from_matrix` makes them. A reduction over j reads
        the first three: rows i of ``ranges_i[k]`` meet the j of all intervals [start, end) among
        ``redranges_j[slices_i[k - 1]:slices_i[k]]``, those listed twice twice. One over i reads the other three. Rows
        outside every block are reduced over nothing. In a batch, all indices share the ranges. Gradients take the half
        that belongs to the argument's index, so the two must name the same pairs.
        """
        if unknown:
            refuse_unknown("a call", Routine.__call__, unknown)
        executor = executor_for(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        evaluation = self.evaluation(arguments, executor)
        arrays, forms = self.feeds(arguments.arrays), self._result_forms(arguments)
        if out is None:
            found = self.runner.run(evaluation, arrays, arguments.like)
            results = self._finished(found, forms, arguments)
        else:
            given = (out,) if len(forms) == 1 else out
            targets = self._targets(arguments, forms, given)
            if self.runner.tracks([*arguments.arrays, *given]):
                results = self._finished(self.runner.run(evaluation, arrays, arguments.like), forms, arguments)
            else:
                results = self._computed_into(targets, evaluation, arrays, forms)
            results = tuple(self.library.copy_into(one, result) for one, result in zip(given, results, strict=True))
        return results[0] if len(results) == 1 else results

    def vjp(
        self, *args: Any, cotangent: Any, wrt: Sequence[str | int] | str | int | None = None, output: Any = None,
        backend: str = "auto", device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, **unknown: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Reverse mode: (d result / d argument)^T cotangent, for each argument of ``wrt`` in order.

        ``cotangent`` has the shape of the result (of the values, where there are indices too). ``wrt`` names aliases or
        gives their positions; None means all.
        The gradients of all i-variables come from one kernel, those of all j-variables from a second. ``output`` is
        what the call returned, if it is known already: the derivatives of ``LogSumExp``, ``Min_ArgMin`` and
        ``KMin_ArgKMin`` need it and compute it otherwise. ``ranges`` are those of the call.
        """
        if unknown:
            refuse_unknown("vjp", Routine.vjp, unknown)
        executor = executor_for(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        positions = self._positions(wrt)
        incoming = self._checked_cotangent(arguments, cotangent)
        derivative = self._derivative(arguments, executor, self._checked_output(arguments, output))
        gradients = self.by_position(
            positions, arguments, self.library.zeros_like, lambda slots: derivative.vjp(incoming, slots)
        )
        return self._as_given(gradients, arguments, args, positions)

    def grad(self, variable: str | int) -> Callable[..., Any]:
        """The routine ``g(*args, cotangent)`` that gives (d result / d variable)^T cotangent.

        It takes the options of `vjp`: ``g(*args, cotangent, output=result, ranges=ranges)``, for instance.
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
        self, *args: Any, tangents: dict[str | int, Any], output: Any = None, backend: str = "auto",
        device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, **unknown: Any,
    ) -> Any:  # fmt: skip
        """Forward mode: the directional derivative of the result, for tangents given by alias or position."""
        if unknown:
            refuse_unknown("jvp", Routine.jvp, unknown)
        executor = executor_for(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        known = self._checked_output(arguments, output)
        incoming = self._by_slot(self._checked_tangents(arguments, args, tangents))
        shape, dtype = self._result_forms(arguments)[0]
        result = self._derivative(arguments, executor, known).jvp(incoming)[0]
        return self.library.finished(result.reshape(shape), dtype, arguments.like)

    def hvp(
        self, *args: Any, cotangent: Any, tangents: dict[str | int, Any],
        wrt: Sequence[str | int] | str | int | None = None, output: Any = None, backend: str = "auto",
        device_id: int = -1, ranges: Any = None, max_memory: int | str | None = None,
        deterministic: bool | None = None, **unknown: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Second derivatives: how `vjp` with this ``cotangent`` changes when the arguments move along ``tangents``.

        That is the Hessian of <cotangent, result> times the tangents, for each argument of ``wrt`` in order.
        """
        if unknown:
            refuse_unknown("hvp", Routine.hvp, unknown)
        executor = executor_for(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        positions = self._positions(wrt)
        known = self._checked_output(arguments, output)
        incoming = self._checked_cotangent(arguments, cotangent)
        moves = self._by_slot(self._checked_tangents(arguments, args, tangents))
        derivative = self._derivative(arguments, executor, known)
        gradients = self.by_position(
            positions, arguments, self.library.zeros_like, lambda slots: derivative.hvp(incoming, moves, slots)
        )
        return self._as_given(gradients, arguments, args, positions)

    def partial(
        self, *args: Any, first_row: int = 0, first_column: int = 0, backend: str = "auto", device_id: int = -1,
        ranges: Any = None, max_memory: int | str | None = None, deterministic: bool | None = None,
    ) -> State:  # fmt: skip
        """What the rows keep after some of the columns: a `State`, which merges with that of the next columns.

        The arrays are those of a part of the rows and of the columns; ``first_row`` and ``first_column`` are the
        numbers that its first ones have in the whole. Reductions over i have a row for each j.

        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> x, y = np.zeros((1, 1)), np.array([[3.0], [1.0], [2.0]])
        >>> nearest = Genred("Abs(x - y)", ["x = Vi(1)", "y = Vj(1)"], "ArgMin", axis=1)
        >>> state = nearest.partial(x, y[:1]).merge(nearest.partial(x, y[1:], first_column=1))
        >>> nearest.finish(state)
        array([[1]])
        """
        executor = executor_for(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        evaluation = self.evaluation(arguments, executor)
        region = replace(evaluation.work.region, first_row=first_row, first_column=first_column)
        work = evaluation.work.on(region)
        arrays = [self.library.on_host(array) for array in self.feeds(arguments.arrays)]
        return State(work, executor.partial((work, Memo(), arrays)))

    def finish(self, state: State, like: Any = None) -> Any:
        """The result of rows that have met all their columns; ``like``: an array where results shall be."""
        reduction, region = self.program.reduction, state.work.region
        count = reduction.count if reduction.lists else None
        results = []
        for result in state.finish():
            dim = result.shape[-1] // (count or 1)
            row = (dim,) if count is None else (count, dim) if dim > 1 else (count,)
            results.append(self.library.from_host(result.reshape((*region.batch, region.rows, *row)), like))
        return tuple(results) if len(results) > 1 else results[0]

    def plan(self, dtype: str = "float32", device: Device | None = None) -> Plan:
        """The compiled form of this routine: its schedule, kernels and source."""
        return self.plan_of(self.program, dtype, device or current_device())

    def plan_of(
        self,
        program: MapReduce,
        dtype: str,
        device: Device,
        batched: bool = False,
        rows: int | None = None,
        columns: int = 0,
        ranges: Ranges | None = None,
        moderate: bool = False,
    ) -> Plan:
        """The plan of this routine's program or of one of its derivatives, under this routine's options.

        ``rows``: the number of rows of the result, where it is known; None means many. ``columns``: over how many it
        reduces, at least. ``ranges``: for block-sparse calls such as one with these. ``moderate``: for parameters of
        moderate size (`Arrangement`).
        """
        return plan_of(program, self.options, dtype, device, batched, rows, columns, ranges, moderate)

    def memory_estimate(
        self, *args: Any, backend: str = "auto", device_id: int = -1, ranges: Any = None,
        max_memory: int | str | None = None, deterministic: bool | None = None,
    ) -> MemoryEstimate:  # fmt: skip
        """Bytes that a call with these arrays takes on its device: data, results, and temporaries. None is made."""
        arguments = check_arguments(self.variables, args, ShapesOnly(self.library))
        self.options.check_precision(arguments.given_dtype)
        if ranges is not None:
            arguments = replace(arguments, ranges=check_ranges(ranges, arguments.sizes, self.library))
        return estimate(self, arguments, executor_for(backend, device_id, max_memory, deterministic))

    def explain(self, dtype: str = "float32", file: TextIO | None = None) -> None:
        """Print formula, structure of the gradients, schedule and kernel source, for a person."""
        print(explaining.explain(self, dtype, current_device()), file=file or sys.stdout)

    def feeds(self, arrays: Sequence[Any]) -> list[Any]:
        """The arrays of a call in the order of the program's slots."""
        return [arrays[position] for position in self._feeds]

    def slot_of(self, position: int) -> int | None:
        """The program's slot that the argument at ``position`` feeds; None if the formula does not use it."""
        return self._feeds.index(position) if position in self._feeds else None

    def sizes(self, arguments: Arguments) -> tuple[int, int]:
        """Rows and columns of the pairs that a call visits."""
        return arguments.sizes[self._rows], arguments.sizes[self._columns]

    def ranges_of(self, arguments: Arguments) -> Ranges | None:
        """The pairs that a call visits, by rows of its result."""
        return None if arguments.ranges is None else arguments.ranges.pairs(self._rows)

    def by_position(
        self,
        positions: Sequence[int],
        arguments: Arguments,
        zeros: Callable[[Any], Any],
        gradients: Callable[[list[int]], dict[int, Any]],
    ) -> list[Any]:
        """What ``gradients`` gives by slot, for each argument of ``positions``; zeros for what isn't used."""
        slots = {at: self.slot_of(at) for at in positions}
        found = gradients(sorted({slot for slot in slots.values() if slot is not None}))
        return [zeros(arguments.arrays[at]) if slots[at] is None else found[slots[at]] for at in positions]  # type: ignore[index]

    def _by_slot(self, tangents: Mapping[int, Any]) -> dict[int, Any]:
        """Tangents by position, as those of slots; of arguments that aren't used there is none."""
        slots = {self.slot_of(at): tangent for at, tangent in tangents.items()}
        return {slot: tangent for slot, tangent in slots.items() if slot is not None}

    def _arguments(self, args: Sequence[Any], ranges: Any) -> Arguments:
        """The checked arguments of a call."""
        arguments = self._check(args, self.library)
        self.options.check_precision(arguments.given_dtype)
        if ranges is None:
            return arguments
        return replace(arguments, ranges=check_ranges(ranges, arguments.sizes, self.library))

    def evaluation(self, arguments: Arguments, executor: Executor) -> Evaluation:
        """The routine's program, for arguments of these sizes."""
        rows, columns = self.sizes(arguments)
        call = (self, rows, columns, arguments.batch, arguments.dtype, executor)
        if arguments.ranges is None and all(type(size) is int for size in (rows, columns, *arguments.batch)):
            return _kept_evaluation(*call)
        return _evaluation(*call, arguments.ranges)  # not one to keep: of large arrays, or of symbols

    def _derivative(self, arguments: Arguments, executor: Executor, outputs: tuple[Any, ...] | None) -> Derivative:
        """The derivatives at these arguments."""
        evaluation = self.evaluation(arguments, executor)
        return Derivative(evaluation, self.feeds(arguments.arrays), self.runner.run_all, outputs)

    def _finished(
        self, found: Sequence[Any], forms: Sequence[tuple[tuple[int, ...], str]], arguments: Arguments
    ) -> tuple[Any, ...]:
        """Results of (batch.., rows, D) as the caller gets them."""
        return tuple(
            self.library.finished(result if result.shape == shape else result.reshape(shape), dtype, arguments.like)
            for result, (shape, dtype) in zip(found, forms, strict=True)
        )

    def _computed_into(
        self,
        targets: Sequence[Array | None],
        evaluation: Evaluation,
        arrays: Sequence[Any],
        forms: Sequence[tuple[tuple[int, ...], str]],
    ) -> tuple[Any, ...]:
        """The results on the host, each in its target if it has one."""
        results = tuple(
            np.empty(shape, COMPUTED.get(dtype, dtype)) if target is None else target
            for target, (shape, dtype) in zip(targets, forms, strict=True)
        )
        return evaluation([self.library.on_host(array) for array in arrays], results)

    def _targets(
        self, arguments: Arguments, forms: Sequence[tuple[tuple[int, ...], str]], given: Any
    ) -> tuple[Array | None, ...]:
        """Where kernels write the results: into the caller's arrays, unless they read there too."""
        if not isinstance(given, tuple) or len(given) != len(forms):
            raise ShapeError(f"out is a tuple of {len(forms)} arrays, one for each result; got {type(given).__name__}")
        targets: list[Array | None] = []
        for one, (shape, dtype) in zip(given, forms, strict=True):
            check_result(shape, dtype, one, "out", self.library)
            if not self.library.writable(one):
                raise ShapeError("out is read-only, or shows one number in several places: give an array of its own")
            if self.library.place(one) != self.library.place(arguments.like):
                raise DeviceError(f"out is on {self.library.place(one)}: it must be where the arrays are")
            written = any(self.library.overlap(one, other) for other in given[: len(targets)])
            if written:
                raise ShapeError("the arrays of out share memory: give each result one of its own")
            read = any(self.library.overlap(one, array) for array in arguments.arrays)
            direct = not read and dtype in ("int64", arguments.dtype)
            targets.append(self.library.to_host(one) if direct else None)
        return tuple(targets)

    def result_forms(self, args: Sequence[Any]) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each result of a call with ``args``, whose values are not looked at."""
        return self._result_forms(self._arguments(args, None))

    def _result_forms(self, arguments: Arguments) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each result."""
        reduction = self.program.reduction
        count = reduction.count if reduction.lists else None
        rows = arguments.sizes[self._rows]
        forms = []
        for output in self.program.outputs:
            dim = output.dim // (count or 1)
            row = (dim,) if count is None else (count, dim) if dim > 1 else (count,)
            forms.append(((*arguments.batch, rows, *row), "int64" if output.kind == INDEX else arguments.given_dtype))
        return forms

    def _checked_cotangent(self, arguments: Arguments, cotangent: Any) -> dict[int, Any]:
        """What derivatives of the first result are weighted with, of shape (batch.., rows, D), by its number."""
        if not self.program.real_outputs:
            return {}  # the program says that it has no derivative
        shape, _ = self._result_forms(arguments)[0]
        given = check_beside(shape, arguments.dtype, cotangent, "cotangent", self.library)
        return {0: _by_row(given, arguments)}

    def _checked_output(self, arguments: Arguments, output: Any) -> tuple[Any, ...] | None:
        """The results of a call that derivatives may start from."""
        if output is None:
            return None
        forms = self._result_forms(arguments)
        given = output if isinstance(output, tuple) else (output,)
        if len(given) != len(forms):
            raise ShapeError(f"output is what the call returned, {len(forms)} array(s); got {len(given)}")
        found = tuple(
            _by_row(check_beside(shape, COMPUTED.get(dtype, dtype), one, "output", self.library), arguments)
            for one, (shape, dtype) in zip(given, forms, strict=True)
        )
        # A result that was rounded to a shorter float is too coarse to start from.
        return found if arguments.given_dtype == arguments.dtype else None

    def _checked_tangents(self, arguments: Arguments, args: Sequence[Any], tangents: Any) -> dict[int, Any]:
        """Tangents by position, each of its argument's shape."""
        if not isinstance(tangents, Mapping):
            raise ShapeError(f"tangents maps aliases (or positions) to arrays; got {type(tangents).__name__}")
        positions = self._positions(list(tangents))
        if len(set(positions)) < len(positions):
            raise ShapeError(f"tangents name an argument twice: {', '.join(map(repr, tangents))}")
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
        """Gradients as arrays of the caller's library, each of its argument's shape and complex if that is."""
        found = []
        for gradient, at in zip(gradients, positions, strict=True):
            if arguments.are_complex[at]:
                numbers = self.library.finished_complex(gradient, arguments.like)
            else:
                numbers = self.library.finished(gradient, arguments.given_dtype, arguments.like)
            found.append(numbers.reshape(np.shape(args[at])))
        return tuple(found)

    def _positions(self, names: Sequence[str | int] | str | int | None) -> list[int]:
        if names is None:
            return list(range(len(self.variables)))
        if isinstance(names, (str, int, np.integer)):
            names = [names]
        known = {variable.name: variable.position for variable in self.variables if variable.name}
        found = []
        for name in names:
            if isinstance(name, str) and name in known:
                found.append(known[name])
            elif isinstance(name, (int, np.integer)) and name is not True and 0 <= name < len(self.variables):
                found.append(int(name))
            else:
                raise NotDifferentiableError(
                    f"no argument {name!r} to differentiate; there are {', '.join(map(describe, self.variables))}"
                )
        return found

"""`RoutineBase`: a program with its arguments and options; the base of calls, derivatives and explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from clreduce.adapters.adapter import AnyAdapter
from clreduce.call.arguments import (
    COMPUTED,
    Arguments,
    Checks,
    check_result,
)
from clreduce.call.evaluation import Evaluation
from clreduce.call.executor import Executor
from clreduce.call.options import Options
from clreduce.call.pruning.request import Pruning
from clreduce.call.ranges import check_ranges
from clreduce.call.runner import HOST, AnyRunner
from clreduce.call.work import Work, plan_of
from clreduce.domain import Domain
from clreduce.errors import DeviceError, OptionError, ShapeError
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.show import show
from clreduce.language.formula import Variable
from clreduce.memo import memoised
from clreduce.program import MapReduce, map_reduce, swapped
from clreduce.reductions.reduction import Reduction
from clreduce.runtime.device import Device
from clreduce.runtime.devices import current_device
from clreduce.runtime.plan import Plan
from clreduce.runtime.ranges import CheckedRanges, Ranges
from clreduce.runtime.region import Region
from clreduce.typing import Array
from clreduce.warning import warn

Fed = TypeVar("Fed")


def _evaluation(
    routine: RoutineBase, rows: int, columns: int, batch: tuple[int, ...], dtype: str, executor: Executor,
    pruning: Pruning | None = None, ranges: CheckedRanges | None = None,
) -> Evaluation:  # fmt: skip
    reduction = routine.program.reduction
    count = reduction.count or 0
    if type(columns) is int and columns < count and "Sum" not in reduction.name:
        fill = "-inf" if "KMax" in reduction.name else "inf"
        size, places = "N" if routine.axis == 1 else "M", f"last {count - columns}" if columns else str(count)
        warn(
            f"{reduction.name} keeps K = {count} terms, and there are only {size} = {columns}: the {places} places "
            f"hold the value {fill} and the index -1",
            UserWarning,
        )
    region = Region(rows, columns, batch, ranges=ranges, row_domain=routine._rows)
    return Evaluation(Work(routine.program, routine.options, region, dtype, pruning), executor)


_kept_evaluation = memoised(256)(_evaluation)
"""Evaluations over all pairs. They are reused, with the plans that they have prepared."""


class RoutineBase:
    """A reduction over i or j of formulas that have been parsed or recorded.

    ``values`` are the formulas; ``variables`` stand in them for the arguments of a call, in order.
    """

    library: ClassVar[AnyAdapter]
    """The adapter of the array library; set by the subclass that users see."""
    runner: ClassVar[AnyRunner] = HOST

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
        self.program, leaves = map_reduce(values, reduction.name, reduction.count)
        self._check = Checks(self.variables)
        self._feeds = tuple(leaf.params[0] for leaf in leaves)
        self._rows, self._columns = (Domain.I, Domain.J) if axis == 1 else (Domain.J, Domain.I)

    def plan(self, dtype: str = "float32", device: Device | None = None) -> Plan:
        """The compiled form of this routine: its schedule, kernels and source.

        Parameters
        ----------
        dtype : str, optional
            The dtype of the computation, ``"float32"`` or ``"float64"``.
        device : Device, optional
            The device that the kernels are for; the current one by default.

        Returns
        -------
        Plan
            ``plan.schedule`` is the schedule, ``plan.source`` the text of the kernels.

        Examples
        --------
        >>> from clreduce.numpy import Genred
        >>> plan = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1).plan()
        >>> "__kernel" in plan.source
        True
        """
        return self._plan_of(self.program, dtype, device or current_device())

    def _plan_of(
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

        ``rows`` is the number of rows of the result; None means many. ``columns`` is a lower bound of the number of
        columns. With ``ranges`` the plan serves block-sparse calls of that shape. ``moderate`` plans assume parameters
        of moderate size (`Arrangement`).
        """
        return plan_of(program, self.options, dtype, device, batched, rows, columns, ranges, moderate)

    def _in_slots(self, arrays: Sequence[Fed]) -> list[Fed]:
        """The arrays that the formula uses, in the order of the program's slots, of those of a call."""
        return [arrays[position] for position in self._feeds]

    def _slot_of(self, position: int) -> int | None:
        """The slot of the program that an argument feeds; None if the formula does not use the argument."""
        return self._feeds.index(position) if position in self._feeds else None

    def _sizes_of(self, arguments: Arguments) -> tuple[int, int]:
        """The numbers of rows and of columns of a call with these arguments."""
        return arguments.sizes[self._rows], arguments.sizes[self._columns]

    def _refuse_named_arrays(self, options: Mapping[str, object]) -> None:
        """Raise `OptionError` if the caller has passed an array by the name of its alias."""
        names = [variable.name for variable in self.variables if variable.name]
        for name in names:
            if name in options:
                raise OptionError(
                    f"arrays are passed by their order, not by name: pass {', '.join(names)} in this order; got {name}="
                )

    def _arguments(self, args: Sequence[Any], ranges: Any) -> Arguments:
        """The checked arguments of a call."""
        arguments = self._check(args, self.library)
        self.options.check_precision(arguments.given_dtype)
        if ranges is None:
            return arguments
        return replace(arguments, ranges=check_ranges(ranges, arguments.sizes, self.library))

    def _evaluation_of(self, arguments: Arguments, executor: Executor, pruning: Pruning | None = None) -> Evaluation:
        """The routine's program, for arguments of these sizes."""
        rows, columns = self._sizes_of(arguments)
        call = (self, rows, columns, arguments.batch, arguments.dtype, executor, pruning)
        are_plain = type(rows) is type(columns) is int and (
            not arguments.batch or all(type(size) is int for size in arguments.batch)
        )
        if are_plain and arguments.ranges is None:
            return _kept_evaluation(*call)
        return _evaluation(*call, arguments.ranges)  # not kept: ranges may be large arrays, and sizes may be symbols

    def _finished(
        self, computed: Sequence[Any], forms: Sequence[tuple[tuple[int, ...], str]], arguments: Arguments
    ) -> tuple[Any, ...]:
        """Results of shape (batch.., rows, D) in the caller's shapes, dtypes and library."""
        finished, like = self.library.finished, arguments.like
        results = [
            finished(result if result.shape == shape else result.reshape(shape), dtype, like)
            for result, (shape, dtype) in zip(computed, forms, strict=True)
        ]  # a generator takes longer, on the path of every call
        return tuple(results)

    def _computed_into(
        self,
        targets: Sequence[Array | None],
        evaluation: Evaluation,
        arrays: Sequence[Any],
        forms: Sequence[tuple[tuple[int, ...], str]],
    ) -> tuple[Any, ...]:
        """The results in the dtypes of the kernels, each written into its target if that is not None."""
        results = tuple(
            self.library.empty(shape, COMPUTED.get(dtype, dtype), arrays) if target is None else target
            for target, (shape, dtype) in zip(targets, forms, strict=True)
        )
        return evaluation([self.library.evaluated(array) for array in arrays], results)

    def _targets(
        self, arguments: Arguments, forms: Sequence[tuple[tuple[int, ...], str]], outs: Any
    ) -> tuple[Array | None, ...]:
        """For each result, the caller's array if kernels can write into it directly; else None.

        Kernels cannot if the array shares memory with an argument, or if its dtype is not the one they compute in.
        """
        if not isinstance(outs, tuple) or len(outs) != len(forms):
            raise ShapeError(
                f"out must be a tuple of {len(forms)} arrays, one for each result; got {type(outs).__name__}"
            )
        targets: list[Array | None] = []
        for out, (shape, dtype) in zip(outs, forms, strict=True):
            check_result(shape, dtype, out, "out", self.library)
            if not self.library.writable(out):
                raise ShapeError("out is read-only, or some of its entries share memory: pass a writable array")
            if self.library.place(out) != self.library.place(arguments.like):
                raise DeviceError(
                    f"out is on {self.library.place(out)}, and the arrays are not: create out on their device"
                )
            written = any(self.library.overlap(out, other) for other in outs[: len(targets)])
            if written:
                raise ShapeError("the arrays of out share memory: pass a separate array for each result")
            read = any(self.library.overlap(out, array) for array in arguments.arrays)
            direct = not read and dtype in ("int64", arguments.dtype)
            targets.append(self.library.target(out) if direct else None)
        return tuple(targets)

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

    @property
    def _texts(self) -> tuple[str, ...]:
        """The formulas as text, with the output index called i."""
        return tuple(show(value) for value in self.program.values)

"""`Routine`: a callable reduction. Each array library binds this class to its adapter."""

from __future__ import annotations

import operator
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from clreduce.call import explain as explaining
from clreduce.call.arguments import (
    check_arguments,
)
from clreduce.call.derivative_methods import DerivativeMethods
from clreduce.call.estimate import MemoryEstimate, ShapesOnly, estimate
from clreduce.call.options import Options, refuse_unknown
from clreduce.call.pruning.request import Pruning
from clreduce.call.ranges import check_ranges
from clreduce.call.states import State
from clreduce.call.work import Work
from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr, substitute
from clreduce.ir.show import show
from clreduce.language.formula import Variable
from clreduce.language.vocabulary import checked_reduction
from clreduce.memo import Memo, memoised
from clreduce.runtime.devices import current_device
from clreduce.runtime.region import Region

if TYPE_CHECKING:
    from typing_extensions import Self


def checked_axis(axis: object) -> int:
    """``axis`` as 0 or 1; raises `ShapeError` for anything else."""
    index: Any = axis
    try:
        number = -1 if isinstance(axis, (bool, np.bool_)) else operator.index(index)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise ShapeError(f"axis must be 0 (reduce over i) or 1 (reduce over j); got {axis!r}")
    return number


class Routine(DerivativeMethods):
    """A reduction over i or j of formulas that have been parsed or recorded.

    ``values`` are the formulas; ``variables`` stand in them for the arguments of a call, in order.
    """

    @classmethod
    @memoised(1024)
    def _of(
        cls,
        values: tuple[Expr, ...],
        leaves: tuple[Expr, ...],
        reduction_op: str,
        axis: int,
        opt_arg: object = None,
        options: tuple[tuple[str, object], ...] = (),
    ) -> Self:
        """The routine whose arguments are ``leaves``, the variables of the formulas. Equal calls return one object."""
        reduction = checked_reduction(reduction_op, opt_arg, None if len(values) == 1 else values[1])
        named_options: dict[str, Any] = dict(options)
        variables = [Variable(None, n, leaf.dim, leaf.domain, leaf.kind) for n, leaf in enumerate(leaves)]
        named = {leaf: known.expr for leaf, known in zip(leaves, variables, strict=True)}
        return cls(substitute(values, named), variables, reduction, axis, Options.checked(reduction, **named_options))

    @property
    def expr(self) -> Expr:
        """The formula; i is the index of the result."""
        return self.program.values[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show(self.expr)}, {self.program.reduction!r}, axis={self.axis})"

    def __call__(
        self, *args: Any, backend: str = "auto", device_id: int = -1, ranges: Any = None, out: Any = None,
        max_memory: int | str | None = None, deterministic: bool | None = None, prune: bool | str = "auto",
        atol: float | None = None, rtol: float | None = None, **unknown: Any,
    ) -> Any:  # fmt: skip
        """The reduction, for these arrays.

        Parameters
        ----------
        *args : array
            The arrays in the order of the aliases: (.., M, D) for Vi, (.., N, D) for Vj, (.., D) for Pm. If D is 1, the
            last axis may be missing: (M,), (N,), a number; in a batch, if another argument has the batch dimensions,
            (B, M), (B, N), (B,). A parameter may be a number or a tuple of numbers; these do not affect the dtype. A
            complex array has half as many columns and counts as pairs (re, im) of reals; results are real.
        backend : str, optional
            ``"auto"`` (the current device), ``"CPU"`` or ``"GPU"``; longer spellings such as ``"GPU_1D"`` mean the
            same.
        device_id : int, optional
            Counts the devices of that kind from 0.
        ranges : tuple of six arrays, optional
            The pairs that are visited; None means all. ``(ranges_i, slices_i, redranges_j, ranges_j, slices_j,
            redranges_i)`` are int32 or int64, as `cluster.from_matrix` makes them. A reduction over j reads the first
            three: rows i in ``ranges_i[k]`` visit all j in the intervals [start, end) of ``redranges_j[slices_i[k -
            1]:slices_i[k]]``, and twice if two intervals contain j. A reduction over i reads the other three. Rows
            outside every block are reduced over nothing. All indices of a batch share the ranges. A gradient reads the
            three arrays of its argument's index, so both halves must select the same pairs.
        out : array or tuple of two arrays, optional
            Receives the result.
        max_memory : int or str, optional
            Limits the memory of the call on its device, in bytes or as text such as ``"512MB"``. A larger call runs in
            blocks (see `clreduce.set_max_memory`).
        deterministic : bool, optional
            True gives the same bits on any number of devices of one kind and under any memory limit (see
            `clreduce.set_deterministic`).
        prune : bool or str, optional
            Whether the call skips blocks of pairs that provably cannot change the result: True, False, or ``"auto"``,
            which does so for extrema, K nearest lists and conditions over many rows and columns. Their results stay the
            same bit by bit. `explain` says how many pairs the last call visited.
        atol, rtol : float, optional
            With one of them, sums, means, LogSumExp and SumSoftMaxWeight skip pairs too: each number of the result and
            of its derivatives then differs by at most ``atol + rtol * |exact|``, apart from rounding.

        Returns
        -------
        array or tuple of two arrays
            Of shape (batch.., M or N, D). D is the length of ``formula2`` if there is one, else that of the formula;
            ``Max_SumShiftExp`` puts two vectors side by side. Lists of K terms have shape (batch.., M or N, K, D), or
            (batch.., M or N, K) if D is 1. ``Min_ArgMin``, ``KMin_ArgKMin`` and their ``Max`` forms return values and
            indices. The dtype is the one that NumPy's promotion gives for all arrays together; indices are int64.
            Integers and booleans without floats are computed in float64; float16 is computed in float32, and the result
            is rounded.

        Raises
        ------
        ShapeError, DtypeError, DeviceError, OptionError
            An argument is invalid.
        OutOfMemoryError
            Not even a small block fits.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> nearest = Genred("SqDist(x, y)", ["x = Vi(1)", "y = Vj(1)"], "Min_ArgMin", axis=1)
        >>> nearest(np.array([[0.0]]), np.array([[3.0], [1.0], [2.0]]))
        (array([[1.]]), array([[1]]))
        """
        if unknown:
            self._refuse_named_arrays(unknown)
            refuse_unknown("a call", Routine.__call__, unknown)
        executor = self.runner.executor(backend, device_id, max_memory, deterministic)
        arguments = self._arguments(args, ranges)
        pruning = None
        if prune != "auto" or atol is not None or rtol is not None:
            pruning = Pruning.checked(prune, atol, rtol, self.program.reduction)
        evaluation = self._evaluation_of(arguments, executor, pruning)
        arrays, forms = self._in_slots(arguments.arrays), self._result_forms(arguments)
        if out is None:
            computed = self.runner.run(evaluation, arrays, arguments.like)
            results = self._finished(computed, forms, arguments)
        else:
            outs: Any = (out,) if len(forms) == 1 else out
            targets = self._targets(arguments, forms, outs)
            if self.runner.tracks([*arguments.arrays, *outs]):
                results = self._finished(self.runner.run(evaluation, arrays, arguments.like), forms, arguments)
            else:
                results = self._computed_into(targets, evaluation, arrays, forms)
            results = tuple(
                self.library.copy_into(target, result) for target, result in zip(outs, results, strict=True)
            )
        return results[0] if len(results) == 1 else results

    def partial(
        self, *args: object, first_row: int = 0, first_column: int = 0, backend: str = "auto", device_id: int = -1,
        ranges: object = None, max_memory: int | str | None = None, deterministic: bool | None = None,
    ) -> State:  # fmt: skip
        """The state of some rows after some columns, which merges with the state of the next columns.

        Parameters
        ----------
        *args : array
            The arrays of a call, which hold these rows and columns only. A reduction over i has a row for each j.
        first_row, first_column : int, optional
            The indices of the first row and column in the whole, from 0.
        backend, device_id, max_memory, deterministic
            As in a call.
        ranges : tuple of six arrays, optional
            As in a call; rows and columns count from 0 in these arrays.

        Returns
        -------
        State
            ``state.merge(next_state)`` joins it with the state of the columns that follow; `finish` returns the result.

        Raises
        ------
        ShapeError
            ``first_row`` or ``first_column`` is not a whole number from 0.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> x, y = np.zeros((1, 1)), np.array([[3.0], [1.0], [2.0]])
        >>> nearest = Genred("Abs(x - y)", ["x = Vi(1)", "y = Vj(1)"], "ArgMin", axis=1)
        >>> state = nearest.partial(x, y[:1]).merge(nearest.partial(x, y[1:], first_column=1))
        >>> nearest.finish(state)
        array([[1]])
        """
        executor = self.runner.executor(backend, device_id, max_memory, deterministic)
        for name, number in (("first_row", first_row), ("first_column", first_column)):
            if isinstance(number, (bool, np.bool_)) or not hasattr(number, "__index__") or number < 0:
                raise ShapeError(f"{name} must be a whole number from 0; got {number!r}")
        first_row, first_column = int(first_row), int(first_column)
        arguments = self._arguments(args, ranges)
        visited = arguments.ranges
        if visited is not None:
            visited = visited.moved({self._rows: first_row, self._columns: first_column})
        rows, columns = self._sizes_of(arguments)
        region = Region(rows, columns, arguments.batch, first_row, first_column, (), visited, self._rows)
        work = Work(self.program, self.options, region, arguments.dtype)
        arrays = [self.library.on_host(array) for array in self._in_slots(arguments.arrays)]
        return State(work, executor.partial((work, Memo(), arrays)))

    def finish(self, state: State, like: object = None) -> Any:
        """The result of a state that covers all columns.

        Parameters
        ----------
        state : State
            What `partial` returned, merged for all columns.
        like : array, optional
            An array of the library, on whose device the result shall be.

        Returns
        -------
        array or tuple of two arrays
            As of a call.

        Raises
        ------
        ShapeError
            Another routine made the state.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> total = Genred("x * y", ["x = Vi(1)", "y = Vj(1)"], "Sum", axis=1)
        >>> total.finish(total.partial(np.ones((1, 1)), np.ones((3, 1))))
        array([[3.]])
        """
        if not isinstance(state, State):
            raise ShapeError(f"finish needs a state that partial has returned; got {type(state).__name__}")
        if (state.work.program, state.work.options) != (self.program, self.options):
            raise ShapeError("this state belongs to another routine: pass it to the routine whose partial returned it")
        reduction, region = self.program.reduction, state.work.region
        count = reduction.count if reduction.lists else None
        results = []
        for result in state.finish():
            dim = result.shape[-1] // (count or 1)
            row = (dim,) if count is None else (count, dim) if dim > 1 else (count,)
            results.append(self.library.from_host(result.reshape((*region.batch, region.rows, *row)), like))
        return tuple(results) if len(results) > 1 else results[0]

    def memory_estimate(
        self, *args: object, backend: str = "auto", device_id: int = -1, ranges: object = None,
        max_memory: int | str | None = None, deterministic: bool | None = None,
    ) -> MemoryEstimate:  # fmt: skip
        """The bytes that a call would take on its device, and its expected time. Nothing runs.

        Parameters
        ----------
        *args : array
            The arrays of a call; only their shapes and dtypes are read.
        backend, device_id, ranges, max_memory, deterministic
            As in a call.

        Returns
        -------
        MemoryEstimate
            Bytes of inputs, outputs and temporaries, the number of blocks, and seconds.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Genred
        >>> distances = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1)
        >>> estimate = distances.memory_estimate(np.ones((1000, 3)), np.ones((2000, 3)))
        >>> estimate.inputs, estimate.outputs
        (72000, 8000)
        """
        arguments = check_arguments(self.variables, args, ShapesOnly(self.library))
        self.options.check_precision(arguments.given_dtype)
        if ranges is not None:
            arguments = replace(arguments, ranges=check_ranges(ranges, arguments.sizes, self.library))
        return estimate(self, arguments, self.runner.executor(backend, device_id, max_memory, deterministic))

    def explain(self, dtype: str = "float32", file: TextIO | None = None) -> None:
        """Print a report: formula, gradients, skipped pairs, schedule and kernel source.

        Parameters
        ----------
        dtype : str, optional
            The dtype of the kernels, which are those of the current device.
        file : file, optional
            Where the text goes; standard output by default.

        Examples
        --------
        >>> import io
        >>> from clreduce.numpy import Genred
        >>> report = io.StringIO()
        >>> Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Min", axis=1).explain("float64", report)
        >>> "__kernel" in report.getvalue()
        True
        """
        print(explaining.explain(self, dtype, current_device()), file=file or sys.stdout)

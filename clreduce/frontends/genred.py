"""`Genred`: a routine made from a formula in text. Written once; each array library binds it to its adapter."""

from __future__ import annotations

import operator
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, ClassVar, TextIO

import numpy as np

from clreduce.codegen.schedule import Schedule
from clreduce.domain import Domain
from clreduce.errors import FormulaError, NotDifferentiableError, ShapeError
from clreduce.frontends import explain as explaining
from clreduce.frontends.arguments import Arguments, check_arguments, check_result, describe
from clreduce.frontends.backend import device_for
from clreduce.frontends.derivative import jvp_of, vjp_of
from clreduce.frontends.formula import Variable, parse
from clreduce.frontends.ranges import check_ranges
from clreduce.ir.expr import INDEX, Expr
from clreduce.program import MapReduce, map_reduce, swapped, with_fast_distances
from clreduce.reductions.reduction import FAMILIES, REDUCTIONS, Reduction, reduction_named
from clreduce.runtime.device import Device, current_device
from clreduce.runtime.plan import PLANS, Plan, signature_of
from clreduce.runtime.ranges import Ranges

Array = np.ndarray[Any, Any]


def _checked_axis(axis: Any) -> int:
    try:
        number = -1 if isinstance(axis, (bool, np.bool_)) else operator.index(axis)
    except TypeError:
        number = -1
    if number not in (0, 1):
        raise ShapeError(f"axis is 0 (reduce over i) or 1 (reduce over j); got {axis!r}")
    return number


def _checked_reduction(name: Any, count: Any) -> Reduction:
    """The reduction of that name, for the number K if it takes one."""
    if not isinstance(name, str) or (name not in REDUCTIONS and name not in FAMILIES):
        raise FormulaError(f"unknown reduction {name!r}; known are {', '.join([*REDUCTIONS, *FAMILIES])}")
    if name in REDUCTIONS:
        if count is not None:
            raise FormulaError(f"{name} takes no opt_arg; got {count!r}")
        return reduction_named(name)
    try:
        number = 0 if isinstance(count, (bool, np.bool_)) else operator.index(count)
    except TypeError:
        number = 0
    if number < 1:
        raise FormulaError(f"{name} needs opt_arg=K, the number of terms to keep, 1 or more; got {count!r}")
    return reduction_named(name, number)


_SCHEMES = ("auto", "block_sum", "direct_sum")
_FAST = (None, "dot")


class Genred:
    """A reduction of a formula over i or j, given as text: ``out = Genred(formula, aliases, reduction_op, axis)(...)``.

    Parameters
    ----------
    formula:
        The formula, for instance ``"Exp(-SqDist(x, y)) * b"``: a Python-like expression of operations and aliases.
    aliases:
        The arguments in order: ``"x = Vi(3)"`` (one vector of length 3 per i), ``"y = Vj(3)"`` (per j),
        ``"p = Pm(1)"`` (one vector for all pairs).
    reduction_op:
        ``Sum``, ``LogSumExp``, ``Max``, ``Min``, ``ArgMax`` or ``ArgMin``; ``KMin``, ``ArgKMin`` or ``KMin_ArgKMin``,
        which take ``opt_arg``.
    axis:
        The index that is reduced: 1 for j (the result has a row per i), 0 for i (the result has a row per j).
    opt_arg:
        The number K, 1 or more, of ``KMin``, ``ArgKMin`` and ``KMin_ArgKMin``.
    sum_scheme:
        ``"block_sum"`` (the default, ``"auto"``) adds up in blocks, which keeps rounding errors small;
        ``"direct_sum"`` uses one running sum.
    fast:
        ``"dot"`` computes squared distances between vectors x_i and y_j, from 8 components on, as
        ``|x_i|^2 + |y_j|^2 - 2 <x_i, y_j>``, in the derivatives too. That takes fewer operations, and costs digits: the
        error of a squared distance is about eps * (|x_i|^2 + |y_j|^2) however small it is, so centre data that are far
        from the origin; near-ties in ``ArgMin`` or ``ArgKMin`` may be resolved differently. None (the default)
        subtracts component by component.
    dtype, cuda_type, enable_chunks, rec_multVar_highdim, use_fast_math:
        Accepted for compatibility. The first two are deprecated (the data's dtype decides); the others are speed
        switches of another engine and have no effect on results.

    Raises
    ------
    FormulaError
        The formula or an alias cannot be read; the message points at the place.
    ShapeError
        Lengths inside the formula do not fit.
    """

    library: ClassVar[ModuleType]
    """The adapter of the array library; set by the subclass that users see."""

    def __init__(
        self,
        formula: str,
        aliases: Sequence[str],
        reduction_op: str = "Sum",
        axis: int = 0,
        dtype: Any = None,
        opt_arg: Any = None,
        formula2: str | None = None,
        cuda_type: Any = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: bool | None = False,
        use_fast_math: bool = True,
        fast: str | None = None,
    ) -> None:
        if dtype is not None or cuda_type is not None:
            warnings.warn("dtype and cuda_type are ignored: the data's dtype decides", DeprecationWarning, stacklevel=2)
        axis = _checked_axis(axis)
        reduction = _checked_reduction(reduction_op, opt_arg)
        if sum_scheme not in _SCHEMES:
            raise FormulaError(f"sum_scheme is one of {', '.join(_SCHEMES)}; got {sum_scheme!r}")
        if fast not in _FAST:
            raise FormulaError(f"fast is one of {', '.join(map(repr, _FAST))}; got {fast!r}")
        if sum_scheme == "block_sum" and not reduction.blocked:
            raise FormulaError(f"sum_scheme='block_sum' needs a reduction that adds up; {reduction_op} does not")
        if formula2 is not None:
            raise FormulaError(f"{reduction_op} takes no formula2")
        if dtype_acc != "auto" or use_double_acc:
            raise FormulaError("only dtype_acc='auto' is available: sums are kept in the data's dtype, in blocks")
        parsed = parse(formula, aliases)
        self.formula, self.reduction_op, self.axis, self.sum_scheme = formula, reduction_op, axis, sum_scheme
        self.fast = fast
        self.aliases = tuple(aliases)
        self.variables: tuple[Variable, ...] = parsed.variables
        expr = parsed.expr if axis == 1 else swapped(parsed.expr)[0]
        self.program, given = map_reduce([expr], reduction_op, reduction.count)
        self._feeds = tuple(leaf.params[0] for leaf in given)
        self._rows, self._columns = (Domain.I, Domain.J) if axis == 1 else (Domain.J, Domain.I)
        self._schedules: dict[tuple[str, str], Schedule | None] = {}

    @property
    def expr(self) -> Expr:
        """The formula as read, with the output index called i."""
        return self.program.values[0]

    def __repr__(self) -> str:
        count = self.program.reduction.count
        number = "" if count is None else f", opt_arg={count}"
        fast = "" if self.fast is None else f", fast={self.fast!r}"
        return (
            f"Genred({self.formula!r}, {list(self.aliases)!r}, {self.reduction_op!r}, axis={self.axis}{number}{fast})"
        )

    def __call__(
        self, *args: Any, backend: str = "auto", device_id: int = -1, ranges: Any = None, out: Any = None
    ) -> Any:
        """The reduction, of shape (batch.., M or N, D).

        Where K terms are kept it is (batch.., M or N, K, D), or (batch.., M or N, K) if D is 1; ``KMin_ArgKMin`` gives
        two results, values and indices, and takes a tuple of two as ``out``.

        ``args`` are the arrays in the order of the aliases: (.., M, D) for Vi, (.., N, D) for Vj, (.., D) for Pm, all
        float32 or all float64. ``out`` receives the result if given. ``backend`` is ``"auto"`` (the current device),
        ``"CPU"`` or ``"GPU"`` (longer spellings such as ``"GPU_1D"`` mean the same); ``device_id`` counts devices of
        that kind from 0.

        ``ranges`` names the pairs to reduce over, None meaning all: int32 or int64 arrays ``(ranges_i, slices_i,
        redranges_j, ranges_j, slices_j, redranges_i)``, as `cluster.from_matrix` makes them. A reduction over j reads
        the first three: rows i of ``ranges_i[k]`` meet the j of all intervals [start, end) among
        ``redranges_j[slices_i[k - 1]:slices_i[k]]``, those listed twice twice. One over i reads the other three. Rows
        outside every block are reduced over nothing. In a batch, all indices share the ranges. Gradients take the half
        that belongs to the argument's index, so the two must name the same pairs.
        """
        device = device_for(backend, device_id)
        arguments = self._arguments(args, ranges)
        if out is None:
            found = self._compute(arguments, device, None)
            like = args[0] if args else None
            results = tuple(self.library.from_host(result, like) for result in found)
            return results[0] if len(results) == 1 else results
        given = (out,) if len(self.program.outputs) == 1 else out
        found = self._compute(arguments, device, self._targets(arguments, given))
        results = tuple(self.library.copy_into(one, result) for one, result in zip(given, found, strict=True))
        return results[0] if len(results) == 1 else results

    def vjp(
        self, *args: Any, cotangent: Any, wrt: Sequence[str | int] | str | int | None = None, output: Any = None,
        backend: str = "auto", device_id: int = -1, ranges: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Reverse mode: (d result / d argument)^T cotangent, for each argument of ``wrt`` in order.

        ``cotangent`` has the shape of the result (of the values, where there are indices too). ``wrt`` names aliases or
        gives their positions; None means all.
        The gradients of all i-variables come from one kernel, those of all j-variables from a second. ``output`` is the
        result, if it is known already: LogSumExp's derivative needs it and computes it otherwise. ``ranges`` are those
        of the call.
        """
        device = device_for(backend, device_id)
        arguments = self._arguments(args, ranges)
        positions = self._positions(wrt)
        shape, dtype = self._result_forms(arguments)[0]
        incoming = check_result(shape, arguments.dtype, cotangent, "cotangent", self.library)
        known = None if output is None else check_result(shape, dtype, output, "output", self.library)
        gradients = vjp_of(self, arguments, incoming, positions, known, device)
        return tuple(
            self.library.from_host(g.reshape(np.shape(args[at])), args[at])
            for g, at in zip(gradients, positions, strict=True)
        )

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
        device_id: int = -1, ranges: Any = None,
    ) -> Any:  # fmt: skip
        """Forward mode: the directional derivative of the result, for tangents given by alias or position."""
        device = device_for(backend, device_id)
        arguments = self._arguments(args, ranges)
        shape, dtype = self._result_forms(arguments)[0]
        known = None if output is None else check_result(shape, dtype, output, "output", self.library)
        if not isinstance(tangents, Mapping):
            raise ShapeError(f"tangents maps aliases (or positions) to arrays; got {type(tangents).__name__}")
        positions = self._positions(list(tangents))
        if len(set(positions)) < len(positions):
            raise ShapeError(f"tangents name an argument twice: {', '.join(map(repr, tangents))}")
        incoming = {}
        for at, (key, value) in zip(positions, tangents.items(), strict=True):
            tangent = check_result(np.shape(args[at]), arguments.dtype, value, f"the tangent of {key}", self.library)
            incoming[at] = tangent.reshape(arguments.arrays[at].shape)
        result = jvp_of(self, arguments, incoming, known, device).reshape(shape)
        return self.library.from_host(result, args[0] if args else None)

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
    ) -> Plan:
        """The plan of this routine's program or of one of its derivatives, under this routine's options.

        ``rows``: the number of rows of the result, where it is known; None means many. ``columns``: over how many it
        reduces, at least. ``ranges``: for block-sparse calls such as one with these.
        """
        direct_sum, signature = self.sum_scheme == "direct_sum", signature_of(dtype, batched, ranges)
        return PLANS.get(self.computed(program), signature, device, None, direct_sum, rows, columns)

    def computed(self, program: MapReduce) -> MapReduce:
        """What runs for this routine's program, or for one of its derivatives: rewritten if ``fast`` asks for it."""
        return program if self.fast is None else with_fast_distances(program)

    def explain(self, dtype: str = "float32", file: TextIO | None = None) -> None:
        """Print formula, structure of the gradients, schedule and kernel source, for a person."""
        print(explaining.explain(self, dtype, current_device()), file=file or sys.stdout)

    def feeds(self, arrays: Sequence[Array]) -> list[Array]:
        """The arrays of a call in the order of the program's slots."""
        return [arrays[position] for position in self._feeds]

    def slot_of(self, position: int) -> int | None:
        """The program's slot that the argument at ``position`` feeds; None if the formula does not use it."""
        return self._feeds.index(position) if position in self._feeds else None

    def sizes(self, arguments: Arguments) -> tuple[int, int]:
        """Rows and columns of the pairs that a call visits."""
        return arguments.sizes[self._rows], arguments.sizes[self._columns]

    def ranges_of(self, arguments: Arguments, flipped: bool = False) -> Ranges | None:
        """The pairs that a call visits, by rows of its result; ``flipped``: by the index that it reduces."""
        return None if arguments.ranges is None else arguments.ranges[self._columns if flipped else self._rows]

    def _arguments(self, args: Sequence[Any], ranges: Any) -> Arguments:
        """The checked arguments of a call."""
        arguments = check_arguments(self.variables, args, self.library)
        if ranges is None:
            return arguments
        return replace(arguments, ranges=check_ranges(ranges, arguments.sizes, self.library))

    def _compute(
        self, arguments: Arguments, device: Device, targets: tuple[Array | None, ...] | None
    ) -> tuple[Array, ...]:
        """The results, each in the array given for it, if one is."""
        rows, columns = self.sizes(arguments)
        ranges = self.ranges_of(arguments)
        plan = self.plan_of(self.program, arguments.dtype, device, bool(arguments.batch), rows, columns, ranges)
        results = tuple(
            np.empty(shape, dtype) if target is None else target
            for target, (shape, dtype) in zip(
                targets or (None,) * len(self.program.outputs), self._result_forms(arguments), strict=True
            )
        )
        plan(self.feeds(arguments.arrays), rows, columns, results, arguments.batch, ranges)
        return results

    def _targets(self, arguments: Arguments, given: Any) -> tuple[Array | None, ...]:
        """Where kernels write the results: into the caller's arrays, unless they read there too."""
        forms = self._result_forms(arguments)
        if not isinstance(given, tuple) or len(given) != len(forms):
            raise ShapeError(f"out is a tuple of {len(forms)} arrays, one for each result; got {type(given).__name__}")
        targets: list[Array | None] = []
        for one, (shape, dtype) in zip(given, forms, strict=True):
            target = check_result(shape, dtype, one, "out", self.library)
            if not self.library.writable(one):
                raise ShapeError("out is read-only, or shows one number in several places: give an array of its own")
            read = any(np.may_share_memory(target, array) for array in arguments.arrays)
            if any(np.may_share_memory(target, other) for other in targets if other is not None):
                raise ShapeError("the arrays of out share memory: give each result one of its own")
            targets.append(None if read else target)
        return tuple(targets)

    def _result_forms(self, arguments: Arguments) -> list[tuple[tuple[int, ...], str]]:
        """Shape and dtype of each result."""
        count = self.program.reduction.count
        rows = arguments.sizes[self._rows]
        forms = []
        for output in self.program.outputs:
            dim = output.dim // (count or 1)
            row = (dim,) if count is None else (count, dim) if dim > 1 else (count,)
            forms.append(((*arguments.batch, rows, *row), "int64" if output.kind == INDEX else arguments.dtype))
        return forms

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

"""A report on a routine: what it computes, and how."""

from __future__ import annotations

from dataclasses import asdict

from clreduce.call.base import RoutineBase
from clreduce.call.derivative import gradients_of
from clreduce.call.pruning.running import LAST
from clreduce.call.work import computed
from clreduce.errors import NotDifferentiableError
from clreduce.ir.expr import topological
from clreduce.ir.rewrite import simplify
from clreduce.ir.show import show_shared, tree
from clreduce.program import Gradient, Source
from clreduce.reductions.reduction import Skips
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan


def explain(routine: RoutineBase, dtype: str, device: Device) -> str:
    """Formula, gradients, schedule and source of ``routine`` for ``dtype`` on ``device``."""
    plan = routine.plan(dtype, device)
    reduced, kept = ("j", "i") if routine.axis == 1 else ("i", "j")
    return "\n".join(
        [
            _title("Formula"),
            routine._texts[0],
            *(f"formula2: {text}" for text in routine._texts[1:]),
            f"arguments: {', '.join(str(variable) for variable in routine.variables)}",
            f"{routine.program.reduction.name} over {reduced}, one row of {routine.program.outputs[0].dim} per {kept}",
            *([] if routine.axis == 1 else ["below, i stands for the index that is kept and j for the reduced one"]),
            "",
            *(tree(value, _names(routine)) for value in routine.program.values),
            "",
            _title("Simplified formula"),
            show_shared(simplify(routine.program.values), _names(routine)),
            *_rewritten(routine),
            "",
            _title("Gradients"),
            *_gradients(routine),
            "",
            _title("Pairs that are skipped"),
            *_skipped(routine),
            "",
            _title("Schedule"),
            f"device: {device}",
            f"dtype:  {dtype}",
            f"from:   {'measurements, by clreduce.tune' if plan.tuned else 'the default policy'}",
            f"functions: {_functions(plan)}",
            *(f"{name}: {value}" for name, value in asdict(plan.schedule).items()),
            "",
            _title("Kernels"),
            plan.source,
        ]
    )


def _functions(plan: Plan) -> str:
    """A line that names the elementary functions that the kernels call."""
    names = plan.device.facts.native_functions
    if not names or plan.signature.full or plan.signature.dtype != "float32":
        return "clreduce's own"
    return f"{', '.join(names)} of the hardware, seen to be within their bounds; else clreduce's own"


_RULES = {
    Skips.NONE: "no rule tells which terms of {name} may be skipped: all pairs are visited",
    Skips.ABOVE: "blocks of pairs whose terms are all larger than those that are kept, exactly",
    Skips.BELOW: "blocks of pairs whose terms are all smaller than those that are kept, exactly",
    Skips.ZEROS: "blocks of pairs whose terms are all 0, or all not 0, exactly",
    Skips.HOLDING: "blocks of pairs whose terms are all 0, or all not 0, exactly",
    Skips.SMALL: "with atol or rtol, blocks of pairs whose terms add up to less than the tolerance",
    Skips.SMALL_EXPONENTIALS: "with atol or rtol, blocks of pairs whose exponentials change less than the tolerance",
}


def _skipped(routine: RoutineBase) -> list[str]:
    """Lines that say which pairs a call may skip, and how many pairs the last such call visited."""
    reduction = routine.program.reduction
    lines = [_RULES[reduction.skips].format(name=reduction.name)]
    if reduction.skips.selects and reduction.tangent is not None:
        lines.append("derivatives of large calls visit only the pairs that were selected")
    if reduction.skips:
        without = {node.op.name for node in topological(routine.program.values) if node.args and node.op.bounds is None}
        if without:
            lines.append(f"bounds know the range of these operations only: {', '.join(sorted(without))}")
        last = LAST.get(routine.program)
        if last is None:
            lines.append("no call has tried it yet")
        elif last.reason:
            lines.append(f"the last call that tried it visited all {last.pairs:,} pairs: {last.reason}")
        else:
            error = f"; no result differs by more than {last.error:.3g} for it" if reduction.skips.approximate else ""
            part = last.visited / max(last.pairs, 1)
            lines.append(f"the last call visited {last.visited:,} of {last.pairs:,} pairs ({part:.2%}){error}")
    return [*lines, *_skipped_by_gradients(routine)]


def _skipped_by_gradients(routine: RoutineBase) -> list[str]:
    """Lines that say how many pairs the last gradients visited, if they tried to skip some."""
    try:
        gradients = gradients_of(routine.program, tuple(range(len(routine.program.slots))))
    except NotDifferentiableError:
        return []
    lines, names = [], _names(routine)
    for gradient in gradients:
        last = LAST.get(gradient.program)
        if last is not None:
            of = ", ".join(names[slot] for slot in gradient.wrt)
            reason = f": {last.reason}" if last.reason else ""
            lines.append(f"the last gradient in {of} visited {last.visited:,} of {last.pairs:,} pairs{reason}")
    return lines


def _title(text: str) -> str:
    return f"{text}\n{'-' * len(text)}"


def _rewritten(routine: RoutineBase) -> list[str]:
    if routine.options.fast is None:
        return []
    rewritten = computed(routine.program, routine.options)
    text = "nothing to rewrite" if rewritten == routine.program else show_shared(rewritten.values, _names(routine))
    return ["", f"computed, with fast={routine.options.fast!r}, as", text]


def _gradients(routine: RoutineBase) -> list[str]:
    try:
        gradients = gradients_of(routine.program, tuple(range(len(routine.program.slots))))
    except NotDifferentiableError as error:
        return [str(error)]
    lines = []
    for gradient in gradients:
        names = {n: _source_name(routine, source) for n, source in enumerate(gradient.sources)}
        lines += [_what(routine, gradient), show_shared(computed(gradient.program, routine.options).values, names), ""]
    return lines[:-1]


def _names(routine: RoutineBase) -> dict[object, str]:
    """The caller's name of the variable in each slot."""
    by_slot = {routine._slot_of(variable.position): variable for variable in routine.variables}
    return {slot: used.name or f"argument_{used.position}" for slot, used in by_slot.items() if slot is not None}


def _source_name(routine: RoutineBase, source: Source) -> str:
    if source.role == "input":
        return _names(routine)[source.number]
    return source.role if source.number == 0 else f"{source.role}_{source.number}"


def _what(routine: RoutineBase, gradient: Gradient) -> str:
    names = ", ".join(_names(routine)[slot] for slot in gradient.wrt)
    kept, reduced = ("i", "j") if routine.axis == 1 else ("j", "i")
    over = f"{reduced}, then over {kept}" if gradient.summed_rows else kept if gradient.flipped else reduced
    return f"in {names}: one kernel, a Sum over {over} of"

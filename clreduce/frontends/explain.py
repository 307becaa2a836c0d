"""What a routine computes and how, as text for a person."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from clreduce.errors import NotDifferentiableError
from clreduce.frontends.derivative import gradients_of
from clreduce.ir.show import show_shared, tree
from clreduce.runtime.device import Device

if TYPE_CHECKING:
    from clreduce.frontends.genred import Genred
    from clreduce.program import Gradient


def explain(routine: Genred, dtype: str, device: Device) -> str:
    """Formula, gradients, schedule and source of ``routine`` for ``dtype`` on ``device``."""
    plan = routine.plan(dtype, device)
    reduced, kept = ("j", "i") if routine.axis == 1 else ("i", "j")
    return "\n".join(
        [
            _title("Formula"),
            f"{routine.formula}",
            f"arguments: {', '.join(str(variable) for variable in routine.variables)}",
            f"{routine.reduction_op} over {reduced}, one row of {routine.program.outputs[0].dim} per {kept}",
            *([] if routine.axis == 1 else ["below, i stands for the index that is kept and j for the reduced one"]),
            "",
            tree(routine.expr),
            "",
            _title("Gradients"),
            *_gradients(routine),
            "",
            _title("Schedule"),
            f"device: {device}",
            f"dtype:  {dtype}",
            *(f"{name}: {value}" for name, value in asdict(plan.schedule).items()),
            "",
            _title("Kernels"),
            plan.source,
        ]
    )


def _title(text: str) -> str:
    return f"{text}\n{'-' * len(text)}"


def _gradients(routine: Genred) -> list[str]:
    try:
        gradients = gradients_of(routine.program, tuple(range(len(routine.program.slots))))
    except NotDifferentiableError as error:
        return [str(error)]
    lines = []
    for gradient in gradients:
        lines += [_what(routine, gradient), show_shared(gradient.program.values), ""]
    return lines[:-1]


def _what(routine: Genred, gradient: Gradient) -> str:
    positions = [variable.position for variable in routine.variables for slot in gradient.wrt
                 if routine.slot_of(variable.position) == slot]  # fmt: skip
    names = ", ".join(routine.variables[at].name or f"argument {at}" for at in positions)
    sources = ", ".join(f"{n} = {source.role} {source.number}" for n, source in enumerate(gradient.sources))
    over = (
        "both indices" if gradient.summed_rows else "the index that was kept" if gradient.flipped else "the same index"
    )
    return f"in {names}: one kernel, a Sum over {over}, with variables {sources}"

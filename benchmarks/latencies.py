"""How many waves a scheduler of an NVIDIA GPU needs so that none of its cycles is lost to waiting: a simulation.

A wave is 32 work-items in step. Its instructions issue in order, each when its operands are there and its unit is free;
a scheduler issues one instruction per cycle, of its waves in turn. Occupancy is a means to that end: a wave with many
independent pairs waits little, and then a few waves do what many would, with the registers that more pairs take.

The latencies are what microbenchmarks of Volta to Hopper agree on, rounded up. Caches are not simulated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from chips import Chip
from machine_code import Instruction, class_of

LATENCY = {"FP32": 4, "integer": 5, "FP64": 9, "special": 24, "local": 33, "global": 270, "control": 6}
"""Cycles from the issue of an instruction to that of one that needs its result. Global: from the second-level cache."""
TILE = 900
"""Cycles that a work-group waits for a tile of columns from memory, barriers included."""
BUSY = 0.97
"""Part of what as many waves as possible do, from which on more are not worth their registers."""
_TURNS = 3
"""Turns of the loop that each wave makes; the first third is not timed."""
_MOST_INSTRUCTIONS = 3000
"""Of a turn, that are simulated: loops over components repeat themselves."""
_REGISTER = re.compile(r"\b(U?R\d+|U?P\d+)\b")
_WITHOUT_RESULT = ("ST", "BRA", "BAR", "EXIT", "BSYNC", "BSSY", "NOP", "WARPSYNC")
_OF_TWO_REGISTERS = ("DADD", "DMUL", "DFMA", "DSETP", "CS2R", "IMAD.WIDE")


@dataclass(frozen=True)
class Step:
    """What the simulation knows of an instruction."""

    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def step_of(instruction: Instruction) -> Step:
    """Which registers an instruction of NVIDIA's reads and writes; wide operands are several registers."""
    name, text = instruction.name, instruction.text
    condition = re.match(r"@!?(U?P\d+)", text)
    operands = text[text.index(name) + len(name) :].rstrip(" ;").split(",")
    width = 2 if name.startswith(_OF_TWO_REGISTERS) else {"128": 4, "64": 2}.get(name.rpartition(".")[2], 1)
    results = 0 if name.startswith(_WITHOUT_RESULT) else 1
    while results and results < len(operands) and re.match(r" *U?P\d", operands[results]):
        results += 1  # comparisons and sums with a carry have several
    reads, writes = [condition.group(1)] if condition else [], []
    for n, operand in enumerate(operands):
        for register in _REGISTER.findall(operand):
            # Addresses are one register; what is stored, and operands in double precision, are as wide as results.
            wide = n < results or (name.startswith(("D", "ST")) and "[" not in operand)
            (writes if n < results else reads).extend(_several(register, width if wide and "P" not in register else 1))
    return Step(class_of(instruction, "nvidia"), tuple(reads), tuple(writes))


def _several(register: str, count: int) -> list[str]:
    stem, number = register.rstrip("0123456789"), int(register.lstrip("URP"))
    return [f"{stem}{number + k}" for k in range(count)]


def cycles_of(steps: Sequence[Step], waves: int, chip: Chip) -> float:
    """Cycles that a scheduler takes for a turn of the loop of each of so many waves, once they are under way."""
    length = len(steps)
    reads, writes, kinds = [s.reads for s in steps], [s.writes for s in steps], [s.kind for s in steps]
    latency = [LATENCY[kind] for kind in kinds]
    busy = [chip.cycles.get(kind, 1.0) for kind in kinds]
    ready: list[dict[str, float]] = [{} for _ in range(waves)]
    # Waves begin all over the loop, as they do after a while.
    at = [wave * length // waves for wave in range(waves)]
    earliest = [0.0] * waves
    free: dict[str, float] = dict.fromkeys(kinds, 0.0)
    now, current, begun = 0.0, 0, 0.0
    total = _TURNS * waves * length
    for issued in range(total):
        if issued == total // _TURNS:
            begun = now
        # The wave that can go on first; of several the next one in turn.
        best, best_time = current, float("inf")
        for wave in (*range(current + 1, waves), *range(current + 1)):
            time = max(earliest[wave], free[kinds[at[wave]]], now)
            if time < best_time:
                best, best_time = wave, time
                if time == now:
                    break
        step, known = at[best], ready[best]
        for register in writes[step]:
            known[register] = best_time + latency[step]
        free[kinds[step]] = best_time + busy[step]
        now, current = best_time + 1, best
        at[best] = following = (step + 1) % length
        earliest[best] = max([now, *[known.get(register, 0.0) for register in reads[following]]])
    return (now - begun) / ((_TURNS - 1) * waves)


@dataclass(frozen=True)
class Waiting:
    """How far latencies are hidden."""

    waves: int
    """That a scheduler holds."""
    enough: int
    """Fewest waves with which it does `BUSY` of what all that it could hold would do."""
    cycles: float
    """Of a scheduler, for one turn of the loop of one of the waves that it holds."""


def waiting(order: Sequence[Instruction], chip: Chip, waves: int) -> Waiting:
    """How long a turn of a loop of these instructions takes with so many waves, and how many would be enough."""
    steps = [step_of(instruction) for instruction in order[:_MOST_INSTRUCTIONS]]
    scale = len(order) / len(steps)
    goal = cycles_of(steps, chip.most_waves, chip) / BUSY
    low, high = 1, chip.most_waves
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cycles_of(steps, middle, chip) <= goal else (middle + 1, high)
    return Waiting(waves, low, scale * cycles_of(steps, waves, chip))


def waves_for_tiles(turn: float, turns: float, waves_of_group: int) -> int:
    """Waves of a scheduler with which others visit pairs while a work-group waits for its next tile of columns.

    ``turn``: cycles of one; ``turns``: in a tile; ``waves_of_group``: of a group, at each scheduler.
    """
    groups = 1 + math.ceil(TILE / (turn * turns * waves_of_group))
    return groups * waves_of_group

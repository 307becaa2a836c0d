"""Instructions per pair of GPU kernels, counted in machine code, on any machine: nothing runs.

A kernel sum is bound by the instructions that it issues for each pair (i, j), since its data come from registers and
local memory. Of two kernels for one chip, the one that issues fewer is the faster one, unless registers spill or one
unit, such as that of exponentials, is used up first.

    python benchmarks/isa.py                                         # every program for NVIDIA's sm_90
    python benchmarks/isa.py gaussian-d3 --targets sm_90,gfx90a      # one, and for an AMD processor
    python benchmarks/isa.py gaussian-d3 --schedule rows=4,cols=4    # another schedule
    python benchmarks/isa.py --check                                 # no worse than isa_counts.csv says
    python benchmarks/isa.py --record                                # write that file again

Counted is one turn of the loop over columns, on the way on which no guard holds: a list that takes none of the new
terms, a maximum that stays. Per pair are also the bound, which is the unit that is busy for the largest part of the
time with the cycles that it takes, and the occupancy. The tools are those of offline.py.

Of NVIDIA's processors the report also says how many waves a scheduler holds, how many are enough to hide all latencies
(latencies.py), and the cycles that a pair takes with those that it holds. Where they are enough, more occupancy gains
nothing, and a layout that takes fewer registers issues more: that is why some layouts hold less than half of the waves.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from chips import CHIPS, Chip
from latencies import Waiting, waiting, waves_for_tiles
from machine_code import CLASSES, Instruction, amd_code, count, marked, nvidia_code
from offline import TARGETS, OfflineError, Target, compile_for, disassembled

from clreduce.codegen.lower import lower
from clreduce.codegen.render import rendered
from clreduce.codegen.schedule import Schedule, choose_schedule
from clreduce.domain import Domain
from clreduce.ir.op import variable
from clreduce.ops.arithmetic import inv
from clreduce.ops.derived import norm, squared_distance
from clreduce.ops.functions import exp
from clreduce.program import MapReduce, map_reduce, with_fast_distances

RECORDED = Path(__file__).parent / "isa_counts.csv"
_DTYPES = {"float32": "float", "float64": "double"}
_TOLERANCE = 1.01
"""How much worse than recorded a count may be: compilers of another version schedule a few instructions otherwise."""


# ----------------------------------------------------------------------------------------------------- programs


def gaussian(dim: int, width: int = 1) -> MapReduce:
    x, y, b = variable("x", dim, Domain.I), variable("y", dim, Domain.J), variable("b", width, Domain.J)
    return map_reduce([exp(-squared_distance(x, y)) * b], "Sum")[0]


def radial(kernel: str) -> MapReduce:
    """Sums of other functions of the distance of points in three dimensions."""
    x, y, b = variable("x", 3, Domain.I), variable("y", 3, Domain.J), variable("b", 1, Domain.J)
    value = {
        "laplacian": lambda: exp(-norm(x - y)),
        "cauchy": lambda: inv(1 + squared_distance(x, y)),
        "distance": lambda: norm(x - y),
    }[kernel]()
    return map_reduce([value * b], "Sum")[0]


def of_distances(reduction: str, dim: int, count: int | None = None) -> MapReduce:
    x, y = variable("x", dim, Domain.I), variable("y", dim, Domain.J)
    distance = squared_distance(x, y)
    return map_reduce([-distance if reduction == "LogSumExp" else distance], reduction, count)[0]


def gradients(dim: int, slots: list[int]) -> list[MapReduce]:
    return [gradient.program for gradient in gaussian(dim).vjp(slots)]


PROGRAMS: dict[str, Callable[[], list[MapReduce]]] = {
    "gaussian-d1": lambda: [gaussian(1)],
    "gaussian-d3": lambda: [gaussian(3)],
    "gaussian-d10": lambda: [gaussian(10)],
    "gaussian-d100": lambda: [gaussian(100)],
    "dot-d100": lambda: [with_fast_distances(gaussian(100))],
    "gaussian-d3-b3": lambda: [gaussian(3, 3)],
    "laplacian-d3": lambda: [radial("laplacian")],
    "cauchy-d3": lambda: [radial("cauchy")],
    "distance-d3": lambda: [radial("distance")],
    "logsumexp-d3": lambda: [of_distances("LogSumExp", 3)],
    "logsumexp-d10": lambda: [of_distances("LogSumExp", 10)],
    "argmin-d3": lambda: [of_distances("ArgMin", 3)],
    "argmin-d10": lambda: [of_distances("ArgMin", 10)],
    "argkmin10-d3": lambda: [of_distances("ArgKMin", 3, 10)],
    "gradient-x-d3": lambda: gradients(3, [0]),
    "gradient-x-d10": lambda: gradients(10, [0]),
    "gradients-d3": lambda: gradients(3, [0, 1, 2]),
}
"""By name; a program of several kernels that visit all pairs counts as the sum of them."""

REFERENCE = {
    ("gaussian-d1", "float32"): 5.9,
    ("gaussian-d3", "float32"): 11.5,
    ("gaussian-d10", "float32"): 29.4,
    ("gaussian-d100", "float32"): 314,
    ("gaussian-d3-b3", "float32"): 14.0,
    ("laplacian-d3", "float32"): 12.5,
    ("cauchy-d3", "float32"): 11.5,
    ("distance-d3", "float32"): 10.5,
    ("logsumexp-d3", "float32"): 19.5,
    ("logsumexp-d10", "float32"): 36.5,
    ("argmin-d3", "float32"): 13.8,
    ("argmin-d10", "float32"): 31.5,
    ("argkmin10-d3", "float32"): 160,
    ("gradient-x-d3", "float32"): 20.5,
    ("gradient-x-d10", "float32"): 75,
    ("gaussian-d3", "float64"): 30,
    ("gaussian-d100", "float64"): 375,
}
"""KeOps' CUDA kernels for sm_90, as it compiles them by default: ``-use_fast_math``, block sums, CUDA 13.0.

That of gaussian-d3 in float64 seems to be half of the truth: CUDA's exp takes 15 instructions of double precision, and
a kernel that calls it 23 of them for each pair, 69 in all."""


# ----------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class Count:
    """What the kernels of a program issue per pair."""

    classes: dict[str, float]
    registers: int
    spilled: int
    """Bytes that a work-item writes to memory because registers ran out."""
    local: int
    """Bytes of local memory of a work-group."""
    occupancy: float
    """Part of the work-items that a processor can hold at once."""
    schedule: Schedule
    cycles: dict[str, float]
    """By unit, the cycles that it is busy for the pair of each of the work-items that run in step."""
    order: tuple[Instruction, ...] = field(default=(), repr=False)
    """The instructions of one turn of the loop over columns, one after the other."""
    pairs: int = 1
    """That a work-item visits in that turn."""
    kernels: tuple[Count, ...] = ()
    """Of a program of several kernels: the count of each."""

    @property
    def issued(self) -> float:
        return sum(self.classes.values())

    @property
    def bound(self) -> str:
        """The unit that is used up first."""
        return max(self.cycles, key=lambda unit: self.cycles[unit])

    def waiting(self, chip: Chip) -> Waiting:
        """How many waves hide the latencies of one turn, and those of a tile; cycles are those of a pair."""
        if self.kernels:
            each = [kernel.waiting(chip) for kernel in self.kernels]
            tightest = min(each, key=lambda one: one.waves - one.enough)
            return replace(tightest, cycles=sum(one.cycles for one in each))
        of_loop = waiting(self.order, chip, max(1, round(self.occupancy * chip.most_waves)))
        schedule = self.schedule
        turns = schedule.tile * schedule.rows / self.pairs
        waves_of_group = max(1, schedule.group // chip.in_step // chip.schedulers)
        of_tiles = waves_for_tiles(of_loop.cycles, turns, waves_of_group)
        return replace(of_loop, enough=max(of_loop.enough, of_tiles), cycles=of_loop.cycles / self.pairs)


def count_kernel(program: MapReduce, dtype: str, target: Target, changes: dict[str, int] | None = None) -> Count:
    """Compile the pair kernel of ``program`` and count its loop; `OfflineError` if that fails.

    ``changes`` are fields of the default schedule that are to differ.
    """
    facts, real = target.facts, _DTYPES[dtype]
    schedule = replace(choose_schedule(program, real, facts), **(changes or {}))
    source = marked(rendered(lower(program, real, schedule, facts).pair))
    (kernel,) = compile_for(target, source.source).values()
    read = nvidia_code if target.vendor == "nvidia" else amd_code
    loop = count(read(disassembled(target, kernel), kernel.kernel), source.turns, target.vendor)
    pairs = loop.blocks * schedule.rows * schedule.cols * schedule.lanes
    classes = {kind: loop.classes[kind] / pairs for kind in CLASSES if loop.classes[kind]}
    chip = CHIPS[target.name]
    return Count(
        classes=classes,
        registers=kernel.registers,
        spilled=kernel.spilled,
        local=kernel.local,
        occupancy=chip.occupancy(kernel.registers, kernel.local, schedule.group),
        schedule=schedule,
        cycles=chip.busy(classes),
        order=loop.order,
        pairs=pairs,
    )


def count_program(name: str, dtype: str, target: Target, changes: dict[str, int] | None = None) -> Count:
    """The counts of all kernels of a program added up; of registers and memory the most, of occupancy the least."""
    kernels = [count_kernel(program, dtype, target, changes) for program in PROGRAMS[name]()]
    classes, cycles = Counter[str](), Counter[str]()
    for kernel in kernels:
        classes.update(kernel.classes)  # type: ignore[arg-type]
        cycles.update(kernel.cycles)  # type: ignore[arg-type]
    if len(kernels) == 1:
        return kernels[0]
    return replace(
        kernels[0],
        kernels=tuple(kernels),
        classes=dict(classes),
        cycles=dict(cycles),
        registers=max(kernel.registers for kernel in kernels),
        spilled=max(kernel.spilled for kernel in kernels),
        local=max(kernel.local for kernel in kernels),
        occupancy=min(kernel.occupancy for kernel in kernels),
    )


# -------------------------------------------------------------------------------------------------------- report

_HEAD = (
    f"{'program':15} {'dtype':8} {'target':8} {'layout':>9} {'per pair':>8} {'KeOps':>6}  {'registers':>9} "
    f"{'spilled':>7} {'local':>6} {'occupancy':>9}  {'bound':24} {'waves':14} {'cycles':>6}  by class"
)


def line(name: str, dtype: str, target: str, counted: Count, simulated: bool = True) -> str:
    """One line of the report; ``simulated``: with what waiting costs, which takes a second."""
    waves, cycles = "", ""
    if simulated and TARGETS[target].vendor == "nvidia":
        hidden = counted.waiting(CHIPS[target])
        waves, cycles = f"{hidden.waves}, enough {hidden.enough}", f"{hidden.cycles:.2f}"
    schedule, bound = counted.schedule, counted.bound
    layout = f"{schedule.rows}x{schedule.cols}/{schedule.group}"
    reference = REFERENCE.get((name, dtype)) if target == "sm_90" else None
    busiest = f"{bound}, {counted.cycles[bound]:.1f} cycles"
    kinds = ", ".join(f"{kind} {n:.2f}" for kind, n in counted.classes.items())
    return (
        f"{name:15} {dtype:8} {target:8} {layout:>9} {counted.issued:8.2f} {reference or '':>6}  {counted.registers:9} "
        f"{counted.spilled:7} {counted.local:6} {counted.occupancy:9.0%}  {busiest:24} {waves:14} {cycles:>6}  {kinds}"
    )


@dataclass(frozen=True)
class Record:
    """What a kernel took when it was recorded."""

    program: str
    dtype: str
    target: str
    issued: float
    registers: int


def read_records() -> list[Record]:
    with RECORDED.open(encoding="utf-8", newline="") as file:
        return [
            Record(row["program"], row["dtype"], row["target"], float(row["per pair"]), int(row["registers"]))
            for row in csv.DictReader(file)
        ]


def write_records(records: list[Record]) -> None:
    with RECORDED.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("program", "dtype", "target", "per pair", "registers"))
        for one in records:
            writer.writerow((one.program, one.dtype, one.target, f"{one.issued:.2f}", one.registers))


def fault(record: Record, counted: Count) -> str:
    """What is worse than recorded; "" if nothing is."""
    if counted.spilled:
        return f"{counted.spilled} bytes of registers are spilled"
    if counted.issued > _TOLERANCE * record.issued:
        return f"{counted.issued:.2f} instructions per pair; {record.issued:.2f} were recorded"
    return ""


def counted_records() -> Iterator[tuple[Record, Count]]:
    """The records, each with what its program takes now. Compilers are processes of their own, and run side by side."""
    records = read_records()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda one: count_program(one.program, one.dtype, TARGETS[one.target]), records)
        yield from zip(records, counts, strict=True)


def check() -> int:
    """Count again what was recorded; the number of kernels that became worse."""
    faults = 0
    for record, counted in counted_records():
        print(line(record.program, record.dtype, record.target, counted, simulated=False), flush=True)
        if words := fault(record, counted):
            faults += 1
            print(f"  WORSE: {words}")
    if faults:
        print(f"{faults} kernels are worse than {RECORDED.name} says. If that is meant: benchmarks/isa.py --record")
    return faults


def record() -> None:
    """Write down what the recorded kernels take now."""
    records = []
    for one, counted in counted_records():
        print(line(one.program, one.dtype, one.target, counted), flush=True)
        records.append(replace(one, issued=counted.issued, registers=counted.registers))
    write_records(records)


def _changes(text: str) -> dict[str, int]:
    pairs = [part.partition("=")[::2] for part in text.split(",") if part]
    return {name: int(value) for name, value in pairs}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(PROGRAMS)}; all if none is named")
    parser.add_argument("--dtypes", default="float32", help="of float32, float64 (default: float32)")
    parser.add_argument("--targets", default="sm_90", help=f"of {', '.join(TARGETS)} (default: sm_90)")
    parser.add_argument("--schedule", default="", help="fields that differ from the default: rows=4,cols=4,group=256")
    parser.add_argument("--check", action="store_true", help="whether the recorded kernels are worse than recorded")
    parser.add_argument("--record", action="store_true", help="record the kernels that are recorded again")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.programs) - set(PROGRAMS):
        parser.error(f"no program {', '.join(sorted(unknown))}; there are {', '.join(PROGRAMS)}")
    print(_HEAD)
    try:
        if chosen.check:
            return min(check(), 1)
        if chosen.record:
            record()
            return 0
        for target in chosen.targets.split(","):
            for dtype in chosen.dtypes.split(","):
                for name in chosen.programs or PROGRAMS:
                    counted = count_program(name, dtype, TARGETS[target], _changes(chosen.schedule))
                    print(line(name, dtype, target, counted), flush=True)
    except OfflineError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

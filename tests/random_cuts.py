"""Random programs under random cuts: whatever a call is cut into, the result is that of the whole.

`random_cuts` draws a program of `random_programs`, to which positions, ties, a batch and ranges may be added, and the
numbers that cuts are drawn from. `Cuts.verdicts` runs it and the programs of its gradients: whole, in blocks of rows
and of indices, under a limit of memory, and from states that are merged in several bracketings.
"""

from __future__ import annotations

import base64
import pickle
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from oracle import TOLERANCE, Array, scale_of
from oracle import dense as dense_of
from random_programs import LONGEST, Sample, affordable, data, random_sample
from rounding import judge

from clreduce.adapters.numpy import NUMPY
from clreduce.call.executor import OneDevice
from clreduce.call.options import Options
from clreduce.call.ranges import check_ranges
from clreduce.call.states import State
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError, OutOfMemoryError
from clreduce.ir.expr import INDEX, Expr
from clreduce.ir.op import position
from clreduce.memo import Memo
from clreduce.numpy import cluster
from clreduce.ops.indices import as_real
from clreduce.ops.shape import repeated
from clreduce.program import Gradient, MapReduce, map_reduce
from clreduce.runtime import choices
from clreduce.runtime.device import Device
from clreduce.runtime.plan_cache import PLANS
from clreduce.runtime.ranges import CheckedRanges
from clreduce.runtime.region import Region

SELECTS = ("Min", "Max", "Any", "All", "Count")
"""In the names of reductions that select or count, unless they add up what they have selected."""
MOST_LANES = 4
"""Wider vectors compile for longer, and are cut at the same places."""
Intervals = list[tuple[int, int]]


@dataclass(frozen=True)
class Cuts:
    """One random program, and the numbers that its cuts are drawn from."""

    sample: Sample
    batch: tuple[int, ...]
    shared: tuple[bool, ...]
    """For each dimension of the batch, whether every other array serves all of its indices."""
    period: int
    """Columns, and rows, repeat after so many: that makes ties. 0: they do not."""
    has_ranges: bool
    seed: int

    def blob(self) -> str:
        """The case as one word; `cuts_of` reads it."""
        return base64.b85encode(zlib.compress(pickle.dumps(self), 9)).decode()

    def __str__(self) -> str:
        return (
            f"batch {self.batch}, shared {self.shared}, period {self.period}, ranges {self.has_ranges}\n{self.sample}\n"
            f"python tests/fuzz.py --cuts --reproduce '{self.blob()}'"
        )

    def failures(self, device: Device) -> list[str]:
        """A line for each cut whose result is not that of the whole."""
        return [line for line in self.verdicts(device) if line]

    def verdicts(self, device: Device) -> list[str]:
        """For each comparison of results what is wrong, or ""."""
        random, sample = Random(self.seed), self.sample
        program, given = map_reduce(sample.values, sample.reduction, sample.count)
        ranges = self._ranges(random)
        region = Region(sample.rows, sample.columns, self.batch, ranges=ranges)
        arrays = [self._array(leaf, n) for n, leaf in enumerate(given)]
        work = Work(program, Options(), region, sample.dtype)
        with under(sample):
            return [
                f"{case.name}: {line}" if line else ""
                for case in self._cases(work, arrays, device)
                for line in case.verdicts(device, random)
            ]

    def _cases(self, work: Work, arrays: Sequence[Array], device: Device) -> Iterator[Case]:
        """The program itself, and those of its gradients in all variables."""
        yield Case("the program", work, arrays)
        program = work.program
        try:
            gradients = program.vjp(range(len(program.slots))) if program.real_outputs and program.slots else []
        except NotDifferentiableError:
            return
        run = OneDevice(device).run
        residuals = run((work.with_residuals, Memo(), arrays)) if program.residual else ()
        rng = np.random.default_rng(self.seed)
        rows = (*self.batch, work.region.rows)
        cotangents = {n: rng.uniform(-1, 1, (*rows, program.outputs[n].dim)) for n in program.real_outputs}

        def fed(gradient: Gradient) -> list[Array]:
            roles: dict[str, Any] = {"input": arrays, "residual": residuals, "cotangent": cotangents}
            slots = zip(gradient.sources, gradient.program.slots, strict=True)
            return [
                np.ascontiguousarray(roles[source.role][source.number], "int64" if slot.kind == INDEX else work.dtype)
                for source, slot in slots
            ]

        for gradient in gradients:
            once = any(slot.kind == INDEX for slot in gradient.program.slots)
            own = work.of(gradient.program, gradient.flipped, once)
            yield Case(f"the gradient in slots {gradient.wrt}", own, fed(gradient))

    def _array(self, leaf: Expr, number: int) -> Array:
        """The data of a variable, at all indices of the batch that it has of its own."""
        sample = self.sample
        own = tuple(1 if shared and number % 2 else size for size, shared in zip(self.batch, self.shared, strict=True))
        blocks = [data(leaf, sample.rows, sample.columns, sample.seed + 77 * n) for n in range(int(np.prod(own)))]
        if self.period and leaf.domain != Domain.P:
            blocks = [block[np.arange(len(block)) % self.period] for block in blocks]
        return np.ascontiguousarray(np.stack(blocks).reshape((*own, *blocks[0].shape)), sample.dtype)

    def _ranges(self, random: Random) -> CheckedRanges | None:
        if not self.has_ranges:
            return None
        rows, columns = (random_intervals(random, n) for n in (self.sample.rows, self.sample.columns))
        keep = np.random.default_rng(self.seed).random((len(rows), len(columns))) < 0.6
        given = cluster.from_matrix(np.array(rows).reshape(-1, 2), np.array(columns).reshape(-1, 2), keep)
        return check_ranges(given, {Domain.I: self.sample.rows, Domain.J: self.sample.columns}, NUMPY)


@dataclass(frozen=True)
class Case:
    """A program on all pairs, with its arrays."""

    name: str
    work: Work
    arrays: Sequence[Array]

    def verdicts(self, device: Device, random: Random) -> Iterator[str]:
        """For each comparison with the whole what is wrong, or ""."""
        work, region, executor = self.work, self.work.region, OneDevice(device)
        whole = executor.run((work, Memo(), self.arrays))
        plan = work.plan(device)
        parts = plan.parts_of(region)
        bits = plan.run(self.arrays, region, None, parts)
        for part in self._blocks(random):
            place = part.within(region, Domain.I)
            found = plan.run(self._parts_of(part), part, None, parts)
            same = all(same_bits(ours, theirs[place]) for ours, theirs in zip(found, bits, strict=True))
            told = f"rows {part.first_row} to {part.first_row + part.rows} of indices {part.first_index} differ"
            yield "" if same else told
        most = plan.bytes(region, parts).total
        for limit in (1 + most // 50, 1 + most // random.randint(2, 9), max(1, most - 1)):
            found, fits = None, limit
            while found is None:  # what is less than the smallest block is refused
                try:
                    found = OneDevice(device, fits).run((work, Memo(), self.arrays))
                except OutOfMemoryError:
                    fits *= 2
            yield from self._differences(found, whole, f"within {fits} of {most} bytes")
        rows, columns = (random_intervals(random, n) for n in (region.rows, region.columns))
        left, right = [], []
        for interval in rows:
            states = []
            for start, stop in columns:
                part = work.on(region.part(rows=interval, columns=(start, stop)))
                slots = executor.partial((part, Memo(), self._parts_of(part.region)))
                states.append(pickle.loads(pickle.dumps(State(part, slots))))
            left.append(merged(states, lambda count: 0).finish())
            right.append(merged(states, lambda count: random.randrange(count)).finish())
        axis = len(region.batch)
        one, other = (
            [np.concatenate(found, axis=axis) for found in zip(*results, strict=True)] for results in (left, right)
        )
        yield from self._differences(one, whole, f"merged from columns {columns}")
        yield from self._differences(other, one, f"in two bracketings of columns {columns}")

    def _blocks(self, random: Random) -> Iterator[Region]:
        """Blocks of rows, or of indices of the batch."""
        region = self.work.region
        for interval in random_intervals(random, region.rows):
            yield region.part(rows=interval)
        if region.batch:
            for interval in random_intervals(random, region.batch[0]):
                yield region.part(indices=(interval,))

    def _parts_of(self, part: Region) -> list[Array]:
        places = part.parts_of(self.work.region, self.work.program.slots, self.arrays)
        return [np.ascontiguousarray(array[place]) for array, place in places]

    def _differences(self, found: Sequence[Array], wanted: Sequence[Array], how: str) -> Iterator[str]:
        """For each result how it differs: by more than rounding, or at all where a reduction selects; or ""."""
        region, name = self.work.region, self.work.program.reduction.name
        selects = any(word in name for word in SELECTS) and "Sum" not in name
        for n, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
            if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
                yield f"{how}: output {n} is {ours.shape} {ours.dtype}, not {theirs.shape} {theirs.dtype}"
            elif ours.dtype.kind == "i" or selects:
                same = same_bits(ours, theirs)
                yield "" if same else f"{how}: output {n} differs, {first_difference(ours, theirs)}"
            else:
                for index in np.ndindex(*region.batch):
                    line = self._beyond_rounding(n, index, ours[index], theirs[index], [one[index] for one in found])
                    yield f"{how}: {line}" if line else ""

    def _beyond_rounding(
        self, n: int, index: tuple[int, ...], ours: Array, theirs: Array, found: Sequence[Array]
    ) -> str:
        """What is wrong with a result at an index of the batch; "" if nothing is."""
        region, program, dtype = self.work.region, self.work.program, self.work.dtype
        axes = len(region.batch)
        arrays = [
            array[tuple(0 if size == 1 else at for size, at in zip(array.shape[:axes], index, strict=True))]
            for array in self.arrays
        ]
        with np.errstate(all="ignore"):
            scale = scale_of(program, dense_of(program, arrays, region.rows, region.columns))
            near = np.abs(ours - theirs) <= scale.max(initial=0) * TOLERANCE[dtype]
        near |= (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        if near.all():
            return ""
        line = f"output {n} differs at index {index}, {first_difference(ours, theirs)}"
        if region.ranges is None:  # what overflows in one order may not in another
            verdict = judge(found, program, arrays, region.rows, region.columns, dtype, 0)
            return "; ".join([line, *verdict.wrong]) if verdict.wrong else ""
        return line


def merged(states: Sequence[State], choose: Callable[[int], int]) -> State:
    """The states of adjacent columns as one; ``choose``: which two neighbours merge next, of so many."""
    states = list(states)
    while len(states) > 1:
        at = choose(len(states) - 1)
        states[at : at + 2] = [states[at].merge(states[at + 1])]
    return states[0]


def same_bits(ours: Array, theirs: Array) -> bool:
    """Whether two arrays are the same; zeros of either sign are."""
    return np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")


def first_difference(ours: Array, theirs: Array) -> str:
    """Where two arrays differ first, and how."""
    differs = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
    at = tuple(map(int, np.argwhere(differs)[0]))
    return f"first at {at}: {ours[at]!r} and not {theirs[at]!r}"


def random_intervals(random: Random, size: int) -> Intervals:
    """[0, size) in up to four intervals, none empty; one where there is nothing."""
    ends = sorted(random.sample(range(1, size), min(random.randint(0, 3), size - 1))) if size > 1 else []
    return list(pairwise([0, *ends, size]))


@contextmanager
def under(sample: Sample) -> Iterator[None]:
    """Within, the default schedule of all programs is that of a sample, where that is affordable."""
    chosen, policy = sample.schedule, choices.choose_schedule

    def schedule(program: MapReduce, *_: Any) -> Any:
        return affordable(chosen, program)

    choices.choose_schedule = schedule
    PLANS.clear()
    try:
        yield
    finally:
        choices.choose_schedule = policy
        PLANS.clear()


def random_cuts(random: Random, has_double: bool = True) -> Cuts:
    """A random program of `random_sample`, to which positions, ties, a batch and ranges may be added."""
    sample = random_sample(random, has_double)
    values, chosen = list(sample.values), sample.schedule
    if random.randint(0, 2) == 0:
        place = as_real(position(random.choice([Domain.I, Domain.J, Domain.J])))
        values[0] = values[0] + repeated(place * random.choice([1.0, -0.5, 1e-3]), min(values[0].dim, LONGEST))
    schedule = replace(chosen, lanes=min(chosen.lanes, MOST_LANES))
    batch = random.choice([(), (), (2,), (3,), (1, 2)])
    return Cuts(
        replace(sample, values=tuple(values), schedule=schedule), batch,
        tuple(random.choice([True, False]) for _ in batch), random.choice([0, 0, 1, 4]),
        sample.columns > 0 and random.randint(0, 3) == 0, random.randint(0, 2**16),
    )  # fmt: skip


def cuts_of(blob: str) -> Cuts:
    """What `Cuts.blob` wrote."""
    cuts = pickle.loads(zlib.decompress(base64.b85decode(blob)))
    assert isinstance(cuts, Cuts)
    return cuts

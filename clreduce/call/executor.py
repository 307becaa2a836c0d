"""Executors run works on arrays: at once, or cut into what fits. Here the one for a single device.

What a cut needs is here once, for every reduction: the walk over the tree, and what happens when a driver has no more
memory.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.call.lists import fill_lists, has_gaps
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.errors import OutOfMemoryError, ScheduleError
from clreduce.ir.expr import INDEX
from clreduce.memo import Memo, memoised
from clreduce.runtime import progress
from clreduce.runtime.blocks import Parts
from clreduce.runtime.budget import Budget, budget_of, memory_limit
from clreduce.runtime.cuts import Bytes, Concatenation, Leaf, Merge, Tree, cut, grain_of, leaves
from clreduce.runtime.device import Device
from clreduce.runtime.launch import completed
from clreduce.runtime.memory import Memory, without_repeats
from clreduce.runtime.plan import PLANS, Plan
from clreduce.runtime.region import Place, Region
from clreduce.runtime.sources import BlockSource, Reader, whole

Array = np.ndarray[Any, Any]
Prepared = Memo[Any, Any]
"""What is kept between runs of one work by one executor."""
Job = tuple[Work, Prepared, Sequence[Array]]
"""A work, what is kept for it, and its arrays: one per slot, (.., rows, D), (.., columns, D) or (.., D)."""


class Executor(ABC):
    """Who runs works."""

    @abstractmethod
    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results, each of shape (batch.., rows, D), written into ``results`` if those are given."""

    @abstractmethod
    def partial(self, job: Job) -> tuple[Array, ...]:
        """What rows keep after the columns of a work: an array (batch.., rows, D) for each slot of the reduction."""

    @abstractmethod
    def prepare(self, job: Job) -> Ready:
        """How a work runs on the device, the first of several, without running it."""

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """The results of several jobs, none of which needs those of another."""
        return [self.run(job) for job in jobs]


@dataclass(frozen=True)
class Ready:
    """How a work runs on a device."""

    forgotten: int
    """How often plans had been forgotten when this was made."""
    limit: int | None
    """The limit of memory that it was made for."""
    plan: Plan
    tree: Tree | None
    """None: the whole region at once."""
    parts: Parts
    """How j is cut in kernels."""
    in_place: bool
    """Whether arrays are read and results are written where they are."""
    sources: bool
    """Whether some arrays are read block by block: then there are two blocks at a time."""


@dataclass(frozen=True)
class OneDevice(Executor):
    """Runs works on one device."""

    device: Device
    limit: int | None = None
    """Bytes that a call may take; None: as many as `memory_limit` says, or the device has."""
    deterministic: bool = False
    """Whether the order of sums follows the formula and the arrays alone (`set_deterministic`)."""

    def run(self, job: Job, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        work, prepared, arrays = job
        plain = are_plain(arrays)
        if not plain:
            arrays = with_parameters(work, arrays)
        try:
            ready = self._ready(work, prepared, arrays, plain)
        except ScheduleError as error:
            return self._run_in_tiles((work, prepared, arrays), results, error)
        if work.region.area > ready.plan.pace.most:
            with progress.shown(work.region.area):
                return self._run(work, ready, arrays, results)
        if not plain or ready.tree is not None:
            return self._run(work, ready, arrays, results)
        try:
            found = ready.plan.run(arrays, work.region, results, ready.parts if self.deterministic else None)
        except OutOfMemoryError as error:
            return self._run_smaller(work, ready, arrays, results, error)
        return completed_lists(work, found) if work.lists else found

    def _run(
        self, work: Work, ready: Ready, arrays: Sequence[Array], results: tuple[Array, ...] | None
    ) -> tuple[Array, ...]:
        if ready.tree is None:
            try:
                read = as_read(arrays, work.region)
                return completed_lists(work, ready.plan.run(read, work.region, results, self._fixed(ready)))
            except OutOfMemoryError as error:
                return self._run_smaller(work, ready, arrays, results, error)
        return Walk(self, work, ready, arrays).run(ready.tree, self._budget(ready), results)

    def _run_smaller(
        self,
        work: Work,
        ready: Ready,
        arrays: Sequence[Array],
        results: tuple[Array, ...] | None,
        error: OutOfMemoryError,
    ) -> tuple[Array, ...]:
        """The results in blocks, after a driver had no memory for the whole."""
        smaller = self._smaller(ready, Leaf(work.region), self._budget(ready), error)
        return Walk(self, work, ready, arrays).run(*smaller, results)

    def _run_in_tiles(self, job: Job, results: tuple[Array, ...] | None, error: ScheduleError) -> tuple[Array, ...]:
        """The results of a work whose rows are too long for a kernel: those of each half of their components.

        The error, where results do not fall apart into components, or one alone is too much.
        """
        work, prepared, arrays = job
        length, region, count = work.program.length, work.region, work.program.reduction.count or 1
        if length < 2:
            raise error
        given = results or tuple(
            np.empty((*region.batch, region.rows, output.dim), "int64" if output.kind == INDEX else work.dtype)
            for output in work.program.outputs
        )
        targets = [one.reshape((*region.batch, region.rows, count, length)) for one in given]
        for start, stop in ((0, length // 2), (length // 2, length)):
            tile, own, slots = prepared.fetch((start, stop), lambda: work.components(start, stop))  # noqa: B023
            for target, part in zip(targets, self.run((tile, own, [arrays[slot] for slot in slots])), strict=True):
                target[..., start:stop] = part.reshape((*target.shape[:-1], stop - start))
        return given

    def partial(self, job: Job) -> tuple[Array, ...]:
        work, prepared, arrays = job
        arrays = with_parameters(work, arrays)
        ready = self._ready(work, prepared, arrays)
        return Walk(self, work, ready, arrays).state(ready.tree or Leaf(work.region), self._budget(ready))

    def run_together(self, jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
        """As in the class above. They are waited for once: a wait takes as long as a small kernel."""
        try:
            ready = [self.prepare(job) for job in jobs]
        except ScheduleError:
            return [self.run(job) for job in jobs]
        if len(jobs) < 2 or any(each.tree is not None or each.sources for each in ready):
            return [self.run(job) for job in jobs]
        memory, area = Memory(self.device), sum(job[0].region.area for job in jobs)
        try:
            if area > ready[0].plan.pace.most:
                with progress.shown(area):
                    return completed(memory, self._launch_together, jobs, ready, memory)
            return completed(memory, self._launch_together, jobs, ready, memory)
        except OutOfMemoryError:
            return [self.run(job) for job in jobs]

    def _launch_together(self, jobs: Sequence[Job], ready: Sequence[Ready], memory: Memory) -> list[tuple[Array, ...]]:
        launched = [
            each.plan.launch(as_read(arrays, work.region), work.region, None, memory, self._fixed(each))
            for (work, _, arrays), each in zip(jobs, ready, strict=True)
        ]
        results = [each.wait() for each in launched]
        return [completed_lists(job[0], found) for job, found in zip(jobs, results, strict=True)]

    def prepare(self, job: Job) -> Ready:
        work, prepared, arrays = job
        return self._ready(work, prepared, with_parameters(work, arrays))

    def _ready(self, work: Work, prepared: Prepared, arrays: Sequence[Array], plain: bool = False) -> Ready:
        """How the work runs for these arrays. It is worked out again when plans have been forgotten, as for a schedule
        that was found faster, and for another limit."""
        moderate = work.arrangement is not None and work.arrangement.holds(arrays)
        limit = self.limit if self.limit is not None else memory_limit()
        sources = not plain and has_sources(arrays)
        in_place = limit is None and self.device.facts.shares_addresses and (plain or are_plain(arrays))
        key = (moderate, in_place, sources)
        ready: Ready | None = prepared.get(key)
        if ready is None or ready.forgotten != PLANS.forgotten or ready.limit != limit:
            forgotten, region = PLANS.forgotten, work.region
            plan = work.plan(self.device, moderate, measured=not self.deterministic)
            if self.deterministic:
                parts = plan.fixed_parts(region.columns)
            else:
                parts = plan.cut(region.rows, region.columns, region.count)[1]
            ready = Ready(forgotten, limit, plan, None, parts, in_place, sources)
            tree = self._tree(ready, region, budget_of(self.device, limit), in_place)
            if not isinstance(tree, Leaf):
                parts = ready.parts if self.deterministic else plan.parts_of(region)
                ready = replace(ready, tree=tree, parts=parts)
            prepared.keep(key, ready)
        return ready

    def _fixed(self, ready: Ready) -> Parts | None:
        """The parts of j of a call that is not cut; None: those that suit the device."""
        return ready.parts if self.deterministic else None

    def _budget(self, ready: Ready) -> Budget:
        return budget_of(self.device, ready.limit)

    def _tree(self, ready: Ready, region: Region, budget: Budget, in_place: bool = False) -> Tree:
        """How a region is cut; ``in_place``: arrays of the host count as nothing."""
        plan, parts = ready.plan, ready.parts

        def cost(part: Region) -> Bytes:
            needed = plan.bytes(part, parts, in_place)
            return replace(needed, inputs=2 * needed.inputs) if ready.sources else needed

        grain = grain_of(parts, region.columns, plan.schedule.group_rows, plan.schedule.tile)
        if self.deterministic:
            grain = replace(grain, columns=max(1, parts.length if region.ranges is None else region.columns))
        tree = cut(region, cost, budget, grain)
        if tree is None:
            rows, columns = min(grain.rows, region.rows), min(grain.columns, region.columns)
            least = cost(region.part(rows=(0, rows), columns=(0, columns), indices=tuple((0, 1) for _ in region.batch)))
            raise OutOfMemoryError(
                f"the smallest block of this call, {rows} rows by {columns} columns, takes {least.total:,} bytes ("
                f"{least.largest:,} in one buffer); {budget.total:,} ({budget.buffer:,} in one buffer) are allowed on "
                f"{self.device}: raise max_memory, use shorter vectors or another device"
            )
        return tree

    def _smaller(self, ready: Ready, leaf: Leaf, budget: Budget, error: OutOfMemoryError) -> tuple[Tree, Budget]:
        """What is tried after a leaf did not fit; the error, if nothing is left to try."""
        taken = ready.plan.bytes(leaf.region, ready.parts)
        budget = Budget(min(budget.total, taken.total), min(budget.buffer, taken.largest)).halved()
        try:
            tree = self._tree(ready, leaf.region, budget)
        except OutOfMemoryError:
            raise error from None
        if isinstance(tree, Leaf):
            raise error
        return tree, budget


class Walk:
    """One run of a work that is cut."""

    def __init__(self, executor: OneDevice, work: Work, ready: Ready, arrays: Sequence[Array]) -> None:
        self._executor, self._work, self._ready, self._arrays = executor, work, ready, arrays
        self._targets: tuple[Array, ...] = ()
        """Where results or states of the whole region are written."""
        self._of_states = False
        self._reader: Reader | None = None
        self._following: dict[Region, Region] = {}
        """The leaf after each leaf, which is read while kernels work on this one."""

    @contextlib.contextmanager
    def _reading(self, tree: Tree) -> Iterator[None]:
        """Arrays that are read block by block are read ahead."""
        if not self._ready.sources:
            yield
            return
        regions = [leaf.region for leaf in leaves(tree)]
        self._following = dict(itertools.pairwise(regions))
        self._reader = Reader()
        try:
            yield
        finally:
            self._reader.close()

    def run(self, tree: Tree, budget: Budget, results: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The results of the whole region."""
        results = self._ready.plan.new_results(self._work.region) if results is None else results
        self.write_to(results)
        with self._reading(tree):
            self._walk(tree, budget)
        return results

    def state(self, tree: Tree, budget: Budget) -> tuple[Array, ...]:
        """The state of the whole region."""
        states = self._ready.plan.neutral_state(self._work.region)
        self.write_to(states, of_states=True)
        with self._reading(tree):
            self._walk(tree, budget)
        return states

    def write_to(self, targets: tuple[Array, ...], of_states: bool = False) -> None:
        """Name the arrays of the whole region into which results or states are computed."""
        rows = (*self._work.region.batch, self._work.region.rows)
        # The length of a row is counted, for NumPy does not infer it where there are no rows.
        self._targets = tuple(target.reshape((*rows, math.prod(target.shape[len(rows) :]))) for target in targets)
        self._of_states = of_states

    def compute(self, part: Region) -> None:
        """Compute a part of the region into its place."""
        budget = self._executor._budget(self._ready)
        tree = self._executor._tree(self._ready, part, budget, self._ready.in_place)
        with self._reading(tree):
            self._walk(tree, budget)

    def _walk(self, tree: Tree, budget: Budget) -> None:
        """Compute what a tree is of, into its place."""
        plan, parts, region = self._ready.plan, self._ready.parts, tree.region
        if isinstance(tree, Concatenation):
            for child in tree.children:
                self._walk(child, budget)
        elif isinstance(tree, Merge) or self._of_states:
            state: tuple[Array, ...] = ()
            for leaf in tree.children if isinstance(tree, Merge) else [tree]:
                state = self._partial(leaf, state, budget)
            self._write(region, lambda views: state if self._of_states else plan.finish(state, region, views))
        else:
            try:
                arrays = self.arrays_of(region)
                self._write(region, lambda views: self._told(region, plan.run, arrays, region, views, parts))
            except OutOfMemoryError as error:
                self._walk(*self._executor._smaller(self._ready, tree, budget, error))

    def _partial(self, leaf: Leaf, state: tuple[Array, ...], budget: Budget) -> tuple[Array, ...]:
        """The state after the columns of a leaf, whose rows are those of the state."""
        try:
            arrays, plan = self.arrays_of(leaf.region), self._ready.plan
            return self._told(leaf.region, plan.partial, arrays, leaf.region, self._ready.parts, state)
        except OutOfMemoryError as error:
            tree, smaller = self._executor._smaller(self._ready, leaf, budget, error)
            if not isinstance(tree, Merge):  # so few bytes that rows would be cut, too, but their state is one array
                raise
            for part in tree.children:
                state = self._partial(part, state, smaller)
            return state

    def _told(self, region: Region, run: Callable[..., tuple[Array, ...]], *arguments: Any) -> tuple[Array, ...]:
        """What ``run`` gives for a leaf, after which the call has come as far as if nobody had told its launches."""
        call = progress.current()
        if call is None:
            return run(*arguments)
        own = progress.Part(call, region.area)
        with progress.working_for(own):
            found = run(*arguments)
        own.complete()
        return found

    def arrays_of(self, region: Region) -> list[Array]:
        """The parts of the arrays that a region reads."""
        reader = self._reader
        if reader is None:
            return as_read([array[place] for array, place in self._places(region)], region)
        parts = []
        for array, place in self._places(region):
            parts.append(reader.read(array, place) if type(array) is BlockSource else array[place])
        following = self._following.get(region)
        if following is not None:
            for array, place in self._places(following):
                if type(array) is BlockSource:
                    reader.begin(array, place)
        return as_read(parts, region)

    def _places(self, region: Region) -> Iterator[tuple[Any, Place]]:
        """Each array, and where the part is that a region reads."""
        return region.parts_of(self._work.region, self._work.program.slots, self._arrays)

    def _write(self, region: Region, compute: Callable[[tuple[Array, ...]], tuple[Array, ...]]) -> None:
        """Have the results or states of a region computed into their place."""
        place = region.within(self._work.region, Domain.I)
        views = tuple(target[place] for target in self._targets)
        found = compute(tuple(view if view.flags.c_contiguous else np.empty(view.shape, view.dtype) for view in views))
        if not self._of_states:
            found = completed_lists(self._work.on(region), found)
        for view, array in zip(views, found, strict=True):
            if array is not view:
                view[...] = array


_PLAIN: Memo[Device, OneDevice] = Memo()


def plain_executor(device: Device) -> OneDevice:
    """`one_device` without options."""
    return _PLAIN.get(device) or _PLAIN.keep(device, one_device(device))


@memoised(64)
def one_device(device: Device, limit: int | None = None, deterministic: bool = False) -> OneDevice:
    """The executor of a device; the same one each time."""
    return OneDevice(device, limit, deterministic)


def has_sources(arrays: Sequence[Any]) -> bool:
    """Whether some of them are read block by block."""
    return any(type(array) is BlockSource for array in arrays)


def with_parameters(work: Work, arrays: Sequence[Any]) -> Sequence[Any]:
    """Arrays whose parameters are in memory: those are needed as a whole."""
    if not has_sources(arrays):
        return arrays
    return [
        whole(array) if slot.domain == Domain.P else array
        for slot, array in zip(work.program.slots, arrays, strict=True)
    ]


def are_plain(arrays: Sequence[Any]) -> bool:
    """Whether all of them are in memory as kernels read them; on the path of every call."""
    for array in arrays:  # noqa: SIM110 (a generator takes three times as long)
        if type(array) is not np.ndarray or not array.flags.c_contiguous:
            return False
    return True


def as_read(arrays: Sequence[Any], region: Region) -> list[Array]:
    """Arrays as kernels read them: in memory, contiguous, and those that repeat along a batch only once."""
    return [
        array
        if type(array) is not BlockSource and array.flags.c_contiguous
        else np.ascontiguousarray(without_repeats(whole(array), len(region.batch)))
        for array in arrays
    ]


def completed_lists(work: Work, results: tuple[Array, ...]) -> tuple[Array, ...]:
    """Results of kernels with what those leave to the host, in place: indices of terms that are infinite."""
    if not work.lists:
        return results
    region = work.region
    for number in work.lists:
        result = results[number]
        if has_gaps(result):
            places = result.reshape((*region.batch, region.rows, work.program.reduction.count, -1))
            fill_lists(places, region.first_column, region.columns, region.pairs)
            if not np.may_share_memory(places, result):
                result[...] = places.reshape(result.shape)
    return results

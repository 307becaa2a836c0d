"""`Walk`: one run of a work that is cut into blocks, leaf by leaf."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clreduce.call.feeding import as_read, completed_lists, has_order
from clreduce.call.ready import Ready
from clreduce.call.work import Work
from clreduce.domain import Domain
from clreduce.errors import OutOfMemoryError
from clreduce.runtime import progress
from clreduce.runtime.budget import Budget
from clreduce.runtime.cuts import Concatenation, LeafRegion, MergedColumns, Tree, leaves
from clreduce.runtime.region import Region, Slices
from clreduce.runtime.resident import assign
from clreduce.runtime.shared_buffers import SharedBuffers
from clreduce.runtime.sources import BlockSource, Reader
from clreduce.typing import Array


class Walk:
    """One run of a work that is cut along rows, columns and indices of a batch."""

    def __init__(self, work: Work, ready: Ready, arrays: Sequence[Array], begin: tuple[Array, ...] = ()) -> None:
        """``begin`` is the state of all rows before the columns of this work; the neutral state if it is empty."""
        self._work, self._ready, self._arrays, self._begin = work, ready, arrays, begin
        self._targets: tuple[Array, ...] = ()
        """The arrays of the whole region into which results or states are written."""
        self._of_states = False
        self._reader: Reader | None = None
        self._following: dict[Region, Region] = {}
        """The next leaf for each leaf. It is read while kernels work on the current one."""
        self._parts: dict[int, tuple[Slices, Array]] = {}
        """For each slot the part that the last leaf has read, and its place. Often the next leaf reads it too."""
        self.shared = SharedBuffers()
        """The arrays of a leaf that stay on the device."""

    @contextlib.contextmanager
    def _reading(self, tree: Tree) -> Iterator[None]:
        """Read block sources ahead inside this context."""
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
        """Set the arrays of the whole region into which results or states are computed."""
        rows = (*self._work.region.batch, self._work.region.rows)
        # NumPy cannot infer the length of a row with -1 if there are no rows.
        self._targets = tuple(target.reshape((*rows, math.prod(target.shape[len(rows) :]))) for target in targets)
        self._of_states, self.shared.keeps_states = of_states, not of_states

    def compute(self, part: Region) -> None:
        """Compute a part of the region into its place."""
        budget = self._ready.budget
        tree = self._ready.cut(part, budget, self._ready.in_place)
        with self._reading(tree):
            self._walk(tree, budget)

    def _walk(self, tree: Tree, budget: Budget) -> None:
        """Compute the region of a tree into its place."""
        plan, parts, region = self._ready.plan, self._ready.parts, tree.region
        if isinstance(tree, Concatenation):
            for child in tree.children:
                self._walk(child, budget)
        elif isinstance(tree, MergedColumns) or self._of_states:
            state = tuple(array[region.within(self._work.region, Domain.I)].copy() for array in self._begin)
            for leaf in tree.children if isinstance(tree, MergedColumns) else [tree]:
                state = self._partial(leaf, state, budget)
            shared = self.shared
            self._write(
                region, lambda views: state if self._of_states else plan.finish(state, region, views, shared=shared)
            )
        else:
            try:
                arrays, shared = self.arrays_of(region), self.shared
                self._write(region, lambda views: self._counted(region, plan.run, arrays, region, views, parts, shared))
            except OutOfMemoryError as error:
                self._walk(*self._ready.smaller(tree, budget, error))

    def _partial(self, leaf: LeafRegion, state: tuple[Array, ...], budget: Budget) -> tuple[Array, ...]:
        """The state after the columns of a leaf. The leaf and the state have the same rows."""
        try:
            arrays, plan = self.arrays_of(leaf.region), self._ready.plan
            return self._counted(leaf.region, plan.partial, arrays, leaf.region, self._ready.parts, state, self.shared)
        except OutOfMemoryError as error:
            tree, smaller = self._ready.smaller(leaf, budget, error)
            # There is so little memory that rows would be cut, too: one state has all.
            if not isinstance(tree, MergedColumns):
                raise
            for part in tree.children:
                state = self._partial(part, state, smaller)
            return state

    def _counted(self, region: Region, run: Callable[..., tuple[Array, ...]], *arguments: Any) -> tuple[Array, ...]:
        """The results of ``run`` for a leaf. The progress of the call then includes all pairs of the leaf."""
        call = progress.current()
        if call is None:
            return run(*arguments)
        own = progress.PartOfCall(call, region.area)
        with progress.working_for(own):
            results = run(*arguments)
        own.complete()
        return results

    def arrays_of(self, region: Region) -> list[Array]:
        """The parts of the arrays that a region reads. Parts that the last region has read are the same objects."""
        places = list(self._places(region))
        self._parts = {slot: part for slot, part in self._parts.items() if part[0] == places[slot][1]}
        for slot, (array, place) in enumerate(places):
            if slot not in self._parts:
                reader = self._reader if type(array) is BlockSource else None
                part = array[place] if reader is None else reader.read(array, place)
                self._parts[slot] = (place, as_read([part], region)[0])
        following = self._following.get(region)
        if following is not None and self._reader is not None:
            for slot, (array, place) in enumerate(self._places(following)):
                if type(array) is BlockSource and place != self._parts[slot][0]:
                    self._reader.begin(array, place)
        arrays = [self._parts[slot][1] for slot in range(len(places))]
        self.shared.keep_only(arrays)
        return arrays

    def _places(self, region: Region) -> Iterator[tuple[Any, Slices]]:
        """Each array, with the place of the part that a region reads."""
        return region.parts_of(self._work.region, self._work.program.slots, self._arrays)

    def _write(self, region: Region, compute: Callable[[tuple[Array, ...]], tuple[Array, ...]]) -> None:
        """Compute the results or states of a region into their place in the targets."""
        place, device = region.within(self._work.region, Domain.I), self._ready.plan.device
        views = tuple(target[place] for target in self._targets)
        results = compute(
            tuple(view if has_order(view) else device.new_array(view.shape, view.dtype) for view in views)
        )
        if not self._of_states:
            results = completed_lists(self._work.on(region), results)
        for view, array in zip(views, results, strict=True):
            if array is not view:
                assign(view, array)

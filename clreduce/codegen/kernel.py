"""`Kernel`: the statements of each stage, the arguments and the sizes. A template reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.frame import TILE_BEGIN
from clreduce.codegen.sorting import LimitFacts, Sorting
from clreduce.codegen.tree import Name, Statement


@dataclass(frozen=True)
class Argument:
    """A buffer of the kernel. ``type`` is the type of its elements: ``real``, ``wide`` or ``long``."""

    name: str
    type: str
    written: bool = False


@dataclass(frozen=True)
class ColumnInput:
    """A j-variable in the inner loop: a pointer that follows j. If ``staged``, it points to local memory."""

    name: str
    type: str
    dim: int
    staged: bool = False


@dataclass(frozen=True)
class Helper:
    """A function of ``nearest.cl.mako`` before the kernel, with the facts that its template needs."""

    name: str
    facts: LimitFacts | Sorting | None = None


@dataclass(frozen=True)
class Kernel:
    """One kernel, ready for its template."""

    name: str
    template: str
    dtype: str
    lanes: int
    functions: frozenset[str]
    """The functions of clreduce that the kernel calls."""
    arguments: tuple[Argument, ...]
    rows: int = 1
    cols: int = 1
    group: int = 1
    tile: int = 0
    wide: frozenset[str] | None = None
    """The functions of clreduce that the kernel calls in double precision, if its accumulators are double and its
    formulas single precision; else None."""
    members: int = 1
    """The number of terms of a state that the merge kernel inserts one by one; 1 if it merges whole states."""
    joined: int = 0
    """The number of slots of the state that a merge kernel stores instead of results. It may resume from the stored
    state."""
    batch: tuple[Statement, ...] = ()
    """Statements that move every pointer to this work-item's index of the batch; empty without a batch."""
    task: int = 0
    """The most rows of a task of a block-sparse call, which the table ``tasks`` lists; 0 if all pairs are visited."""
    origin: tuple[str, ...] = ()
    """Further arguments: the numbers of the first row and the first column, if the formulas need them."""
    column_inputs: tuple[ColumnInput, ...] = ()
    once: tuple[Statement, ...] = ()
    per_i: tuple[Statement, ...] = ()
    state: tuple[Statement, ...] = ()
    """Declarations of the state of each row, at its neutral value."""
    reset: tuple[Statement, ...] = ()
    """Declarations of the partial sums of a tile, at their neutral value; empty if the reduction is not blocked."""
    body: tuple[Statement, ...] = ()
    """The visit of one block of ``cols`` columns."""
    tail: tuple[Statement, ...] = ()
    """The visit of one column, for columns that do not fill a block."""
    flush: tuple[Statement, ...] = ()
    """The merge of the partial sums of a tile into the state."""
    drain: tuple[Statement, ...] = ()
    """After all columns: the terms that still wait in queues enter the state."""
    helpers: tuple[Helper, ...] = ()
    """Functions before the kernel."""
    tile_start: tuple[Statement, ...] = ()
    """The statements at the start of a tile. They may assign `TILE_END`, the column at which the next tile begins."""
    first_column: Name = TILE_BEGIN
    """The first column of a tile that is visited block by block."""
    finish: tuple[tuple[Statement, ...], ...] = ()
    """For each row of the register tile, the statements that compute and store its results."""

    @property
    def reads_roots(self) -> bool:
        """Whether exponentials read the table of roots of 2 in local memory."""
        return "root_of_2" in self.functions

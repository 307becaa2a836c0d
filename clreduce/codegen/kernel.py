"""`Kernel`: staged statements, arguments and sizes. All that a template may read; no operation is left in it."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.frame import TILE_BEGIN
from clreduce.codegen.sorting import LimitFacts, Sorting
from clreduce.codegen.tree import Name, Statement


@dataclass(frozen=True)
class Argument:
    """A buffer of the kernel: ``type`` is the element type in the buffer, ``real``, ``wide`` or ``long``."""

    name: str
    type: str
    written: bool = False


@dataclass(frozen=True)
class ColumnInput:
    """A j-variable as the inner loop sees it: a pointer that follows j; ``staged``: through local memory."""

    name: str
    type: str
    dim: int
    staged: bool = False


@dataclass(frozen=True)
class Helper:
    """A function of ``nearest.cl.mako`` that stands before the kernel, with what the template needs to know for it."""

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
    """Own functions that it calls."""
    arguments: tuple[Argument, ...]
    rows: int = 1
    cols: int = 1
    group: int = 1
    tile: int = 0
    wide: frozenset[str] | None = None
    """Own functions that it calls in double precision, where it keeps sums so and computes formulas in single."""
    members: int = 1
    """Terms in each part's state that the merge kernel takes one by one; 1: it takes the state whole."""
    joined: int = 0
    """Slots of the states that a merge kernel stores instead of results; it may resume from what is stored there."""
    batch: tuple[Statement, ...] = ()
    """Moves every pointer to this work-item's index of the batch; empty without a batch."""
    task: int = 0
    """Rows, at most, of one task of a block-sparse call, which the table ``tasks`` lists; 0: all pairs are visited."""
    origin: tuple[str, ...] = ()
    """Further sizes: what numbers the first row and the first column have, where that matters."""
    column_inputs: tuple[ColumnInput, ...] = ()
    once: tuple[Statement, ...] = ()
    per_i: tuple[Statement, ...] = ()
    state: tuple[Statement, ...] = ()
    """Declarations of what each row keeps, at its neutral value."""
    reset: tuple[Statement, ...] = ()
    """Partial sums of a tile, at their neutral value; empty if the reduction is not blocked."""
    body: tuple[Statement, ...] = ()
    """One block of ``cols`` columns."""
    tail: tuple[Statement, ...] = ()
    """One column."""
    flush: tuple[Statement, ...] = ()
    drain: tuple[Statement, ...] = ()
    """What still waits enters the state; after all columns."""
    helpers: tuple[Helper, ...] = ()
    """Functions that stand before the kernel."""
    tile_start: tuple[Statement, ...] = ()
    """What is done at the start of a tile. If there is anything, statements may assign `TILE_END`, the column where the
    next tile begins."""
    first_column: Name = TILE_BEGIN
    """The first column of a tile that is visited block by block."""
    finish: tuple[tuple[Statement, ...], ...] = ()
    """For each row of the register tile, the statements that compute and store its results."""

    @property
    def reads_roots(self) -> bool:
        """Whether its exponentials read the table of roots of 2, which the template keeps in local memory."""
        return "root_of_2" in self.functions

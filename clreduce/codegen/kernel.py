"""`Kernel`: staged statements, arguments and sizes. All that a template may read; no operation is left in it."""

from __future__ import annotations

from dataclasses import dataclass

from clreduce.codegen.sorting import Sorting
from clreduce.codegen.tree import Expression, Name, Statement

ORIGIN_I, ORIGIN_J = Name("origin_i", "long"), Name("origin_j", "long")
"""The numbers that the first row and the first column of a call have, which may be a part of a larger one."""


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
class Preview:
    """A look at a tile beforehand: at the first term of each block of its columns, in the order of a list of terms."""

    chunk: int
    """Columns in a chunk: some blocks, whose first term counts in the search for a limit."""
    tile: int
    """Columns in a tile."""
    least: int
    """Columns of a tile from which on it is looked at."""
    count: int
    """Terms that the list keeps."""
    many: int
    """Chunks that begin with a term of the list, of those that are searched, from which on the next tile is looked at,
    too."""
    plenty: int
    """Chunks that are enough for the search."""
    rising: bool
    """Whether small terms come first."""
    last: tuple[Expression, ...]
    """For each row of the register tile, the last term of its list."""
    body: tuple[Statement, ...]
    """One block of columns, whose terms are compared with the first one so far."""
    visit: tuple[Statement, ...]
    """A visit to one block that is wanted: its terms are noted, and marked where they may enter. Of lists without a
    queue: they enter."""
    enter: tuple[Statement, ...] = ()
    """What a visit has marked enters the queue of each row of the register tile."""
    words: int = 0
    """Marks of a visit and a row, each for up to eight columns; 0 without a queue."""

    @property
    def before(self) -> str:
        """The comparison of a term with one that comes after it."""
        return "<" if self.rising else ">"


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
    preview: Preview | None = None
    """A look at each tile beforehand, after which blocks that no list can take terms from are passed over."""
    sorting: Sorting | None = None
    """How terms that have waited enter a list, if they are sorted for that."""
    finish: tuple[tuple[Statement, ...], ...] = ()
    """For each row of the register tile, the statements that compute and store its results."""

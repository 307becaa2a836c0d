"""The names that the templates declare around the statements of a kernel, with their types: here and nowhere else.

Which of them a kernel has, and in which of its stages, says `check_kernel`.
"""

from __future__ import annotations

from clreduce.codegen.tree import Name

ROWS, COLUMNS, PARTS = Name("rows", "long"), Name("columns", "long"), Name("parts", "long")
"""Sizes of the call: rows of the result, columns to reduce, parts that they are cut into."""
ORIGIN_I, ORIGIN_J, ORIGIN = Name("origin_i", "long"), Name("origin_j", "long"), Name("origin", "long")
"""The numbers that the first row and the first column of a call have, which may be a part of a larger one; in kernels
that fill a buffer, that of the first index."""
FIRST_COLUMN = Name("first_column", "long")
"""The first column of all, -1 if there is none; of kernels that merge parts."""
RESUMES = Name("resumes", "long")
"""Whether a kernel that merges states into one begins with the state that is stored there."""
BATCH = Name("batch", "long")
"""The index of the batch."""
TASK, FIRST_ROW, END_ROW = Name("task", "long"), Name("first_row", "long"), Name("end_row", "long")
"""Of a block-sparse call: the number of the task, its first row, and the row after its last."""
FIRST_PIECE, END_PIECE = Name("first_piece", "long"), Name("end_piece", "long")
"""The pieces of j that the task visits: the first, and the one after the last."""
TILE_BEGIN, TILE_END = Name("tile_begin", "long"), Name("tile_end", "long")
"""The first column of a tile, and the one after its last."""
J, IN_TILE = Name("j", "long"), Name("jt", "int")
"""The first column of a block; the same within its tile in local memory."""
ROOTS = Name("roots", "const __local uint2*")
"""The table of roots of 2 that exponentials of double precision read, in local memory."""
AT = Name("at", "long")
"""Where the merge kernel reads: the row of a part, or its term of a list."""


def row(r: int) -> Name:
    """The first row of row block r; that of the last whole block of lanes, where r lies past the end."""
    return Name(f"row_{r}", "long")


def wanted(r: int) -> Name:
    """The first row of row block r, also past the end."""
    return Name(f"wanted_{r}", "long")


def count(r: int) -> Name:
    """How many rows row block r has, at most as many as there are lanes."""
    return Name(f"count_{r}", "int")


def out_row(r: int) -> Name:
    """The row of the output for the first row of row block r."""
    return Name(f"out_{r}", "long")

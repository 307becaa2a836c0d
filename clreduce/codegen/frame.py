"""The names that the templates declare around the statements of a kernel, with their types.

`check_kernel` knows in which kernels and stages each of them is declared.
"""

from __future__ import annotations

from clreduce.codegen.tree import Name

ROWS, COLUMNS, PARTS = Name("rows", "long"), Name("columns", "long"), Name("parts", "long")
"""The sizes of the call: rows of the result, columns to reduce, and parts of these columns."""
ORIGIN_I, ORIGIN_J, ORIGIN = Name("origin_i", "long"), Name("origin_j", "long"), Name("origin", "long")
"""The numbers of the first row and the first column of a call, which may be a part of a larger one; ``origin`` is the
number of the first index in kernels that fill a buffer."""
FIRST_COLUMN = Name("first_column", "long")
"""The first column of the call in kernels that merge parts; -1 if there is none."""
RESUMES = Name("resumes", "long")
"""Whether a kernel that merges states begins with the state in its output."""
BATCH = Name("batch", "long")
"""The index in the batch."""
TASK, FIRST_ROW, END_ROW = Name("task", "long"), Name("first_row", "long"), Name("end_row", "long")
"""In a block-sparse call: the number of the task, its first row, and the row after its last."""
FIRST_PIECE, END_PIECE = Name("first_piece", "long"), Name("end_piece", "long")
"""The first piece of j that the task visits, and the piece after the last."""
TILE_BEGIN, TILE_END = Name("tile_begin", "long"), Name("tile_end", "long")
"""The first column of a tile, and the column after its last."""
J, IN_TILE = Name("j", "long"), Name("jt", "int")
"""The first column of a block, in the call and in the tile in local memory."""
ROOTS = Name("roots", "const __local uint2*")
"""The table of roots of 2 that exponentials of double precision read, in local memory."""
AT = Name("at", "long")
"""The place where the merge kernel reads: the row of a part, or a term of its list."""


def row(r: int) -> Name:
    """The first row of row block r; if r lies past the end, the first row of the last whole block of lanes."""
    return Name(f"row_{r}", "long")


def wanted(r: int) -> Name:
    """The first row of row block r, even if it lies past the end."""
    return Name(f"wanted_{r}", "long")


def count(r: int) -> Name:
    """The number of rows of row block r, at most the number of lanes."""
    return Name(f"count_{r}", "int")


def out_row(r: int) -> Name:
    """The row of the output for the first row of row block r."""
    return Name(f"out_{r}", "long")

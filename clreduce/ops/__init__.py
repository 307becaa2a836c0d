"""All operations, by family. Importing this package fills the registries of `clreduce.ir.op`."""

from clreduce.ops import (
    arithmetic,
    compare,
    complex,
    derived,
    extrema,
    functions,
    indices,
    matrices,
    norms,
    scan,
    shape,
    special,
    special_vectors,
    tables,
    trigonometry,
)

__all__ = [
    "arithmetic", "compare", "complex", "derived", "extrema", "functions", "indices", "matrices", "norms", "scan",
    "shape", "special", "special_vectors", "tables", "trigonometry",
]  # fmt: skip

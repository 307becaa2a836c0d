"""All operations, by family. Importing this package fills the registries of `clreduce.ir.op`."""

from clreduce.ops import arithmetic, compare, complex, derived, functions, shape

__all__ = ["arithmetic", "compare", "complex", "derived", "functions", "shape"]

"""All operations, by family. Importing this package fills the registries of `clreduce.ir.op`."""

from clreduce.ops import arithmetic, compare, derived, functions, shape, special, trigonometry

__all__ = ["arithmetic", "compare", "derived", "functions", "shape", "special", "trigonometry"]

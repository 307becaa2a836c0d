"""All reductions. Importing this package fills `clreduce.reductions.reduction.REDUCTIONS`."""

from clreduce.reductions import extrema, logsumexp, sums, topk
from clreduce.reductions.reduction import FAMILIES, REDUCTIONS, Column, Reduction, Slot, reduction_named

__all__ = [
    "FAMILIES", "REDUCTIONS", "Column", "Reduction", "Slot", "extrema", "logsumexp", "reduction_named", "sums", "topk",
]  # fmt: skip

"""All reductions. Importing this package fills `clreduce.reductions.reduction.REDUCTIONS`."""

from clreduce.reductions import extrema, logsumexp, sums
from clreduce.reductions.reduction import REDUCTIONS, Column, Reduction, Slot

__all__ = ["REDUCTIONS", "Column", "Reduction", "Slot", "extrema", "logsumexp", "sums"]

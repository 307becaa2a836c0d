"""All reductions. Importing this package fills the registries of `clreduce.reductions.reduction`."""

from clreduce.reductions import conditions, extrema, logsumexp, moments, products, sums, topk
from clreduce.reductions.reduction import (
    ALIASES,
    FAMILIES,
    REDUCTIONS,
    RESIDUALS,
    Column,
    Reduction,
    Slot,
    reduction_named,
)

__all__ = [
    "ALIASES", "FAMILIES", "REDUCTIONS", "RESIDUALS", "Column", "Reduction", "Slot", "conditions", "extrema",
    "logsumexp", "moments", "products", "reduction_named", "sums", "topk",
]  # fmt: skip

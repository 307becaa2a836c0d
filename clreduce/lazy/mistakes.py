"""Arrays that cannot meet a `LazyTensor` as they are: errors that say what to write instead."""

from __future__ import annotations

from clreduce.adapters.adapter import AnyAdapter
from clreduce.errors import ShapeError
from clreduce.lazy.base import Array, Recorded


def shape_of(value: object, library: AnyAdapter) -> tuple[int, ...]:
    """The shape of an array or of a list of numbers; () for all else."""
    if library.accepts(value):
        return tuple(library.shape(value))
    return (len(value),) if isinstance(value, (list, tuple)) else ()


def check_operand(shape: tuple[int, ...], tensor: Recorded[Array]) -> None:
    """Refuse an array of one or two dimensions that looks like numbers for each i, for each j, or for each pair."""
    rows, columns = tensor.ni, tensor.nj
    if len(shape) == 1:
        if tensor._vectors and tensor._count in (1, shape[0]):
            return
        remedies = [
            f"V{index}(w[:, None]) for one number for each {index}"
            for index, size in (("i", rows), ("j", columns))
            if size == shape[0]
        ]
        if not remedies:
            return
        remedies.append("Pm(w) for a vector that all pairs share")
    else:
        remedies = _for_matrices(shape, rows, columns)
    raise ShapeError(
        f"an array w of shape {shape} cannot be combined with a tensor of shape {tensor.shape}: write "
        f"{', or '.join(remedies)}"
    )


def _for_matrices(shape: tuple[int, ...], rows: int | None, columns: int | None) -> list[str]:
    """Advice on an array of two dimensions, for an error message."""
    remedies = []
    if shape[0] == rows:
        remedies.append("Vi(w) for one vector for each i")
    if shape[0] == columns:
        remedies.append("Vj(w) for one vector for each j")
    if shape[0] == 1 and shape[1] == columns:
        remedies.append("Vj(w.T) for one number for each j")
    if shape[0] == 1 and shape[1] == rows:
        remedies.append("Vi(w.T) for one number for each i")
    if shape == (rows, columns):
        remedies.append("K @ v + w @ v or K.dense() + w, since a dense matrix is not part of a formula")
        remedies.append("K + alpha * (K.i == K.j) for a multiple of the identity, or K.solve(b, alpha=alpha)")
    return remedies or ["Vi(w) or Vj(w) for one vector for each i or j"]

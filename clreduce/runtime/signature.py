"""`Signature`: the properties of a call's data on which its plan depends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clreduce.errors import DtypeError
from clreduce.runtime.ranges import Ranges

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_REAL = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Signature:
    """The properties of a call's data on which its plan depends."""

    dtype: str
    """The precision of formulas, ``"float32"`` or ``"float64"``."""
    batched: bool = False
    """Whether one launch serves all indices of a batch."""
    wide: bool = False
    """Whether accumulators are float64, while formulas of float32 data are computed in float32."""
    blocks: int = 0
    """The size of a typical block of a block-sparse call, a power of two (`Ranges.typical`); 0 for all pairs."""
    visits: int = 0
    """The most columns that a row of a block-sparse call visits, if it keeps a list (`Ranges.visits`); 0 for many."""
    full: bool = False
    """Whether all functions are clreduce's own, in full accuracy, even if the device has faster ones."""

    @property
    def real(self) -> str:
        """The OpenCL type of real numbers."""
        return _REAL[self.dtype]

    @property
    def state_dtype(self) -> str:
        """The precision of states."""
        return "float64" if self.wide else self.dtype


_SIGNATURES = {
    (name, batched, wide): Signature(name, batched, wide and name == "float32")
    for name in _REAL
    for batched in (False, True)
    for wide in (False, True)
}


def signature_of(
    dtype: DTypeLike, batched: bool = False, wide: bool = False, ranges: Ranges | None = None, full: bool = False
) -> Signature:
    """The signature of data of ``dtype``; raises `DtypeError` unless it is float32 or float64.

    With ``wide``, accumulators are float64. With ``ranges``, the signature serves block-sparse calls with blocks of
    similar size. With ``full``, kernels call no functions of the hardware.
    """
    key: tuple[Any, bool, bool] = (dtype, batched, wide)
    signature = _SIGNATURES.get(key)
    if signature is None:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = repr(dtype)
        signature = _SIGNATURES.get((name, batched, wide))
        if signature is None:
            raise DtypeError(f"arrays are float32 or float64; got {name}")
    if ranges is None and not full:
        return signature
    return replace(signature, blocks=0 if ranges is None else ranges.typical, full=full)

"""`Signature`: what a plan needs to know of the data besides its values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.errors import DtypeError
from clreduce.runtime.ranges import Ranges

_REAL = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Signature:
    """What a plan needs to know of the data besides its values."""

    dtype: str
    """The precision, ``"float32"`` or ``"float64"``."""
    batched: bool = False
    """Whether one launch serves all indices of a batch."""
    wide: bool = False
    """Whether rows keep their sums in float64, while formulas of float32 data are computed in float32."""
    blocks: int = 0
    """Rows of a typical block of block-sparse calls, a power of two (`Ranges.typical`); 0: all pairs are visited."""
    full: bool = False
    """Whether all functions are clreduce's own, in full accuracy, also where the device has faster ones."""

    @property
    def real(self) -> str:
        """The OpenCL type."""
        return _REAL[self.dtype]

    @property
    def state_dtype(self) -> str:
        """The precision of what rows keep."""
        return "float64" if self.wide else self.dtype


_SIGNATURES = {
    (name, batched, wide): Signature(name, batched, wide and name == "float32")
    for name in _REAL
    for batched in (False, True)
    for wide in (False, True)
}


def signature_of(
    dtype: Any, batched: bool = False, wide: bool = False, ranges: Ranges | None = None, full: bool = False
) -> Signature:
    """The signature of data of ``dtype``; raises `DtypeError` unless it is float32 or float64.

    ``wide``: with sums in float64, which makes a difference for float32 data; ``ranges``: for block-sparse calls such
    as one with these; ``full``: without functions of the hardware.
    """
    signature = _SIGNATURES.get((dtype, batched, wide))
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

"""`Pruning`: the checked options of a call on blocks of pairs that are skipped."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clreduce.errors import OptionError
from clreduce.reductions.reduction import Reduction


@dataclass(frozen=True, slots=True)
class Pruning:
    """Whether blocks of pairs may be skipped, and the largest error of a result that may follow."""

    prune: bool | None = None
    """None if pairs are skipped where that is likely to pay, and only if results do not change."""
    atol: float = 0.0
    rtol: float = 0.0
    demanded: bool = False
    """Whether the call says ``prune=True`` itself; it raises an error then if points cannot be sorted."""
    of_residuals: bool = False
    """Whether derivatives read the results. Results then keep `within_rounding` instead of the tolerance, which would
    be that of the call times factors of the derivative."""

    @classmethod
    def checked(cls, prune: object, atol: object, rtol: object, reduction: Reduction) -> Pruning | None:
        """The options of a call, or None if all are left out; `OptionError` for wrong ones."""
        if prune == "auto" and atol is None and rtol is None:
            return None
        if not (isinstance(prune, (bool, np.bool_)) or prune == "auto"):
            raise OptionError(f"prune must be True, False or 'auto'; got {prune!r}")
        tolerances = []
        value: Any
        for name, value in (("atol", atol), ("rtol", rtol)):
            if value is None:
                tolerances.append(0.0)
                continue
            try:
                number = math.nan if isinstance(value, (str, bytes, bool, np.bool_)) else float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not 0 <= number < math.inf:
                raise OptionError(f"{name} must be 0 or a positive number; got {value!r}")
            if not reduction.skips.approximate:
                raise OptionError(
                    f"{name} is for reductions that add up (Sum, Mean, LogSumExp, SumSoftMaxWeight); "
                    f"{reduction.name} takes no tolerance"
                )
            tolerances.append(number)
        if prune is True and not reduction.skips:
            raise OptionError(f"prune=True: no rule tells which terms of {reduction.name} may be skipped")
        wanted = None if prune == "auto" else bool(prune)
        if wanted is None and (atol is not None or rtol is not None):
            wanted = True
        return cls(wanted, tolerances[0], tolerances[1], demanded=prune is True)

    @property
    def has_tolerance(self) -> bool:
        return self.atol > 0 or self.rtol > 0

    def of_derivative(self) -> Pruning:
        """The pruning of derivatives of a call: its tolerances, or the default of derivatives if it has none."""
        asked = replace(self, demanded=False, of_residuals=False)
        return asked if self.has_tolerance or self.prune is not True else replace(asked, prune=None)

    def within_rounding(self, dtype: str) -> Pruning:
        """This pruning with a tolerance as small as rounding errors of ``dtype``, if it has a tolerance."""
        return replace(self, atol=0.0, rtol=float(np.finfo(dtype).eps)) if self.has_tolerance else self


DEFAULT, NEVER = Pruning(), Pruning(False)

"""Every error that clreduce raises on purpose.

Each kind is also the builtin exception that a caller would expect, so ``except ValueError`` keeps working.
A message says what was given, what was needed, where, and what to do.
"""

from __future__ import annotations

from typing import Any


class ClreduceError(Exception):
    """Base of all errors raised by clreduce."""


class FormulaError(ClreduceError, ValueError):
    """A formula that cannot be read or whose dimensions do not fit.

    ``str()`` of the error shows the formula with a caret under the place at fault.

    >>> print(FormulaError("unknown name 'z'", text="x + z", column=4))
    unknown name 'z'
      x + z
          ^
    """

    def __init__(self, message: str, *, text: str | None = None, column: int | None = None) -> None:
        self.message = message
        self.text = text
        self.column = column
        if text is not None:
            message += f"\n  {text}"
            if column is not None:
                message += f"\n  {' ' * column}^"
        super().__init__(message)


class ShapeError(ClreduceError, ValueError):
    """An array, or a vector inside a formula, whose shape does not fit."""


class DtypeError(ClreduceError, ValueError):
    """An array whose dtype is not supported, or differs from the others'."""


class NotDifferentiableError(ClreduceError, NotImplementedError):
    """A derivative asked of something that has none."""


class ScheduleError(ClreduceError, ValueError):
    """A schedule that is not legal for a kernel or a device."""


class CompileError(ClreduceError, RuntimeError):
    """An OpenCL driver that refused to build a kernel; ``source`` holds the kernel."""

    def __init__(self, message: str, *, source: str = "") -> None:
        self.source = source
        super().__init__(message)


class DeviceError(ClreduceError, RuntimeError):
    """No usable device, or a device that cannot do what was asked."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A call that takes more memory than its device, or its limit, allows; and that cannot be cut further."""


class BackendError(DeviceError, ValueError):
    """A backend of an unknown name."""


class TraceError(ClreduceError, RuntimeError):
    """A call that a recorder of PyTorch's operators cannot record."""


class StandInError(ClreduceError, ImportError):
    """A stand-in for a package that is imported already."""


class OptionError(ClreduceError, TypeError):
    """An option that a call does not have, or a value that it does not take."""


class SolveError(ClreduceError, ArithmeticError):
    """A linear system that cannot be solved as asked: not symmetric, not positive definite, or with nan."""


class NotConverged(SolveError):
    """A solve that ended because its residual no longer fell, far from what was asked for.

    ``residual``: the largest |b - A a| / |b|; ``iterations``: products with the operator; ``solution``: the best that
    was reached, a NumPy array.
    """

    def __init__(self, message: str, residual: float, iterations: int, solution: object) -> None:
        self.residual, self.iterations, self.solution = residual, iterations, solution
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotConverged, (str(self), self.residual, self.iterations, self.solution)


class ConvergenceWarning(UserWarning):
    """A solution whose residual is larger than was asked for; attributes: ``residual`` and ``iterations``."""

    def __init__(self, message: str, residual: float = float("nan"), iterations: int = 0) -> None:
        self.residual, self.iterations = residual, iterations
        super().__init__(message)

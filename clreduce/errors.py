"""All errors that clreduce raises on purpose.

Each class is also a subclass of the builtin exception that a caller expects, so ``except ValueError`` works. A message
says what was given, what was needed, where, and what to do.
"""

from __future__ import annotations


class ClreduceError(Exception):
    """Base of all errors raised by clreduce."""


class FormulaError(ClreduceError, ValueError):
    """Raised for a formula that cannot be parsed, or an option that has no meaning for a formula.

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
    """Raised if the shape of an array, or the length of a vector in a formula, is wrong."""


class DtypeError(ClreduceError, ValueError):
    """Raised for an array of an unsupported dtype, or of another dtype than needed."""


class NotDifferentiableError(ClreduceError, NotImplementedError):
    """Raised for a derivative that does not exist."""


class ScheduleError(ClreduceError, ValueError):
    """Raised for a schedule that is not legal for a kernel or a device."""


class CompileError(ClreduceError, RuntimeError):
    """Raised if an OpenCL driver refuses to build a kernel; the attribute ``source`` has the code of the kernel."""

    def __init__(self, message: str, *, source: str = "") -> None:
        self.source = source
        super().__init__(message)


class DeviceError(ClreduceError, RuntimeError):
    """Raised if there is no usable device, or if a device lacks a feature or fails in a call."""


class OutOfMemoryError(DeviceError, MemoryError):
    """Raised if a call needs more memory than its device or its limit allows, and cannot be cut further."""


class BackendError(DeviceError, ValueError):
    """Raised for an unknown name of a backend."""


class TraceError(ClreduceError, RuntimeError):
    """Raised for a call that a recorder of PyTorch's operators cannot record."""


class StandInError(ClreduceError, ImportError):
    """Raised if a stand-in is requested for a package that has been imported already."""


class OptionError(ClreduceError, TypeError):
    """Raised for an unknown option of a call, or for a value that an option does not take."""


class SolveError(ClreduceError, ArithmeticError):
    """Raised for a linear system that cannot be solved: not symmetric, not positive definite, or with nan."""


class NotConverged(SolveError):
    """Raised if the residual of a solve stops falling far above the tolerance.

    Attributes: ``residual`` is the largest |b - A a| / |b|, ``iterations`` is the number of products with the operator,
    and ``solution`` is the best solution so far, a NumPy array.
    """

    def __init__(self, message: str, residual: float, iterations: int, solution: object) -> None:
        self.residual, self.iterations, self.solution = residual, iterations, solution
        super().__init__(message)

    def __reduce__(self) -> tuple[object, ...]:
        return NotConverged, (str(self), self.residual, self.iterations, self.solution)


class ConvergenceWarning(UserWarning):
    """Warns that the residual of a solution exceeds the tolerance; attributes: ``residual`` and ``iterations``."""

    def __init__(self, message: str, residual: float = float("nan"), iterations: int = 0) -> None:
        self.residual, self.iterations = residual, iterations
        super().__init__(message)

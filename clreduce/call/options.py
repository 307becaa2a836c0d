"""`Options`: how a routine computes; checked once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clreduce.errors import DtypeError, FormulaError, OptionError
from clreduce.language.names import did_you_mean
from clreduce.reductions.compensated import compensated
from clreduce.reductions.reduction import Reduction

_SCHEMES = ("auto", "block_sum", "direct_sum", "kahan_scheme")
_FAST = (None, "dot")
_ACCURACIES = ("auto", "full")
_KEPT = ("auto", "float16", "float32", "float64")
_ACCUMULATORS = {
    "float16": ("float16", "float32"),
    "bfloat16": ("float32",),
    "float32": ("float32", "float64"),
    "float64": ("float64",),
}
"""The allowed values of ``dtype_acc``, by the dtype of the arrays. Kernels compute float16 and bfloat16 in float32."""


def refuse_unknown(what: str, function: Callable[..., object], unknown: Mapping[str, object]) -> None:
    """Raise `OptionError` for options that ``function`` does not have; the error names the nearest known option.

    ``what`` is the name of the function in the message.
    """
    parameters = inspect.signature(function).parameters.values()
    known = [each.name for each in parameters if each.default is not each.empty and each.name not in _DEPRECATED]
    for name in unknown:
        meant = did_you_mean(name, known, {word: of for word, of in _OF_OTHERS.items() if of in known})
        raise OptionError(f"{what} has no option {name!r}{meant}; known are {', '.join(known)}")


_DEPRECATED = ("dtype", "cuda_type")


_OF_OTHERS = {
    **dict.fromkeys(("dim", "axes"), "axis"), **dict.fromkeys(("k", "K", "n_neighbors"), "opt_arg"),
    **dict.fromkeys(("op", "reduction", "reduce"), "reduction_op"), "weights": "formula2", "accumulate": "dtype_acc",
    "device": "backend", "gpu": "device_id",
}  # fmt: skip
"""Names of options in other libraries, and the names that clreduce has for them."""


@dataclass(frozen=True)
class Options:
    """The choices that a caller has in how a routine computes; see `Genred` for their meaning."""

    sum_scheme: str = "auto"
    fast: str | None = None
    dtype_acc: str = "auto"
    accuracy: str = "auto"

    @classmethod
    def checked(
        cls,
        reduction: Reduction,
        sum_scheme: str = "auto",
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        fast: str | None = None,
        accuracy: str = "auto",
        **ignored: object,
    ) -> Options:
        """The checked options for ``reduction``. Raises `FormulaError` for a value that has no meaning there.

        The options in ``ignored`` are speed switches of another engine.
        """
        if sum_scheme not in _SCHEMES:
            raise FormulaError(f"sum_scheme must be one of {', '.join(_SCHEMES)}; got {sum_scheme!r}")
        if fast not in _FAST:
            raise FormulaError(f"fast must be one of {', '.join(map(repr, _FAST))}; got {fast!r}")
        if accuracy not in _ACCURACIES:
            raise FormulaError(f"accuracy must be one of {', '.join(_ACCURACIES)}; got {accuracy!r}")
        if dtype_acc not in _KEPT:
            raise FormulaError(f"dtype_acc must be one of {', '.join(_KEPT)}; got {dtype_acc!r}")
        if use_double_acc and dtype_acc != "auto":
            raise FormulaError(
                "use_double_acc=True means dtype_acc='float64': give only one of the two; got "
                f"dtype_acc={dtype_acc!r}, too"
            )
        dtype_acc = "float64" if use_double_acc else dtype_acc
        for name, value in (("sum_scheme", sum_scheme), ("dtype_acc", dtype_acc)):
            if value not in ("auto", "direct_sum") and not reduction.blocked:
                raise FormulaError(
                    f"{name}={value!r} needs a reduction that adds up its terms; {reduction.name} does not"
                )
        if sum_scheme == "kahan_scheme" and compensated(reduction) is None:
            raise FormulaError(
                f"sum_scheme='kahan_scheme' works for plain sums only, and {reduction.name} is none: "
                "use dtype_acc='float64'"
            )
        return cls(sum_scheme, fast, dtype_acc, accuracy)

    def check_precision(self, dtype: str) -> None:
        """Raise `DtypeError` if arrays of this dtype do not allow the chosen ``dtype_acc``."""
        if self.dtype_acc != "auto" and self.dtype_acc not in _ACCUMULATORS[dtype]:
            allowed = " or ".join(_ACCUMULATORS[dtype])
            raise DtypeError(f"for {dtype} arrays, dtype_acc must be auto, {allowed}; got {self.dtype_acc!r}")

"""What pykeops.common.keops_io offers: routines made from the text of a whole reduction, and flags of how it computes.

Packages that copied a solver of pykeops make their kernels this way. The routines are `Genred`'s, and take what the
bindings of pykeops take; what follows from the arrays, such as their number of rows, is not read twice.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from clreduce.call.options import Options
from clreduce.errors import DtypeError, FormulaError
from clreduce.language.vocabulary import checked_reduction

_LIBRARIES = ("numpy", "torch")
_COUNTED = ("KMin", "KMax")


def get_optional_flags(
    reduction_op_internal: str,
    dtype_acc: str = "auto",
    use_double_acc: bool = False,
    sum_scheme: str = "auto",
    enable_chunks: bool = True,
    use_fast_math: bool = True,
) -> dict[str, Any]:
    """The options of a reduction by their names in pykeops: what a binder takes. ``"auto"`` sums are in blocks.

    Raises
    ------
    FormulaError
        An unknown value, or one that this reduction does not have. It is a `ValueError`.

    Examples
    --------
    >>> get_optional_flags("Sum")
    {'dtype_acc': 'auto', 'sum_scheme': 'block_sum', 'use_fast_math': 1, 'enable_chunks': 1}
    >>> get_optional_flags("ArgMin")["sum_scheme"]
    'direct_sum'
    """
    counted = any(name in reduction_op_internal for name in _COUNTED)
    weighted = reduction_op_internal in ("Max_SumShiftExpWeight", "LogSumExpWeight", "SumSoftMaxWeight", "SoftMax")
    reduction = checked_reduction(reduction_op_internal, 1 if counted else None, "1" if weighted else None)
    options = Options.checked(reduction, sum_scheme, dtype_acc, use_double_acc)
    if options.sum_scheme == "auto":
        sum_scheme = "block_sum" if reduction.blocked else "direct_sum"
    return {
        "dtype_acc": options.dtype_acc, "sum_scheme": sum_scheme, "use_fast_math": int(use_fast_math),
        "enable_chunks": int(enable_chunks),
    }  # fmt: skip


def _parts(text: str) -> list[str]:
    """The texts between the commas that are in no bracket.

    >>> _parts("Exp(x, y), [1, 2], 0")
    ['Exp(x, y)', '[1, 2]', '0']
    """
    parts, depth, start = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and depth == 0:
            parts.append(text[start:at].strip())
            start = at + 1
    return [*parts, text[start:].strip()]


def _read(formula: str) -> dict[str, Any]:
    """The arguments of `Genred` for a text such as ``"KMin_Reduction(SqDist(x, y), 3, 0)"``.

    In it stand the formula, the number of terms if there is one, the index of the result (0 for i, 1 for j), and the
    second formula if there is one.
    """
    name, opened, rest = formula.strip().partition("_Reduction(")
    parts = _parts(rest.removesuffix(")")) if opened and rest.endswith(")") else []
    counted = any(word in name for word in _COUNTED)
    count = parts.pop(1) if counted and len(parts) > 2 else None
    if not 2 <= len(parts) <= 3 or parts[1] not in ("0", "1") or not (count is None or count.isdecimal()):
        raise FormulaError(
            "a binder takes 'NAME_Reduction(formula, index)', the index of the result being 0 (i) or 1 (j), with "
            f"opt_arg before it and formula2 after it where the reduction has them; got {formula!r}"
        )
    return {
        "formula": parts[0], "reduction_op": name, "axis": 1 - int(parts[1]),
        "opt_arg": None if count is None else int(count), "formula2": parts[2] if len(parts) > 2 else None,
    }  # fmt: skip


class BoundReduction:
    """A reduction, given by its whole text: ``genred_numpy`` and ``genred_pytorch`` compute it.

    ``dimout`` is the length of a row of the result, ``tagIJ`` the index of its rows: 0 for i, 1 for j.
    """

    def __init__(
        self, formula: str, aliases: Sequence[str], dtype: str, lang: str, flags: Mapping[str, Any], backend: str,
        device_id: int,
    ) -> None:  # fmt: skip
        if lang not in _LIBRARIES:
            raise FormulaError(f"the array library is 'numpy' or 'torch'; got {lang!r}")
        arguments = _read(formula)
        accumulator = flags.get("dtype_acc", "auto")
        options = {
            "dtype_acc": "auto" if accumulator == dtype else accumulator,
            "sum_scheme": flags.get("sum_scheme", "auto"),
        }
        genred = importlib.import_module(f"clreduce.{lang}").Genred
        self._routine = genred(arguments.pop("formula"), list(aliases), **arguments, **options)
        self._dtype, self._lang, self._where = dtype, lang, {"backend": backend, "device_id": device_id}
        self.tagIJ = 1 - int(arguments["axis"])
        self.dimout = sum(output.dim for output in self._routine.program.outputs)

    def import_module(self) -> BoundReduction:
        """This object: there is no module to load."""
        return self

    def genred(self, device_args: Any, ranges: Any, nx: int, ny: int, nbatchdims: int, out: Any, *args: Any) -> Any:
        """The results in one array (batch.., M or N, dimout), indices as floats too: as kernels of pykeops give them.

        ``device_args``, ``nx``, ``ny`` and ``nbatchdims`` follow from the arrays, which are what counts.
        """
        name = self._routine.library.dtype_name(args[0]) if args else self._dtype
        if name != self._dtype:
            raise DtypeError(f"this routine is for arrays of {self._dtype}; got one of {name}")
        results = self._routine(*args, ranges=ranges or None, **self._where)
        array = self._in_one(results if isinstance(results, tuple) else (results,))
        return array if out is None else self._routine.library.copy_into(out, array)

    genred_numpy = genred_pytorch = genred

    def _in_one(self, results: tuple[Any, ...]) -> Any:
        """Results side by side in each row; those of a list of terms, term by term."""
        program = self._routine.program
        count = program.reduction.count
        is_flat_list = count == program.outputs[0].dim
        rank = len(self._routine.library.shape(results[0])) - (1 if count is None or is_flat_list else 2)
        arrays = importlib.import_module(self._lang)
        dtype = getattr(arrays, self._dtype)
        results = tuple(arrays.asarray(each, dtype=dtype) for each in results)
        joined = results[0] if len(results) == 1 else arrays.stack(results, -1 if is_flat_list else -2)
        return joined.reshape((*joined.shape[:rank], -1))


class Binder:
    """Makes a `BoundReduction` of the arguments of a binding of pykeops; ``reset`` forgets nothing but kernels."""

    def __call__(
        self, tagCPUGPU: int, tag1D2D: int, tagHostDevice: int, use_ranges: Any, device_id_request: int, formula: str,
        aliases: Sequence[str], nargs: int, dtype: str, lang: str, optional_flags: Mapping[str, Any],
    ) -> BoundReduction:  # fmt: skip
        """The reduction ``formula`` of ``nargs`` arrays, on the CPU (``tagCPUGPU`` 0) or on a GPU (1)."""
        backend = "GPU" if tagCPUGPU else "CPU"
        return BoundReduction(formula, aliases, dtype, lang, optional_flags, backend, device_id_request)

    def reset(self, new_save_folder: Any = None) -> None:
        """Forget all built kernels."""
        importlib.import_module("clreduce").clear_caches()


keops_binder = {"cpp": Binder(), "nvrtc": Binder()}
"""Binders by the names of pykeops. Both are the same: the device is an argument."""

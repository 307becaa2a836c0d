"""Binders of pykeops.common.keops_io: routines from the text of a whole reduction, and the flags of a reduction.

Packages that contain a copy of a solver of pykeops make their kernels in this way. A routine calls a `Genred`, and
takes the arguments of pykeops' bindings. It reads sizes from the arrays, and ignores the arguments that repeat them.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from clreduce.call.options import Options
from clreduce.errors import DtypeError, FormulaError
from clreduce.language.vocabulary import checked_reduction

if TYPE_CHECKING:
    from clreduce.compat.stand_in_utils import ArrayType

_LIBRARIES = ("numpy", "torch")
_COUNTED = ("KMin", "KMax")
"""Parts of the names of reductions that take the number of terms to keep."""


class Flags(TypedDict):
    """The options of a reduction, by their names in pykeops."""

    dtype_acc: str
    sum_scheme: str
    use_fast_math: int
    enable_chunks: int


def get_optional_flags(
    reduction_op_internal: str,
    dtype_acc: str = "auto",
    use_double_acc: bool = False,
    sum_scheme: str = "auto",
    enable_chunks: bool = True,
    use_fast_math: bool = True,
) -> Flags:
    """The options of a reduction by their names in pykeops, for a binder.

    ``sum_scheme="auto"`` becomes ``"block_sum"`` for reductions that add up, and ``"direct_sum"`` for all others.

    Raises
    ------
    FormulaError
        A value is unknown, or has no meaning for this reduction. The error is a `ValueError`, too.

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
    """The parts of a text between the commas that stand outside of brackets.

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

    The brackets hold the formula, the number of terms if the reduction takes one, the index of the result (0 for i, 1
    for j), and the second formula if the reduction takes one.
    """
    name, opened, rest = formula.strip().partition("_Reduction(")
    parts = _parts(rest.removesuffix(")")) if opened and rest.endswith(")") else []
    counted = any(word in name for word in _COUNTED)
    count = parts.pop(1) if counted and len(parts) > 2 else None
    if not 2 <= len(parts) <= 3 or parts[1] not in ("0", "1") or not (count is None or count.isdecimal()):
        raise FormulaError(
            "a binder takes a text 'NAME_Reduction(formula, index)', where the index is that of the result: 0 for i, 1 "
            "for j. opt_arg stands before the index and formula2 after it, for reductions that take them; "
            f"got {formula!r}"
        )
    return {
        "formula": parts[0], "reduction_op": name, "axis": 1 - int(parts[1]),
        "opt_arg": None if count is None else int(count), "formula2": parts[2] if len(parts) > 2 else None,
    }  # fmt: skip


class BoundReduction:
    """A reduction that was made from its whole text; `genred_numpy` and `genred_pytorch` compute it.

    Attributes
    ----------
    dimout : int
        The length of a row of the result.
    tagIJ : int
        The index of the rows of the result: 0 for i, 1 for j.
    """

    def __init__(
        self, formula: str, aliases: Sequence[str], dtype: str, lang: str, flags: Mapping[str, object], backend: str,
        device_id: int,
    ) -> None:  # fmt: skip
        if lang not in _LIBRARIES:
            raise FormulaError(f"lang must be 'numpy' or 'torch'; got {lang!r}")
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
        """The reduction itself: no module needs to be loaded."""
        return self

    def genred(
        self, device_args: object, ranges: Sequence[object] | None, nx: int, ny: int, nbatchdims: int,
        out: ArrayType | None, *args: ArrayType,
    ) -> ArrayType:  # fmt: skip
        """All results in one array (batch.., M or N, dimout). Indices are floats, as from the kernels of pykeops.

        ``device_args``, ``nx``, ``ny`` and ``nbatchdims`` are ignored: they follow from the arrays ``args``.

        Raises
        ------
        DtypeError
            The first array has another dtype than this routine.
        """
        name = self._routine.library.dtype_name(args[0]) if args else self._dtype
        if name != self._dtype:
            raise DtypeError(f"this routine was made for arrays of {self._dtype}; got an array of {name}")
        results = self._routine(*args, ranges=ranges or None, **self._where)
        array: ArrayType = self._side_by_side(results if isinstance(results, tuple) else (results,))
        if out is None:
            return array
        copied: ArrayType = self._routine.library.copy_into(out, array)
        return copied

    genred_numpy = genred_pytorch = genred

    def _side_by_side(self, results: tuple[Any, ...]) -> Any:
        """One array with the results side by side in each row. Results that keep K terms alternate term by term."""
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
    """A function with the arguments of a binding of pykeops, which returns a `BoundReduction`."""

    def __call__(
        self, tagCPUGPU: int, tag1D2D: int, tagHostDevice: int, use_ranges: object, device_id_request: int,
        formula: str, aliases: Sequence[str], nargs: int, dtype: str, lang: str, optional_flags: Mapping[str, object],
    ) -> BoundReduction:  # fmt: skip
        """The reduction ``formula`` of ``nargs`` arrays, on the CPU if ``tagCPUGPU`` is 0, and on a GPU if it is 1."""
        backend = "GPU" if tagCPUGPU else "CPU"
        return BoundReduction(formula, aliases, dtype, lang, optional_flags, backend, device_id_request)

    def reset(self, new_save_folder: object = None) -> None:
        """Forget all built kernels, and nothing else. The folder of the cache stays the same."""
        importlib.import_module("clreduce").clear_caches()


keops_binder = {"cpp": Binder(), "nvrtc": Binder()}
"""Binders by the names of pykeops. Both do the same, because the device is an argument of a call."""

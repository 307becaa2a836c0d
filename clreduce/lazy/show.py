"""The text of a `LazyTensor` for people: in the console, in a notebook, and as a full explanation."""

from __future__ import annotations

import html
import sys
from typing import TextIO

from clreduce.call.estimate import memory_text
from clreduce.domain import Domain
from clreduce.ir.expr import Expr, substitute
from clreduce.ir.op import variable
from clreduce.ir.show import show, tree
from clreduce.language.vocabulary import checked_reduction
from clreduce.lazy.base import Array
from clreduce.lazy.dense import Dense

_LETTERS = {Domain.I: "x", Domain.J: "y", Domain.P: "p"}
_LONGEST = 400


class Shown(Dense[Array]):
    """The text forms of a `LazyTensor`."""

    __slots__ = ()

    @property
    def formula(self) -> str:
        """The formula as text: x1, x2 are variables of i, y1 of j, p1 parameters."""
        return show(self._named()[0])

    def _named(self) -> tuple[Expr, dict[str, Expr]]:
        """The formula in variables with readable names, and the variable of each name."""
        counts = dict.fromkeys(_LETTERS, 0)
        names, renamed = {}, {}
        for leaf in self._leaves:
            counts[leaf.domain] += 1
            name = f"{_LETTERS[leaf.domain]}{counts[leaf.domain]}"
            names[name], renamed[leaf] = leaf, variable(name, *leaf.params[1:])
        return substitute([self.expr], renamed)[0], names

    def _facts(self) -> dict[str, str]:
        expr, names = self._named()
        facts = {
            "formula": show(expr, limit=_LONGEST),
            "shape": f"{self.shape}{self._axes_text()}",
            "dtype": f"bool, computed in {self._dtype_name}" if self.is_condition else str(self._dtype_name),
            "data": ", ".join(f"{name} {self._described(leaf)}" for name, leaf in names.items()) or "none",
            "dense form": f"{memory_text(self.nbytes)}",
        }
        if self.ranges is not None:
            facts["ranges"] = f"{self.ranges[0].shape[0]} blocks of i, {self.ranges[3].shape[0]} of j"
        if self.backend is not None:
            facts["backend"] = self.backend
        return facts

    def _axes_text(self) -> str:
        axes = ["batch"] * len(self._batch) + ["i", "j"] + (["vector"] if self._vectors else [])
        return f": {', '.join(axes)}"

    def _described(self, leaf: Expr) -> str:
        data = self._leaves[leaf].array
        if data is None:
            return f"symbolic (position {leaf.params[0][1]}, length {leaf.dim})"
        if isinstance(data, tuple):
            return f"= {data[0] if len(data) == 1 else data}"
        return f"{self.library.dtype_name(data)} {tuple(data.shape)}"

    def __repr__(self) -> str:
        facts = self._facts()
        lines = "".join(f"\n  {name}: {text}" for name, text in facts.items() if name != "formula")
        return f"{type(self).__name__} {facts['formula']}{lines}"

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{name}</th><td><code>{html.escape(text)}</code></td></tr>" for name, text in self._facts().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"

    def explain(
        self,
        reduction_op: str | None = None,
        axis: int | None = None,
        opt_arg: int | None = None,
        file: TextIO | None = None,
    ) -> None:
        """Print the tree of the formula, or everything about one of its reductions.

        Parameters
        ----------
        reduction_op : str, optional
            The name of a reduction. All that `Genred.explain` prints is printed for it, kernels included. Without it,
            the tree of the formula is printed, with the length and the domain of each part.
        axis : int, optional
            The axis of the reduction, that of i or of j.
        opt_arg : int, optional
            The number K of reductions that keep K values.
        file : file, optional
            Where the text goes; standard output by default.

        Examples
        --------
        >>> import numpy as np
        >>> from clreduce.numpy import Vi, Vj
        >>> (Vi(np.ones((5, 3))) | Vj(np.ones((4, 3)))).exp().explain()
        exp: 1, IJ
          reduce_sum[1, 3, 1]: 1, IJ
            mul: 3, IJ
              x1: 3, I
              y1: 3, J
        """
        if reduction_op is None:
            print(tree(self._named()[0]), file=file or sys.stdout)
            return
        name = checked_reduction(reduction_op, opt_arg, None).name
        reduced = self._one_place("explain", name, axis)
        dtype = self._dtype_name or "float64"
        dtype = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
        routine = self.routine._of((self._real_expr,), tuple(self._leaves), name, reduced, opt_arg)
        routine.explain(dtype, file)

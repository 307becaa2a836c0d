"""What a `LazyTensor` is, as text for a person: in the console, in a notebook, and in numbers of bytes."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.frontends.lazy.base import Recorded
from clreduce.frontends.lazy.dense import memory_text
from clreduce.ir.expr import Expr
from clreduce.ir.show import show, tree

_LETTERS = {Domain.I: "x", Domain.J: "y", Domain.P: "p"}


class Shown(Recorded):
    """The text forms of a `LazyTensor`."""

    __slots__ = ()

    @property
    def formula(self) -> str:
        """The formula as text: x1, x2 are variables of i, y1 of j, p1 parameters."""
        return show(self.expr, self._names())

    def _names(self) -> dict[Any, str]:
        counts = dict.fromkeys(_LETTERS, 0)
        names = {}
        for leaf in self._leaves:
            counts[leaf.domain] += 1
            names[leaf.params[0]] = f"{_LETTERS[leaf.domain]}{counts[leaf.domain]}"
        return names

    def _facts(self) -> dict[str, str]:
        size = int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype or np.float64).itemsize
        return {
            "shape": str(self.shape),
            "dtype": str(self.dtype),
            "data": ", ".join(f"{name} {self._described(leaf)}" for leaf, name in self._named()) or "none",
            "dense": f"would take {memory_text(size)}",
        }

    def _named(self) -> list[tuple[Expr, str]]:
        names = self._names()
        return [(leaf, names[leaf.params[0]]) for leaf in self._leaves]

    def _described(self, leaf: Expr) -> str:
        data = self._leaves[leaf].array
        if data is None:
            return f"symbolic, position {leaf.params[0][1]}, length {leaf.dim}"
        return f"= {data}" if isinstance(data, (float, tuple)) else str(tuple(data.shape))

    def __repr__(self) -> str:
        facts = "".join(f"\n  {name}: {text}" for name, text in self._facts().items())
        return f"{type(self).__name__}: {show(self.expr, self._names(), limit=400)}{facts}"

    def _repr_html_(self) -> str:
        rows = {"formula": show(self.expr, self._names(), limit=400)} | self._facts()
        cells = "".join(
            f"<tr><th>{name}</th><td><code>{html.escape(text)}</code></td></tr>" for name, text in rows.items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{cells}</table>"

    def explain(self) -> str:
        """The tree of the formula, with the length and the domain of each part."""
        text = tree(self.expr, self._names())
        print(text)
        return text

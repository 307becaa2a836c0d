"""`Scope` collects statements of a kernel, and `Types` names the types of a precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from clreduce.codegen.tree import Literal, Name, Statement


@dataclass(frozen=True)
class Types:
    """The names in the prelude of the types of one precision, and of the functions that depend on it."""

    real: str = "real"
    realv: str = "realv"
    inum: str = "inum"
    inumv: str = "inumv"
    mask: str = "MASKV"
    forms: tuple[str, str] = ("s", "v")
    """The suffixes of clreduce's own functions for scalars and for lanes."""
    stores: tuple[str, str] = ("store_lanes", "store_index")
    """The functions that store lanes of numbers and lanes of indices."""


NARROW = Types()
WIDE = Types("wide", "widev", "wnum", "wnumv", "WIDE_MASKV", ("ws", "wv"), ("store_wide", "store_wide_index"))
"""The types of double precision in a kernel whose formulas have single precision."""


class Scope:
    """A list of statements, and the names of the values that they have computed."""

    def __init__(self, parent: Scope | None = None) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.statements: list[Statement] = []
        self.known: dict[Any, Name] = {}

    def lookup(self, key: object) -> Name | None:
        """The name of the value with this key in this scope or in an outer one; None if there is none."""
        place: Scope | None = self
        while place is not None:
            if key in place.known:
                return place.known[key]
            place = place.parent
        return None


def literal(value: Fraction | str, dtype: str, kind: str = "real") -> Literal:
    """A constant of type ``kind``, in full precision of ``dtype`` (``"float"`` or ``"double"``).

    >>> literal(Fraction(1, 3), "float").text, literal("-inf", "float").text, literal(Fraction(2), "double").text
    ('0.33333334f', '-INFINITY', '2.0')
    """
    return Literal(_text_of_number(value, dtype), kind)


def _text_of_number(value: Fraction | str, dtype: str) -> str:
    suffix = "f" if dtype == "float" else ""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if Fraction(value) > 0 else -math.inf
    if dtype == "float":
        with np.errstate(over="ignore"):
            number = float(np.float32(number))
    if math.isnan(number):
        return "(real)(NAN)"
    if math.isinf(number):
        return "INFINITY" if number > 0 else "-INFINITY"
    text = str(np.float32(number)) if dtype == "float" else repr(number)
    text = text if any(mark in text for mark in ".e") else f"{text}.0"
    return f"({text}{suffix})" if number < 0 or text.startswith("-") else f"{text}{suffix}"

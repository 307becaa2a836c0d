"""The code of a kernel as a typed tree of expressions and statements, which `printing` turns into text.

A type is a name that the prelude of the templates defines, such as ``real`` or ``realv``, a type of OpenCL C, or a
pointer to one. A ``v`` at the end of a name stands for a vector of lanes. The meaning of a name depends on the
precision and the lanes of the kernel; `check_kernel` knows it.

Nodes are never changed. The classes do not enforce this (``frozen``) for the sake of speed: a kernel has thousands of
nodes, and making them would take twice as long.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from clreduce.ir.index import Position
from clreduce.memo import memoised

MASKS = {"realv": "inumv", "inumv": "inumv", "widev": "wnumv", "wnumv": "wnumv"}
"""The type of a comparison of lanes, by their type. A comparison of scalars is an int."""
COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))
LOGICAL = frozenset(("&&", "||"))
ARITHMETIC = frozenset("+-*/")
"""Operators that take a scalar and lanes of the same base type."""


@dataclass(slots=True, unsafe_hash=True)
class Literal:
    """A constant, as OpenCL C writes it."""

    text: str
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Name:
    """A variable, an argument of the kernel or an array."""

    name: str
    type: str
    """The type; for an array, the type of its entries."""


@dataclass(slots=True, unsafe_hash=True)
class Place:
    """An integer with a known range: a position in a vector or an array, computed from loop variables."""

    position: Position

    @property
    def type(self) -> str:
        return "int"


@dataclass(slots=True, unsafe_hash=True)
class Unary:
    """``-``, ``!``, ``~``, ``&`` (the address) or ``*`` (the target of a pointer) before its argument."""

    operator: str
    argument: Expression

    @property
    def type(self) -> str:
        kind = self.argument.type
        if self.operator == "!":
            return MASKS.get(kind, "int")
        if self.operator == "&":
            return f"{kind}*"
        return kind.removesuffix("*") if self.operator == "*" else kind


@dataclass(slots=True, unsafe_hash=True)
class Binary:
    """An operator between two operands. A scalar beside lanes applies to each lane."""

    operator: str
    left: Expression
    right: Expression

    @property
    def type(self) -> str:
        kind = _wider(self.left.type, self.right.type)
        return MASKS.get(kind, "int") if self.operator in COMPARISONS or self.operator in LOGICAL else kind


@dataclass(slots=True, unsafe_hash=True)
class FunctionCall:
    """A call of a function of the prelude, of the mathematics or of OpenCL C.

    ``type`` is the type of the result; "" if there is none.
    """

    function: str
    arguments: tuple[Expression, ...]
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Cast:
    """A conversion: a scalar to another type or to equal lanes, as many scalars as lanes to lanes, or a pointer."""

    type: str
    arguments: tuple[Expression, ...]


@dataclass(slots=True, unsafe_hash=True)
class Subscript:
    """An entry of an array, or of the memory behind a pointer."""

    array: Expression
    at: Expression

    @property
    def type(self) -> str:
        kind = self.array.type
        return kind.split()[-1].removesuffix("*")


@dataclass(slots=True, unsafe_hash=True)
class Load:
    """Lanes of numbers (``realv``) or indices (``inumv``) from memory. Lane l is at ``pointer + l * stride`` for the
    first ``count`` lanes; the other lanes repeat the last of these."""

    pointer: Expression
    stride: int
    count: Expression
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Select:
    """``condition ? positive : negative``, lane by lane if the condition has lanes."""

    condition: Expression
    positive: Expression
    negative: Expression

    @property
    def type(self) -> str:
        return _wider(self.positive.type, self.negative.type)


Expression = Literal | Name | Place | Unary | Binary | FunctionCall | Cast | Subscript | Load | Select


@dataclass(slots=True, unsafe_hash=True)
class Let:
    """The declaration of a constant ``name``."""

    name: Name
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Declare:
    """The declaration of a variable, which later statements assign."""

    name: Name
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Array:
    """The declaration of an array in private memory.

    ``fill`` is the initial value of all entries, or None. ``values`` are the entries of a constant array.
    """

    name: Name
    size: int
    fill: Expression | None = None
    values: tuple[Expression, ...] = ()


@dataclass(slots=True, unsafe_hash=True)
class Assign:
    """The assignment of a new value to ``target``, a variable or an entry of an array."""

    target: Name | Subscript
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Run:
    """A call of a function without a result."""

    call: FunctionCall


@dataclass(slots=True, unsafe_hash=True)
class Loop:
    """A rolled loop: ``body`` runs for each value of the int ``variable`` from ``start`` to below ``stop``.

    If ``descending``, the highest value comes first.
    """

    variable: Name
    start: Expression
    stop: Expression
    body: tuple[Statement, ...]
    descending: bool = False
    step: int = 1


@dataclass(slots=True, unsafe_hash=True)
class If:
    """``body`` runs if the scalar ``condition`` is not 0."""

    condition: Expression
    body: tuple[Statement, ...]


@dataclass(slots=True, unsafe_hash=True)
class Comment:
    """A comment for readers of the kernel."""

    words: str


Statement = Let | Declare | Array | Assign | Run | Loop | If | Comment


def _wider(left: str, right: str) -> str:
    """The common type of two operands: lanes rather than a scalar, a pointer rather than its offset, real rather than
    int."""
    if left == right or left in MASKS or left.endswith("*"):
        return left
    if right in MASKS or right.endswith("*"):
        return right
    return right if left == "int" else left


@memoised(1024)
def number(value: int) -> Literal:
    """The literal of an int."""
    return Literal(str(value), "int")


def cast(kind: str, argument: Expression) -> Cast:
    """``argument`` as ``kind``."""
    return Cast(kind, (argument,))


def plus(left: Expression, right: Expression) -> Binary:
    return Binary("+", left, right)


def times(left: Expression, right: Expression) -> Binary:
    return Binary("*", left, right)


def joined(operator: str, operands: Iterable[Expression]) -> Expression:
    """Operands joined by an operator, from left to right."""
    return reduce(lambda left, right: Binary(operator, left, right), operands)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The direct subexpressions of an expression."""
    match expression:
        case Unary(_, argument):
            return (argument,)
        case Binary(_, left, right):
            return left, right
        case FunctionCall(_, arguments, _) | Cast(_, arguments):
            return arguments
        case Subscript(array, at):
            return array, at
        case Load(pointer, _, count, _):
            return pointer, count
        case Select(condition, positive, negative):
            return condition, positive, negative
    return ()


__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "LOGICAL",
    "MASKS",
    "Array",
    "Assign",
    "Binary",
    "Cast",
    "Comment",
    "Declare",
    "Expression",
    "FunctionCall",
    "If",
    "Let",
    "Literal",
    "Load",
    "Loop",
    "Name",
    "Place",
    "Run",
    "Select",
    "Statement",
    "Subscript",
    "Unary",
    "cast",
    "joined",
    "number",
    "parts",
    "plus",
    "times",
]  # fmt: skip

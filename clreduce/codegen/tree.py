"""Kernel text as a typed tree: expressions, each with its type, and statements. `printing` alone makes text of it.

A type is a name that the prelude of the templates defines, such as ``real`` or ``realv``, a type of OpenCL C, or a
pointer to one. ``v`` at the end of a name stands for a vector of lanes. What a name means in one kernel depends on its
precision and its lanes: `check_kernel` knows that.

Nodes are never changed. That the classes do not enforce it (``frozen``) is for speed: a kernel has thousands of nodes,
and it would take twice as long to make them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from clreduce.ir.index import Position
from clreduce.memo import memoised

MASKS = {"realv": "inumv", "inumv": "inumv", "widev": "wnumv", "wnumv": "wnumv"}
"""What a comparison of such lanes gives; one of scalars gives an int."""
COMPARISONS = frozenset(("<", "<=", ">", ">=", "==", "!="))
LOGICAL = frozenset(("&&", "||"))
ARITHMETIC = frozenset("+-*/")
"""Operators whose operands may be a scalar and lanes of it."""


@dataclass(slots=True, unsafe_hash=True)
class Literal:
    """A constant, as it is written."""

    text: str
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Name:
    """A variable, an argument of the kernel or an array."""

    name: str
    type: str
    """Of an array: that of its entries."""


@dataclass(slots=True, unsafe_hash=True)
class Place:
    """An integer whose range is known: a position inside a vector or an array, made of variables of loops."""

    position: Position

    @property
    def type(self) -> str:
        return "int"


@dataclass(slots=True, unsafe_hash=True)
class Unary:
    """``-``, ``!``, ``~``, ``&`` (the address) or ``*`` (what a pointer points to) before its argument."""

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
    """An operator between two operands; of a scalar and lanes, each lane takes the scalar."""

    operator: str
    left: Expression
    right: Expression

    @property
    def type(self) -> str:
        kind = _wider(self.left.type, self.right.type)
        return MASKS.get(kind, "int") if self.operator in COMPARISONS or self.operator in LOGICAL else kind


@dataclass(slots=True, unsafe_hash=True)
class Call:
    """A function of the prelude, of the mathematics or of OpenCL C; ``type``: of its result, "" if it has none."""

    function: str
    arguments: tuple[Expression, ...]
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Cast:
    """A scalar as another type, or as lanes that are all equal; or lanes from as many scalars; or a pointer."""

    type: str
    arguments: tuple[Expression, ...]


@dataclass(slots=True, unsafe_hash=True)
class Index:
    """An entry of an array, or what stands so far behind a pointer."""

    array: Expression
    at: Expression

    @property
    def type(self) -> str:
        kind = self.array.type
        return kind.split()[-1].removesuffix("*")


@dataclass(slots=True, unsafe_hash=True)
class Load:
    """Lanes of numbers (``realv``) or indices (``inumv``): lane l stands ``l * stride`` behind ``pointer``, for the
    first ``count`` lanes; others repeat the last of these."""

    pointer: Expression
    stride: int
    count: Expression
    type: str


@dataclass(slots=True, unsafe_hash=True)
class Select:
    """``condition ? positive : negative``, lane by lane if the condition is one of lanes."""

    condition: Expression
    positive: Expression
    negative: Expression

    @property
    def type(self) -> str:
        return _wider(self.positive.type, self.negative.type)


Expression = Literal | Name | Place | Unary | Binary | Call | Cast | Index | Load | Select


@dataclass(slots=True, unsafe_hash=True)
class Let:
    """A constant: what ``name`` stands for from here on."""

    name: Name
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Declare:
    """A variable, which is assigned later, too."""

    name: Name
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Array:
    """An array in private memory; ``fill``: what each entry holds at first, if anything. ``values``: what they are, if
    they are constants."""

    name: Name
    size: int
    fill: Expression | None = None
    values: tuple[Expression, ...] = ()


@dataclass(slots=True, unsafe_hash=True)
class Assign:
    """``target``, a variable or an entry, gets a new value."""

    target: Name | Index
    value: Expression


@dataclass(slots=True, unsafe_hash=True)
class Run:
    """A call for what it does: it has no result."""

    call: Call


@dataclass(slots=True, unsafe_hash=True)
class Loop:
    """``body`` for each value of ``variable``, an int, from ``start`` on and below ``stop``; kept rolled.

    ``descending``: the highest value first.
    """

    variable: Name
    start: Expression
    stop: Expression
    body: tuple[Statement, ...]
    descending: bool = False
    step: int = 1


@dataclass(slots=True, unsafe_hash=True)
class If:
    """``body`` where ``condition``, a scalar, is not 0."""

    condition: Expression
    body: tuple[Statement, ...]


@dataclass(slots=True, unsafe_hash=True)
class Comment:
    """Words for a reader of the kernel."""

    words: str


Statement = Let | Declare | Array | Assign | Run | Loop | If | Comment


def _wider(left: str, right: str) -> str:
    """The type of a number computed from two: lanes rather than a scalar, a pointer rather than its offset, and real
    rather than int."""
    if left == right or left in MASKS or left.endswith("*"):
        return left
    if right in MASKS or right.endswith("*"):
        return right
    return right if left == "int" else left


@memoised(1024)
def number(value: int) -> Literal:
    """An int."""
    return Literal(str(value), "int")


def cast(kind: str, argument: Expression) -> Cast:
    """``argument`` as ``kind``."""
    return Cast(kind, (argument,))


def plus(left: Expression, right: Expression) -> Binary:
    return Binary("+", left, right)


def times(left: Expression, right: Expression) -> Binary:
    return Binary("*", left, right)


def joined(operator: str, operands: Iterable[Expression]) -> Expression:
    """Operands with an operator between each two, the first two first."""
    return reduce(lambda left, right: Binary(operator, left, right), operands)


def parts(expression: Expression) -> tuple[Expression, ...]:
    """The expressions that one is made of directly."""
    match expression:
        case Unary(_, argument):
            return (argument,)
        case Binary(_, left, right):
            return left, right
        case Call(_, arguments, _) | Cast(_, arguments):
            return arguments
        case Index(array, at):
            return array, at
        case Load(pointer, _, count, _):
            return pointer, count
        case Select(condition, positive, negative):
            return condition, positive, negative
    return ()


__all__ = [
    "ARITHMETIC", "COMPARISONS", "LOGICAL", "MASKS", "Array", "Assign", "Binary", "Call", "Cast", "Comment", "Declare",
    "Expression", "If", "Index", "Let", "Literal", "Load", "Loop", "Name", "Place", "Run", "Select", "Statement",
    "Unary", "cast", "joined", "number", "parts", "plus", "times",
]  # fmt: skip

"""The variables of a formula: aliases such as ``x = Vi(3)``, and look-up by name and by position."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.domain import Domain
from clreduce.errors import FormulaError
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import variable
from clreduce.ir.show import CATEGORIES
from clreduce.language.vocabulary import function_named

_SHOWN = 100  # how much of a long text an error shows


@dataclass(frozen=True)
class Variable:
    """The declaration of the array at ``position`` of a call; ``str()`` gives its alias.

    >>> print(*parse_aliases(["x = Vi(3)", "Pm(2)"]), sep="; ")
    x = Vi(0, 3); Pm(1, 2)
    """

    name: str | None
    position: int
    dim: int
    domain: Domain
    kind: str = REAL
    """The kind of its numbers: real, or integer for indices."""

    def __str__(self) -> str:
        kind = ("Vi", "Vj", "Pm")[CATEGORIES.index(self.domain)]
        return f"{self.name + ' = ' if self.name else ''}{kind}({self.position}, {self.dim})"

    @property
    def expr(self) -> Expr:
        """The node that stands for the variable in formulas."""
        return variable(self.position, self.dim, self.domain, self.kind)


def parse_aliases(aliases: Sequence[str]) -> tuple[Variable, ...]:
    """Parse aliases: ``name = Vi(dim)`` or ``name = Vi(position, dim)``, and likewise Vj and Pm.

    An alias without a name only declares its position; it may be ``Var(position, dim, category)``, too. Raises
    `FormulaError` if an alias is malformed, or if two aliases contradict each other.
    """
    if isinstance(aliases, (str, bytes)) or not isinstance(aliases, Sequence):
        given = f"{type(aliases).__name__} {aliases!r}"
        raise FormulaError(f"aliases must be a list of texts, such as ['x = Vi(3)', 'y = Vj(3)'], not the {given}")
    slots = Slots()
    declared = []
    for index, text in enumerate(aliases):
        declared.append(_parse_alias(text, index))
        try:
            slots.add(declared[-1])
        except FormulaError as error:
            raise error_at(error.message, text, 0) from None
    return tuple(declared)


def located(message: str, text: str, column: int) -> str:
    """``message``, followed by ``text`` with a caret under ``column``, in the layout of `FormulaError`.

    >>> print(located("wrong", "x + y", 4))
    wrong
      x + y
          ^
    """
    return str(error_at(message, text, column))


def error_at(message: str, text: str, column: int) -> FormulaError:
    """A `FormulaError` that shows the text around ``column``; unprintable characters are replaced."""
    start = max(0, min(column - _SHOWN // 2, len(text) - _SHOWN))
    shown = "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text[start:][:_SHOWN])
    before, after = "..." if start else "", "..." if start + _SHOWN < len(text) else ""
    return FormulaError(message, text=before + shown + after, column=len(before) + column - start)


class Slots:
    """The variables that have been declared so far, by name and by position."""

    def __init__(self, declared: Sequence[Variable] = ()) -> None:
        self.by_name: dict[str, Variable] = {}
        self.by_position: dict[int, Variable] = {}
        self.declared = -1
        """The largest position in the aliases and formulas of the user."""
        for slot in declared:
            self.add(slot)

    def add(self, new: Variable) -> Expr:
        """Add a variable and return its node; raises `FormulaError` if it contradicts an earlier declaration."""
        known = self.by_position.setdefault(new.position, new)
        if (known.dim, known.domain) != (new.dim, new.domain):
            raise FormulaError(f"position {new.position} is declared twice: as '{known}' and as '{new}'")
        if new.name is not None:
            if new.name in self.by_name:
                raise FormulaError(f"the name {new.name!r} is given twice: '{self.by_name[new.name]}' and '{new}'")
            self.by_name[new.name] = new
            if known.name is None:
                self.by_position[new.position] = new
        return new.expr

    def complete(self) -> tuple[Variable, ...]:
        """All variables in order of position; raises `FormulaError` if a position is missing."""
        ordered = [self.by_position[at] for at in sorted(self.by_position)]
        for at, slot in enumerate(ordered):
            if slot.position != at:
                raise FormulaError(
                    f"'{slot}' is declared, but no variable has position {at}: positions must be 0, 1, 2 ... without a "
                    "gap"
                )
        return tuple(ordered)


KINDS = {"Vi": Domain.I, "Vj": Domain.J, "Pm": Domain.P, "Vx": Domain.I, "Vy": Domain.J}
# Each part is optional, so that the end of the match is the place of the first mistake.
_ALIAS = re.compile(
    r"\s*(?:(?P<name>\w+)\s*=\s*)?"
    r"(?:(?P<kind>Var|Vi|Vj|Pm|Vx|Vy)\s*(?:\(\s*"
    r"(?:(?P<numbers>[0-9]{1,9}(?:\s*,\s*[0-9]{1,9}){0,2})\s*(?P<closed>\)\s*\Z)?)?)?)?"
)


def _parse_alias(text: str, index: int) -> Variable:
    if not isinstance(text, str):
        raise FormulaError(f"an alias is a text such as 'x = Vi(3)', not the {type(text).__name__} {text!r}")
    match = _ALIAS.match(text)
    if match is None or not match["closed"]:
        form = "an alias reads 'name = Vi(dim)' or 'name = Vi(position, dim)'; Vj and Pm serve like Vi"
        raise error_at(form, text, match.end() if match else 0)
    name, kind = match["name"], match["kind"]
    *others, dim = numbers = [int(number) for number in match["numbers"].split(",")]
    if name is not None:
        name = unicodedata.normalize("NFKC", name)
        if not name.isidentifier() or keyword.iskeyword(name):
            raise error_at(f"{name!r} cannot name a variable", text, match.start("name"))
        if function_named(name) is not None or name in KINDS:
            raise error_at(
                f"{name!r} is the name of an operation, so it cannot name a variable", text, match.start("name")
            )
        if kind == "Var":
            raise error_at(f"with a name, write {name} = Vi(position, dim), or Vj or Pm", text, match.start("kind"))
    position, domain = others[0] if others else index, KINDS.get(kind, Domain.P)
    if kind == "Var" and len(numbers) == 3 and dim < len(CATEGORIES):
        position, dim, domain = numbers[0], numbers[1], CATEGORIES[dim]
    elif kind == "Var" or len(numbers) == 3:
        wanted = "Var(position, dim, category), the category 0 (i), 1 (j) or 2 (parameter)"
        raise error_at(
            wanted if kind == "Var" else f"{kind}(dim) or {kind}(position, dim)", text, match.start("numbers")
        )
    if dim < 1:
        raise error_at(f"a vector has length 1 or more, not {dim}", text, match.start("numbers"))
    return Variable(name, position, dim, domain)

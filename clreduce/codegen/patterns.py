"""The parser of the OpenCL texts in declarations of operations (`Op.code`, `Fold.steps`). It makes trees with holes.

A text is an expression of OpenCL C. ``{0} {1}`` stand for the arguments, ``{R}`` for the type of the result and ``{T}``
for the suffix of clreduce's own functions for lanes or scalars.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clreduce.codegen.frame import ROOTS
from clreduce.codegen.tree import (
    ARITHMETIC,
    Binary,
    Expression,
    FunctionCall,
    Literal,
    Select,
    Unary,
    cast,
)
from clreduce.memo import memoised

Holes = Mapping[str, Expression]
Fill = Callable[[Holes, str, str], Expression]
"""A function of the arguments (by the names of their holes), the type of the result and the suffix of own functions."""

_TOKEN = re.compile(r"\s*(\{\w+\}|(?:\w|\{T\})*[A-Za-z_](?:\w|\{T\})*|[\d.][\w.]*|&&|\|\||[<>=!]=|[-+*/<>!~&|?:(),])")
_STRENGTH = (("||",), ("&&",), ("|",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/"))
"""The binary operators; those that bind weakest come first."""


@dataclass(frozen=True)
class Pattern:
    """A parsed text of an operation."""

    fill: Fill
    arithmetic: bool
    """Whether the text has no operators except + - * /. Scalars may then stay scalars beside lanes."""


@memoised(4096)
def pattern(code: str) -> Pattern:
    """The parsed text of an operation.

    >>> from clreduce.codegen.printing import text
    >>> from clreduce.codegen.tree import Name
    >>> holes = {"0": Name("a", "realv"), "1": Name("b", "realv")}
    >>> text(pattern("({R})(1) / exp_{T}({0} - ({1} * {1}))").fill(holes, "realv", "v"))
    '(realv)(1) / exp_v(a - b * b)'
    """
    reader = _PatternReader(code)
    fill = reader.select()
    reader.end()
    return Pattern(fill, reader.arithmetic)


class _PatternReader:
    """A recursive descent through the tokens of a text."""

    def __init__(self, code: str) -> None:
        self.code, self.at = code, 0
        self.tokens: list[str] = []
        self.arithmetic = True
        place = 0
        while place < len(code.rstrip()):
            token = _TOKEN.match(code, place)
            if token is None:
                raise ValueError(f"the text {code!r} of an operation has something else than an expression at {place}")
            self.tokens.append(token[1])
            place = token.end()

    def next_is(self, *tokens: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] in tokens

    def take(self) -> str:
        if self.at == len(self.tokens):
            raise ValueError(f"the text {self.code!r} of an operation ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise ValueError(f"the text {self.code!r} of an operation lacks {token!r} at token {self.at}")

    def end(self) -> None:
        if self.at != len(self.tokens):
            raise ValueError(f"the text {self.code!r} of an operation goes on after token {self.at}")

    def select(self) -> Fill:
        condition = self.binary(0)
        if not self.next_is("?"):
            return condition
        self.arithmetic = False
        self.take()
        positive = self.select()
        self.expect(":")
        negative = self.select()
        return lambda holes, kind, form: Select(
            condition(holes, kind, form), positive(holes, kind, form), negative(holes, kind, form)
        )

    def binary(self, level: int) -> Fill:
        if level == len(_STRENGTH):
            return self.unary()
        left = self.binary(level + 1)
        while self.next_is(*_STRENGTH[level]):
            left = self.with_operator(left, self.take(), self.binary(level + 1))
        return left

    def with_operator(self, left: Fill, operator: str, right: Fill) -> Fill:
        self.arithmetic &= operator in ARITHMETIC
        return lambda holes, kind, form: Binary(operator, left(holes, kind, form), right(holes, kind, form))

    def unary(self) -> Fill:
        if self.next_is("-", "!", "~"):
            operator = self.take()
            self.arithmetic &= operator == "-"
            argument = self.unary()
            return lambda holes, kind, form: Unary(operator, argument(holes, kind, form))
        return self.primary()

    def primary(self) -> Fill:
        token = self.take()
        if token == "(":
            if self.tokens[self.at : self.at + 2] == ["{R}", ")"]:
                self.at += 2
                self.arithmetic = False
                inner = self.unary()
                return lambda holes, kind, form: cast(kind, inner(holes, kind, form))
            inside = self.select()
            self.expect(")")
            return inside
        if re.fullmatch(r"\{\w+\}", token):
            name = token[1:-1]
            return lambda holes, kind, form: holes[name]
        if self.next_is("("):
            return self.call(token)
        self.arithmetic &= token.isdecimal()
        literal = Literal(token, "int" if token.isdecimal() else "long" if token.endswith("L") else "real")
        if token == ROOTS.name:
            return lambda holes, kind, form: ROOTS
        if not (token[0].isdigit() or token[0] == "." or token == "INFINITY"):
            raise ValueError(f"the text {self.code!r} of an operation has an unknown name, {token!r}")
        return lambda holes, kind, form: literal

    def call(self, function: str) -> Fill:
        self.arithmetic = False
        self.expect("(")
        arguments = [self.select()]
        while self.next_is(","):
            self.take()
            arguments.append(self.select())
        self.expect(")")
        name, own, _ = function.partition("{T}")
        if not own:
            return lambda holes, kind, form: FunctionCall(
                function, tuple([argument(holes, kind, form) for argument in arguments]), kind
            )
        return lambda holes, kind, form: FunctionCall(
            name + form, tuple([argument(holes, kind, form) for argument in arguments]), kind
        )


__all__ = ["Pattern", "pattern"]

"""The printer of trees: it turns statements and expressions of kernels into OpenCL C."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from clreduce.codegen.tree import (
    Array,
    Assign,
    Binary,
    Cast,
    Comment,
    Declare,
    Expression,
    FunctionCall,
    If,
    Let,
    Literal,
    Load,
    Loop,
    Name,
    Place,
    Run,
    Select,
    Statement,
    Subscript,
    Unary,
    number,
)
from clreduce.ir.index import Position, text_of

_SELECT, _OR, _UNARY, _POSTFIX, _PRIMARY = 3, 4, 14, 15, 16
_STRENGTH = {
    "||": _OR, "&&": 5, "|": 6, "^": 7, "&": 8, "==": 9, "!=": 9, "<": 10, "<=": 10, ">": 10, ">=": 10,
    "<<": 11, ">>": 11, "+": 12, "-": 12, "*": 13, "/": 13, "%": 13,
}  # fmt: skip
"""The precedence of operators in OpenCL C."""
_OF_BITS = frozenset(("|", "^", "&", "<<", ">>"))
"""Operators whose precedence few readers know. Operations beside them are in parentheses."""
_LOADS = {"realv": ("load_lanes", ""), "inumv": ("load_index", ", 0")}


def text(expression: Expression) -> str:
    """The text of an expression, with the parentheses that it needs.

    >>> a, b = Name("a", "real"), Name("b", "real")
    >>> text(Binary("*", Binary("+", a, b), Unary("-", b)))
    '(a + b) * -b'
    >>> text(Binary("-", a, Binary("-", a, b))), text(Binary("-", Binary("-", a, a), b))
    ('a - (a - b)', 'a - a - b')
    """
    return _within(expression, 0)


def block(statements: Sequence[Statement], indent: int) -> str:
    """The text of statements, as lines with this indentation."""
    lines: list[str] = []
    _write(statements, " " * indent, lines)
    return "\n".join(lines)


def _strength(expression: Expression) -> int:
    match expression:
        case Binary(operator):
            return _STRENGTH[operator]
        case Select():
            return _SELECT
        case Unary():
            return _UNARY
        case Cast(kind):
            return _UNARY if kind.endswith("*") else _POSTFIX
        case Place(position):
            return _strength_of_position(position)
    return _PRIMARY


def _strength_of_position(position: Position) -> int:
    if isinstance(position, int) or not position.text.startswith("("):
        return _PRIMARY
    return _STRENGTH["+" if position.summands else "*"]


def _within(expression: Expression, strength: int) -> str:
    """The text of an expression as an operand of an operator with this precedence."""
    if type(expression) is Name:
        return expression.name
    written = _written(expression)
    return f"({written})" if _strength(expression) < strength else written


def _written(expression: Expression) -> str:
    match expression:
        case Name(name):
            return name
        case Literal(written):
            return written
        case Binary(operator, left, right):
            strength = _STRENGTH[operator]
            return f"{_operand(left, operator, strength)} {operator} {_operand(right, operator, strength + 1)}"
        case Place(position):
            written = text_of(position)
            return written if _strength_of_position(position) == _PRIMARY else written[1:-1]
        case FunctionCall(function, arguments, _):
            return f"{function}({', '.join(map(text, arguments))})"
        case Cast(kind, arguments):
            if kind.endswith("*"):
                return f"({kind}){_within(arguments[0], _UNARY)}"
            return f"({kind})({', '.join(map(text, arguments))})"
        case Subscript(array, at):
            return f"{_within(array, _POSTFIX)}[{text(at)}]"
        case Unary(operator, argument):
            return f"{operator}{_within(argument, _UNARY + (type(argument) is Unary))}"
        case Load(pointer, stride, count, kind):
            function, rest = _LOADS[kind]
            return f"{function}({text(pointer)}, {stride}, {text(count)}{rest})"
        case Select(condition, positive, negative):
            if type(condition) is Binary and condition.operator in _OF_BITS:
                return f"({text(condition)}) ? {_branch(positive)} : {_branch(negative)}"
            return f"{_within(condition, _OR)} ? {_branch(positive)} : {_branch(negative)}"


def _operand(expression: Expression, operator: str, strength: int) -> str:
    """The text of an operand. It is in parentheses even if they are redundant, where few readers know that."""
    if type(expression) is Binary and expression.operator != operator:
        inner = expression.operator
        if operator in _OF_BITS or inner in _OF_BITS or (operator == "||" and inner == "&&"):
            return f"({_written(expression)})"
    return _within(expression, strength)


def _branch(expression: Expression) -> str:
    return _within(expression, _OR)


def _write(statements: Sequence[Statement], pad: str, lines: list[str]) -> None:
    for statement in statements:
        match statement:
            case Let(name, value):
                lines.append(f"{pad}const {name.type} {name.name} = {text(value)};")
            case Assign(target, value):
                lines.append(f"{pad}{text(target)} = {text(value)};")
            case Declare(name, value):
                lines.append(f"{pad}{name.type} {name.name} = {text(value)};")
            case Array(name, size, fill, values):
                if values:
                    lines.append(f"{pad}const {name.type} {name.name}[{size}] = {{{', '.join(map(text, values))}}};")
                    continue
                lines.append(f"{pad}{name.type} {name.name}[{size}];")
                if fill is not None:
                    lines.append(f"{pad}for (int k = 0; k < {size}; ++k) {name.name}[k] = {text(fill)};")
            case Run(call):
                lines.append(f"{pad}{text(call)};")
            case Loop(Name(name), start, stop, body, descending, step):
                if descending:
                    last = number(int(stop.text) - 1) if type(stop) is Literal else Binary("-", stop, number(1))
                    turns = f"int {name} = {text(last)}; {name} >= {text(start)}; --{name}"
                else:
                    further = f"++{name}" if step == 1 else f"{name} += {step}"
                    turns = f"int {name} = {text(start)}; {name} < {text(stop)}; {further}"
                lines.append(f"{pad}for ({turns}) {{")
                _write(body, pad + "  ", lines)
                lines.append(f"{pad}}}")
            case Comment(words):
                lines += [f"{pad}// {line}" for line in textwrap.wrap(words, 117 - len(pad))]
            case If(condition, body):
                lines.append(f"{pad}if ({text(condition)}) {{")
                _write(body, pad + "  ", lines)
                lines.append(f"{pad}}}")

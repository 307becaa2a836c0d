"""The parser of formulas: it turns text into an `Expr`.

Formulas have Python's grammar for expressions. `ast` parses them, and a whitelist selects what they may contain;
nothing is executed. Every error shows the text with a caret under the part at fault.
"""

from __future__ import annotations

import ast
import operator
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import NoReturn

from clreduce.domain import Domain
from clreduce.errors import ClreduceError, FormulaError
from clreduce.ir.expr import Expr, variables
from clreduce.ir.op import FUNCTIONS, Function, constant, constant_value
from clreduce.ir.rewrite import uniform_value
from clreduce.ir.show import CATEGORIES
from clreduce.language.aliases import KINDS, Slots, Variable, error_at, located, parse_aliases
from clreduce.language.names import did_you_mean
from clreduce.language.vocabulary import DERIVATIVES, DIFF, GRAD, VAR, function_named
from clreduce.ops.arithmetic import add, div, inv, mul, raised, sub
from clreduce.ops.compare import equal, less, less_equal, logical_not, where
from clreduce.ops.derived import scalar_product

LARGEST_INTEGER = 2**31 - 1
"""The largest length, position or exponent: these are 32-bit integers in kernels."""
_FOLDED_BITS = 8192  # exact arithmetic on constants stops here, so that 9**9**9**9 takes no time
_LONGEST = 100_000  # characters of a formula: Python 3.10 overflows its stack in `ast` beyond several of these
_QUOTED = 40  # how much of a part of it


@dataclass(frozen=True)
class ParsedFormula:
    """A parsed formula, and the variables for which a call needs arrays, in order of position."""

    text: str
    expr: Expr
    variables: tuple[Variable, ...]


def parse(formula: str, aliases: Sequence[str]) -> ParsedFormula:
    """Parse one formula; raises `FormulaError` or `ShapeError` with the place of the error.

    >>> parsed = parse("Exp(-SqDist(x, y)) * Var(2, 1, 1)", ["x = Vi(3)", "y = Vj(3)"])
    >>> parsed.expr
    Expr(Exp(-SqDist(Var(0, 3, 0), Var(1, 3, 1))) * Var(2, 1, 1))
    >>> [str(variable) for variable in parsed.variables]
    ['x = Vi(0, 3)', 'y = Vj(1, 3)', 'Vj(2, 1)']
    """
    exprs, variables_of_formula = parse_all([formula], aliases)
    return ParsedFormula(formula, exprs[0], variables_of_formula)


def parse_all(formulas: Sequence[str], aliases: Sequence[str]) -> tuple[tuple[Expr, ...], tuple[Variable, ...]]:
    """Parse formulas that share their variables; unused aliases count as variables too.

    >>> (f, g), slots = parse_all(["x|y", "2*y"], ["x = Vi(3)", "y = Vj(3)"])
    >>> f.dim, g.dim, len(slots)
    (1, 3, 2)
    """
    slots = Slots(parse_aliases(aliases))
    readers = [_FormulaReader(text, slots) for text in formulas]
    for reader in readers:
        reader.declare()
    slots.declared = max(slots.by_position, default=-1)
    exprs = tuple(reader.read() for reader in readers)
    return exprs, slots.complete()


_BINARY: dict[type[ast.operator], tuple[str, Callable[..., Expr], Callable[..., Fraction] | None]] = {
    ast.Add: ("+", add, operator.add),
    ast.Sub: ("-", sub, operator.sub),
    ast.Mult: ("*", mul, operator.mul),
    ast.Div: ("/", div, operator.truediv),
    ast.Pow: ("**", raised, operator.pow),
    ast.BitOr: ("|", scalar_product, None),
}
_COMPARED: dict[type[ast.cmpop], tuple[str, Callable[[Expr, Expr], Expr]]] = {
    ast.Lt: ("<", less),
    ast.LtE: ("<=", less_equal),
    ast.Gt: (">", lambda f, g: less(g, f)),
    ast.GtE: (">=", lambda f, g: less_equal(g, f)),
    ast.Eq: ("==", equal),
    ast.NotEq: ("!=", lambda f, g: logical_not(equal(f, g))),
}
_NUMBER = re.compile(r"[0-9_]+(?:[eE][0-9_]*)?|0[xX][0-9a-fA-F_]+|0[bBoO][0-7_]+")
"""The digits and letters of a number, apart from its point and the sign of its exponent."""
_MARKS = frozenset("+-*/|<>=!()[],._ ")
_HINTS = {"^": "a power is written **", "@": "a scalar product is written |", "&": "write (a < b) * (b < c) for 'and'"}
_REFUSED = {
    ast.Attribute: "a dot has no meaning here",
    ast.Subscript: "brackets select nothing here; write Elem(f, m) or Extract(f, start, length)",
    ast.List: "a list has no meaning here; only some operations take one as a parameter",
    ast.Tuple: "a comma belongs between the arguments of an operation",
    ast.BoolOp: "conditions are the numbers 0 and 1: write (a < b) * (b < c) for 'and'",
    ast.IfExp: "'if' has no meaning here; multiply by a comparison",
}


class _FormulaReader:
    """The parser of one formula."""

    def __init__(self, text: str, slots: Slots) -> None:
        if not isinstance(text, str):
            raise FormulaError(f"a formula is a text, not the {type(text).__name__} {text!r}")
        self.slots = slots
        self.text = "".join(" " if mark.isspace() else mark for mark in text)
        self.shift = len(self.text) - len(self.text.lstrip())
        for column, mark in enumerate(self.text):
            if mark not in _MARKS and not f"a{mark}".isidentifier():
                hint = f": {_HINTS[mark]}" if mark in _HINTS else ""
                self.fail(f"the character {mark!r} has no meaning in a formula{hint}", column)
        if self.shift == len(self.text):
            raise FormulaError("the formula is empty")
        if len(text) > _LONGEST:
            self.fail(f"the formula has {len(text)} characters, and {_LONGEST} is the most", _LONGEST)
        for word in re.finditer(r"(?<!\w)[0-9]\w*", self.text):
            if not _NUMBER.fullmatch(word.group()):
                shown = word.group()[:_QUOTED]
                self.fail(f"{shown!r} is neither a number nor a name; a product is written with *", word.start())
        self.encoded = self.text[self.shift :].encode()
        """The text in UTF-8: `ast` counts columns in its bytes."""
        try:
            self.tree = ast.parse(self.text[self.shift :], mode="eval").body
        except SyntaxError as error:
            column = self.shift + max((error.offset or 1) - 1, 0)
            reason = error.msg.partition(";")[0].partition(". Perhaps")[0]
            if reason == "invalid syntax":
                reason = "this cannot stand here; an operator such as * belongs between two values"
            self.fail(f"the formula cannot be read: {reason}", min(column, len(self.text)))
        except (RecursionError, MemoryError, ValueError, OverflowError):
            self.fail("the formula is nested too deeply", 0)

    def declare(self) -> None:
        """Declare every ``Var(...)``, so that the variable of a ``Grad(f, v)`` gets a new position."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Var":
                self.called(node)
                self.variable(node)

    def read(self) -> Expr:
        """The formula. There is no recursion, so only `ast` limits the depth."""
        value: dict[ast.expr, Expr] = {}
        stack: list[tuple[ast.expr, list[ast.expr] | None]] = [(self.tree, None)]
        while stack:
            node, below = stack.pop()
            if below is None:
                below = self.operands(node)
                stack.append((node, below))
                stack += [(operand, None) for operand in reversed(below)]
            else:
                value[node] = self.build(node, below, [value[operand] for operand in below])
        return value[self.tree]

    def operands(self, node: ast.expr) -> list[ast.expr]:
        """The parts of ``node`` that are formulas; fails for syntax that the language does not have."""
        match node:
            case ast.Name() | ast.Constant():
                return []
            case ast.UnaryOp(op=ast.UAdd() | ast.USub()):
                return [node.operand]
            case ast.BinOp() if type(node.op) in _BINARY:
                return [node.left, node.right]
            case ast.Compare() if all(type(op) in _COMPARED for op in node.ops):
                if len(node.ops) > 1:
                    self.fail("comparisons cannot be chained: write (a < b) * (b < c)", self.sign_column(node))
                return [node.left, node.comparators[0]]
            case ast.Call():
                function = self.called(node)
                given = node.args if function.variadic else node.args[: len(function.arguments)]
                return [given[0], *self.directions(node)] if function is DIFF else given
        self.fail(_REFUSED.get(type(node), f"{self.source(node)} has no meaning in a formula"), self.sign_column(node))

    def build(self, node: ast.expr, below: list[ast.expr], args: list[Expr]) -> Expr:
        """The formula of ``node``, from the syntax trees ``below`` and the formulas ``args`` of its operands."""
        match node:
            case ast.Constant():
                return self.number(node)
            case ast.Name():
                return self.named(node)
            case ast.UnaryOp():
                return self.negative(node, args[0]) if isinstance(node.op, ast.USub) else args[0]
            case ast.BinOp():
                return self.binary(node, below, args)
            case ast.Compare():
                sign, compare = _COMPARED[type(node.ops[0])]
                return self.apply(node, sign, lambda f, g: where(compare(f, g), constant(1), constant(0)), below, args)
            case ast.Call():
                return self.call(node, below, args)
        raise AssertionError(node)

    def number(self, node: ast.Constant) -> Expr:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)):
            self.fail(f"a formula is made of real numbers and names; {self.source(node)} is neither", node)
        return self.bounded(node, constant(node.value))

    def bounded(self, node: ast.expr, value: Expr) -> Expr:
        """``value``; fails if it is a constant beyond the range of floating-point numbers."""
        known = constant_value(value)
        if known is not None and not -sys.float_info.max <= known <= sys.float_info.max:
            self.fail("this number is larger than any floating-point number", self.sign_column(node))
        return value

    def named(self, node: ast.Name) -> Expr:
        slot = self.slots.by_name.get(node.id)
        if slot is not None:
            return slot.expr
        if function_named(node.id) is not None:
            self.fail(f"{node.id!r} is an operation; its arguments are missing", node)
        known = list(self.slots.by_name)
        declared = f"the aliases are {', '.join(known)}" if known else "no alias has a name"
        self.fail(f"unknown variable {self.source(node)!r}{did_you_mean(node.id, known)}; {declared}", node)

    def negative(self, node: ast.UnaryOp, arg: Expr) -> Expr:
        value = constant_value(arg)
        if value is None:
            return -arg
        is_float = isinstance(node.operand, ast.Constant) and isinstance(node.operand.value, float)
        return constant(-0.0 if is_float and value == 0 else -value)

    def binary(self, node: ast.BinOp, below: list[ast.expr], args: list[Expr]) -> Expr:
        sign, build, fold = _BINARY[type(node.op)]
        left, right = (constant_value(arg) for arg in args)
        exponent = int(right) if sign == "**" and right is not None and right % 1 == 0 else None
        if (sign == "/" and uniform_value(args[1]) == 0) or (exponent is not None and exponent < 0 and left == 0):
            self.fail("division by zero", node.right)
        if exponent is not None and abs(exponent) > LARGEST_INTEGER:
            self.fail(f"an exponent is at most {LARGEST_INTEGER}", node.right)
        if fold and isinstance(left, Fraction) and isinstance(right, Fraction):
            exact = sign != "**" or (exponent is not None and _bits(left) * abs(exponent) <= _FOLDED_BITS)
            folded = fold(left, right) if exact else None
            if folded is not None and _bits(folded) <= _FOLDED_BITS:
                return self.bounded(node, constant(folded))
        return self.apply(node, sign, build, below, args)

    def called(self, node: ast.Call) -> Function:
        """The operation that ``node`` calls; fails if it is unknown or has a wrong number of arguments."""
        if not isinstance(node.func, ast.Name):
            self.fail(
                "only an operation can be called, by its name, such as Exp(x); modules and methods do not exist here",
                node.func,
            )
        name = node.func.id
        function = function_named(name)
        if function is None:
            if name in self.slots.by_name:
                self.fail(f"{name!r} is a variable, not an operation; a product is written with *", node.func)
            if name in KINDS:
                self.fail(f"inside a formula, write Var(position, dim, category) instead of {name}(...)", node.func)
            known = [*FUNCTIONS, *DERIVATIVES, "Var"]
            self.fail(f"unknown operation {self.source(node.func)!r}{did_you_mean(name, known)}", node.func)
        signature = function.signature
        names = len(function.arguments) + len(function.parameters)
        least, most = names - function.optional, inf if function.variadic else names
        if node.keywords:
            self.fail(f"arguments are given by their order, not by name: {signature}", node.keywords[0])
        for arg in node.args:
            if isinstance(arg, ast.Starred):
                self.fail(f"arguments are written one by one: {signature}", arg)
        if not least <= len(node.args) <= most:
            wanted = f"{least}{' or more' if function.variadic else f' or {most}' if most == least + 1 else ''}"
            wanted = f"{least} to {most}" if least + 1 < most < inf else wanted
            plural = "" if wanted == "1" else "s"
            self.fail(f"{name} takes {wanted} argument{plural}, not {len(node.args)}: {signature}", node)
        return function

    def call(self, node: ast.Call, below: list[ast.expr], args: list[Expr]) -> Expr:
        function = self.called(node)
        if function is VAR:
            return self.variable(node)
        if function.build in (div, inv) and uniform_value(args[-1]) == 0:
            self.fail("division by zero", node.args[-1])
        if function is DIFF:
            count = len(below) // 2
            self.check_variables(function, below[1 : 1 + count], args[1 : 1 + count])
            sides = args[1 : 1 + count], args[1 + count :]
            return self.apply(node, function.name, lambda f, *_: function.build(f, *sides), below, args)
        if function.name in DERIVATIVES:
            self.check_variables(function, below[1:2], args[1:2])
            if function is GRAD and len(args) == 2:
                args = [*args, self.cotangent(node, *args)]
        result = self.apply(node, function.name, function.build, below, args, self.parameters(node, function))
        return self.bounded(node, result)

    def directions(self, node: ast.Call) -> list[ast.expr]:
        """The variables of a ``Diff``, followed by their directions: each of the two is a formula or a tuple."""
        v, u = (part.elts if isinstance(part, (ast.Tuple, ast.List)) else [part] for part in node.args[1:])
        if len(v) != len(u) or not v:
            self.fail(
                f"Diff needs one direction for each variable; got {len(v)} variables and {len(u)} directions",
                node.args[2],
            )
        return [*v, *u]

    def check_variables(self, function: Function, texts: Sequence[ast.expr], formulas: Sequence[Expr]) -> None:
        for text, v in zip(texts, formulas, strict=True):
            if v.op.name != "variable":
                self.fail(f"{function.name} differentiates in a variable, not in {self.source(text)!r}", text)

    def variable(self, node: ast.Call) -> Expr:
        position, dim, category = (number for number in self.parameters(node, VAR) if isinstance(number, int))
        if position < 0 or dim < 1 or not 0 <= category < len(CATEGORIES):
            self.fail(
                "Var(position, dim, category) needs a position from 0, a dim from 1, and the category 0 (i), 1 (j) or "
                "2 (parameter)",
                node,
            )
        return self.apply(node, "Var", self.slots.add, (), [], [Variable(None, position, dim, CATEGORIES[category])])

    def cotangent(self, node: ast.Call, f: Expr, v: Expr) -> Expr:
        """The new variable that ``Grad(f, v)`` is applied to. It comes last, and its index is the one that v lacks."""
        if v.domain == Domain.P:
            self.fail(
                "for a parameter v, Grad needs a third argument: write Grad(f, v, e), where e is the cotangent", node
            )
        position = 1 + max([self.slots.declared, *(leaf.params[0] for leaf in variables([f, v]))])
        new = Variable(None, position, f.dim, v.domain.swapped())
        return self.apply(node, "Grad", self.slots.add, (), [], [new])

    def parameters(self, node: ast.Call, function: Function) -> list[int | tuple[int, ...]]:
        """The integers, or lists of integers, that follow the formulas among the arguments."""
        start = len(function.arguments)
        examples = [*function.example[start:], *[0] * len(function.parameters)]
        given = zip(node.args[start:], function.parameters, examples, strict=False)
        return [self.parameter(part, function, label, isinstance(like, (tuple, list))) for part, label, like in given]

    def parameter(self, node: ast.expr, function: Function, label: str, is_list: bool) -> int | tuple[int, ...]:
        items = node.elts if is_list and isinstance(node, (ast.List, ast.Tuple)) else [node]
        largest = LARGEST_INTEGER if function.arguments or function is VAR else 2**_FOLDED_BITS
        values = []
        for item in items:
            value = _integer(item)
            if value is None or (is_list and item is node):
                needed = "a list of whole numbers" if is_list else "a whole number"
                self.fail(
                    f"{function.name}: {label} must be {needed}, written as a constant, not {self.source(node)!r}", item
                )
            if abs(value) > largest:
                self.fail(f"{function.name}: {label} is too large", item)
            values.append(value)
        return tuple(values) if is_list else values[0]

    def apply(
        self, node: ast.expr, name: str, build: Callable[..., Expr],
        below: Sequence[ast.expr], args: Sequence[Expr], params: Sequence[object] = (),
    ) -> Expr:  # fmt: skip
        """The result of ``build``. Its errors get the place in the text and the lengths of the arguments."""
        try:
            return build(*args, *params)
        except ClreduceError as error:
            message = error.message if isinstance(error, FormulaError) else str(error)
            if name.isidentifier() and not message.startswith(name):
                message = f"{name}: {message}"
            lengths = {self.source(part): arg.dim for part, arg in zip(below, args, strict=False)}
            if lengths:
                message += f"; here {', '.join(f'{part} has length {dim}' for part, dim in lengths.items())}"
            column = self.sign_column(node)
            if isinstance(error, FormulaError):
                self.fail(message, column)
            raise type(error)(located(message, self.text, column)) from None

    def source(self, node: ast.expr) -> str:
        """The text of ``node``, or its first `_QUOTED` characters."""
        text = self.encoded[node.col_offset : node.end_col_offset].decode()
        return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."

    def column(self, node: ast.expr | ast.keyword, offset: int | None = None) -> int:
        """The column where ``node`` starts in the text, or the column of the byte at ``offset``."""
        return self.shift + len(self.encoded[: node.col_offset if offset is None else offset].decode())

    def sign_column(self, node: ast.expr) -> int:
        """The column of the operator of ``node``; the start of ``node`` if it has none."""
        if not isinstance(node, (ast.BinOp, ast.Compare)):
            return self.column(node)
        offset = node.left.end_col_offset or 0
        while self.encoded[offset] in b" )":
            offset += 1
        return self.column(node, offset)

    def fail(self, message: str, where: ast.expr | ast.keyword | int) -> NoReturn:
        raise error_at(message, self.text, where if isinstance(where, int) else self.column(where)) from None


def _integer(node: ast.expr) -> int | None:
    """The value of an integer literal, with any sign or as ``IntCst(n)``; None for anything else."""
    sign = 1
    while True:
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                sign, node = -sign, inner
            case ast.Call(func=ast.Name(id="IntCst"), args=[inner], keywords=[]):
                node = inner
            case ast.Constant(value=int(value)) if not isinstance(value, bool):
                return sign * value
            case _:
                return None


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


__all__ = ["DERIVATIVES", "ParsedFormula", "Variable", "located", "parse", "parse_aliases", "parse_all"]

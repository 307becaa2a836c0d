"""Text forms of formulas. `show` is the inverse of the parser for all operations of the formula language.

Other operations are written ``name[parameters](arguments)``, which the parser does not accept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import count
from typing import Any

from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr, topological
from clreduce.ir.op import FUNCTIONS, Op, constant_value

CATEGORIES = (Domain.I, Domain.J, Domain.P)
"""The domains of the categories 0, 1 and 2 in ``Var(position, dim, category)``."""

Names = Mapping[Any, str]
"""The texts for the names of variables, for instance the aliases of their positions."""
Piece = str | tuple[Expr, int]
"""A text, or a node with the precedence below which it needs parentheses."""

# The precedence of the operators of a formula, as in Python.
_COMPARISON, _BAR, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(7)
_INFIX = {"add": ("+", _SUM), "sub": ("-", _SUM), "mul": ("*", _PRODUCT), "div": ("/", _PRODUCT)}
_COMPARED = {"less": "<", "less_equal": "<=", "equal": "=="}
_LONGEST = 10_000


def show(expr: Expr, names: Names | None = None, limit: int = _LONGEST) -> str:
    """``expr`` as formula text, cut with ``...`` after ``limit`` characters. Shared parts are written out each time.

    >>> from clreduce.ir.op import variable
    >>> x, y = variable("x", 3, Domain.I), variable(1, 3, Domain.J)
    >>> show(-(x - (y + 1)) * x)
    '-(x - (Var(1, 3, 1) + 1)) * x'
    >>> show(x / y, {1: "y"})
    'x / y'
    """
    return _written(expr, names or {}, {}, limit)


def show_shared(exprs: Sequence[Expr], names: Names | None = None, limit: int = _LONGEST) -> str:
    """A line per formula, after a line ``t1 = ...`` for each part that is used more than once.

    >>> from clreduce.ir.op import variable
    >>> x = variable("x", 3, Domain.I)
    >>> print(show_shared([(x + 1) * (x + 1)]))
    t1 = x + 1
    t1 * t1
    """
    names = names or {}
    order = topological(exprs)
    uses = Counter(exprs)
    for node in order:
        uses.update(node.args)
    taken = {_leaf(node, names)[1] for node in order if not node.args}
    free = (name for name in (f"t{n}" for n in count(1)) if name not in taken)
    temporaries = {node: next(free) for node in order if node.args and uses[node] > 1}
    lines = [f"{name} = {_written(node, names, temporaries, limit)}" for node, name in temporaries.items()]
    lines += [temporaries.get(root) or _written(root, names, temporaries, limit) for root in exprs]
    return "\n".join(lines)


def tree(expr: Expr, names: Names | None = None) -> str:
    """A line per node with its length and domain. A shared node is written once and has a number.

    >>> from clreduce.ir.op import variable
    >>> x = variable("x", 3, Domain.I)
    >>> print(tree((x + 1) * (x + 1)))
    mul: 3, I
      #1 add: 3, I
        x: 3, I
        1: 1, P
      #1
    """
    names = names or {}
    uses = Counter(arg for node in topological([expr]) for arg in node.args)
    numbers: dict[Expr, int] = {}
    lines = []
    stack = [(expr, 0)]
    while stack:
        node, depth = stack.pop()
        indent = "  " * min(depth, 40)
        if node in numbers:
            lines.append(f"{indent}#{numbers[node]}")
            continue
        label = ""
        if node.args and uses[node] > 1:
            numbers[node] = len(numbers) + 1
            label = f"#{numbers[node]} "
        text = node.op.name + _brackets(node.params) if node.args else _leaf(node, names)[1]
        lines.append(f"{indent}{label}{text}: {node.dim}, {node.domain.name}")
        stack.extend((arg, depth + 1) for arg in reversed(node.args))
    return "\n".join(lines)


def _written(root: Expr, names: Names, temporaries: Mapping[Expr, str], limit: int) -> str:
    spellings = {function.build: name for name, function in FUNCTIONS.items() if isinstance(function.build, Op)}
    done: list[str] = []
    size = 0
    stack: list[Piece] = [(root, 0)]
    while stack:
        piece = stack.pop()
        if not isinstance(piece, str):
            node, needed = piece
            if node in temporaries and node is not root:
                piece = temporaries[node]
            else:
                strength, parts = _parts(node, names, temporaries, spellings)
                stack.extend(reversed(["(", *parts, ")"] if strength < needed else parts))
                continue
        done.append(piece)
        size += len(piece)
        if size > limit:
            return "".join(done)[:limit] + "..."
    return "".join(done)


def _parts(
    node: Expr, names: Names, temporaries: Mapping[Expr, str], spellings: Mapping[Any, str]
) -> tuple[int, Sequence[Piece]]:
    """The precedence of the text of ``node``, and its pieces."""
    name, args, params = node.op.name, node.args, node.params
    if not args:
        strength, text = _leaf(node, names)
        return strength, [text]
    # The parser folds operators between constants; only the name of an operation keeps them apart.
    if any(arg.op.name != "constant" for arg in args):
        if name in _INFIX:
            sign, strength = _INFIX[name]
            return strength, [(args[0], strength), f" {sign} ", (args[1], strength + 1)]
        if name == "neg":
            return _SIGN, ["-", (args[0], _SIGN)]
        if name in ("square", "integer_power"):
            return _POWER, [(args[0], _ATOM), f"**{params[0] if params else 2}"]
        if name == "real_power" and not _has_own_power(args[1]):
            return _POWER, [(args[0], _ATOM), "**", (args[1], _SIGN)]

    def inside(outer: Expr, *wanted: str) -> bool:
        """Whether the only argument of ``outer`` is one of ``wanted`` and may be written as a part of it."""
        return outer.args[0].op.name in wanted and outer.args[0] not in temporaries

    if name == "where" and [constant_value(arg) for arg in args[1:]] == [1, 0]:
        mask = args[0]
        unequal = mask.op.name == "logical_not" and inside(mask, "equal")
        if inside(node, *_COMPARED) or (unequal and inside(node, "logical_not")):
            sign = "!=" if unequal else _COMPARED[mask.op.name]
            left, right = mask.args[0].args if unequal else mask.args
            return _COMPARISON, [(left, _BAR), f" {sign} ", (right, _BAR)]
    if _is_sum(node):
        summand = args[0]
        if inside(node, "mul"):
            return _BAR, [(summand.args[0], _BAR), " | ", (summand.args[1], _SUM)]
        if inside(node, "square"):
            if inside(summand, "sub"):
                return _call("SqDist", summand.args[0].args)
            return _call("SqNorm2", summand.args)
        return _call("Sum", args)
    if name == "sqrt" and inside(node, "reduce_sum") and _is_sum(args[0]) and inside(args[0], "square"):
        return _call("Norm2", args[0].args[0].args)
    if name == "extract" and params[1] == 1:
        return _call("Elem", args, params[:1])
    if name == "lookup":
        table, index = args
        rounded = index.op.name == "as_index" and index not in temporaries
        return _call("Lookup", (table, index.args[0] if rounded else index), [dim for dim in params if dim > 1])
    if name == "concat" and len(args) == 2:
        return _call("Concat", args)
    if name == "inverse_root":
        return _POWER, [(args[0], _ATOM), "**-0.5"]
    if name == "integer_power":
        return _call("Pow", args, params)
    if name == "expand" and "SumT" in FUNCTIONS and args[0].dim == params[0] == params[2] == 1:
        return _call("SumT", args, params[1:2])
    if node.op in spellings:
        return _call(spellings[node.op], args, params)
    return _call(name + _brackets(params), args)


def _call(name: str, args: Iterable[Expr], params: Iterable[Any] = ()) -> tuple[int, Sequence[Piece]]:
    inside: list[Piece] = []
    for arg in args:
        inside += [", ", (arg, _COMPARISON)]
    for value in params:
        inside += [", ", _parameter(value)]
    return _ATOM, [name, "(", *inside[1:], ")"]


def _leaf(node: Expr, names: Names) -> tuple[int, str]:
    if node.op.name == "constant":
        return _number(node.params[0])
    if node.op.name == "variable":
        name, dim, domain, kind = node.params
        if name in names:
            return _ATOM, names[name]
        if isinstance(name, str) and name.isidentifier():
            return _ATOM, name
        if isinstance(name, int) and domain in CATEGORIES and kind == REAL:
            return _ATOM, f"Var({name}, {dim}, {CATEGORIES.index(domain)})"
        return _ATOM, repr(name)
    return _ATOM, node.op.name + _brackets(node.params)


def _number(value: Fraction | str) -> tuple[int, str]:
    if isinstance(value, str):
        return _SIGN if value.startswith("-") else _ATOM, value
    if value.denominator == 1 and abs(value) < 10**16:
        text = str(value.numerator)
    else:
        try:
            exact = Fraction(float(value)) == value
        except OverflowError:
            exact = False
        if exact:
            text = repr(float(value))
        elif value.denominator != 1:
            return _ATOM, f"RatCst({value.numerator}, {value.denominator})"
        else:
            text = str(value.numerator)
    return _SIGN if value < 0 else _ATOM, text


def _has_own_power(exponent: Expr) -> bool:
    """Whether ``**`` with this exponent means an operation other than the power of two reals."""
    value = constant_value(exponent)
    return value is not None and (2 * value in (1, -1) or value % 1 == 0)


def _is_sum(node: Expr) -> bool:
    """Whether ``node`` adds up all components of a vector."""
    return node.op.name == "reduce_sum" and node.args[0].dim > 1 and node.params == (1, node.args[0].dim, 1)


def _brackets(params: Sequence[Any]) -> str:
    return f"[{', '.join(map(_parameter, params))}]" if params else ""


def _parameter(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_parameter, value))}]"
    return str(value.name) if isinstance(value, Domain) else str(value)


__all__ = ["CATEGORIES", "show", "show_shared", "tree"]

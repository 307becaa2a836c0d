"""`Expr`: one interned, immutable node of a formula.

Equal formulas are the same object, so equality is ``is`` and every pass is one loop over `topological` with a dict.
Constructors check and never rewrite; simplification is a pass that callers ask for (``ir/rewrite.py``).
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from clreduce.domain import Domain

if TYPE_CHECKING:
    from clreduce.ir.op import Op

_interned: weakref.WeakValueDictionary[tuple[Any, ...], Expr] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def _renew_lock() -> None:
    """In a forked child, another thread may have held the lock at that moment, and does not exist any more."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)

REAL, INDEX, MASK = "real", "index", "mask"
"""The kinds of value: a number of the data's precision, a true integer, a truth value."""


class Expr:
    """A vector of length ``dim`` for every pair (i, j) of its ``domain``.

    ``op`` says what is computed from ``args`` (other nodes) and ``params`` (plain hashable constants).
    Built by calling an `Op`, or with ``+ - * /`` and unary ``-``; never directly.
    """

    __slots__ = ("__weakref__", "args", "dim", "domain", "kind", "op", "params")

    op: Op
    args: tuple[Expr, ...]
    params: tuple[Any, ...]
    dim: int
    domain: Domain
    kind: str

    def __new__(cls, op: Op, args: tuple[Expr, ...], params: tuple[Any, ...]) -> Expr:
        key = (op, args, params)
        with _lock:
            found = _interned.get(key)
        if found is not None:
            return found
        node = object.__new__(cls)
        dim, domain, kind = op.infer(args, params)
        for put, value in zip(_SETTERS, (op, args, params, dim, domain, kind), strict=True):
            put(node, value)
        with _lock:
            return _interned.setdefault(key, node)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("an Expr is immutable")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.op.name, self.args, self.params)

    def __repr__(self) -> str:
        from clreduce.ir.show import show

        return f"Expr({show(self)})"

    def __add__(self, other: Expr | float) -> Expr:
        return _call("add", self, other)

    def __radd__(self, other: float) -> Expr:
        return _call("add", other, self)

    def __sub__(self, other: Expr | float) -> Expr:
        return _call("sub", self, other)

    def __rsub__(self, other: float) -> Expr:
        return _call("sub", other, self)

    def __mul__(self, other: Expr | float) -> Expr:
        return _call("mul", self, other)

    def __rmul__(self, other: float) -> Expr:
        return _call("mul", other, self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return _call("div", self, other)

    def __rtruediv__(self, other: float) -> Expr:
        return _call("div", other, self)

    def __neg__(self) -> Expr:
        return _call("neg", self)


_SETTERS = tuple(getattr(Expr, name).__set__ for name in ("op", "args", "params", "dim", "domain", "kind"))
"""The writer of the slots of a new node; no other code changes a node."""


def _call(name: str, *args: Expr | float) -> Expr:
    from clreduce.ir.op import OPS

    return OPS[name](*args)


def _rebuild(name: str, args: tuple[Expr, ...], params: tuple[Any, ...]) -> Expr:
    from clreduce.ir.op import OPS

    return Expr(OPS[name], args, params)


def exact(value: int | float | Fraction) -> Fraction | str:
    """A constant in the form kept inside nodes: a `Fraction`, or text for -0.0 and what is not finite.

    Every finite float is a fraction, and fractions compare and hash as a cache key should (nan and -0.0 don't).
    """
    if isinstance(value, float) and (not math.isfinite(value) or (value == 0 and math.copysign(1, value) < 0)):
        return repr(value)
    return Fraction(value)


def topological(roots: Iterable[Expr], known: Container[Expr] = ()) -> list[Expr]:
    """All nodes below ``roots``, each once, arguments before users; no recursion, so depth is free.

    Those in ``known``, and what is only below them, are left out.
    """
    order: dict[Expr, None] = {}
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, ready = stack.pop()
        if node in order or node in known:
            continue
        if ready:
            order[node] = None
            continue
        stack.append((node, True))
        stack.extend((arg, False) for arg in reversed(node.args) if arg not in order)
    return list(order)


def map_graph(roots: Sequence[Expr], rule: Callable[[Expr, Expr], Expr]) -> tuple[Expr, ...]:
    """``roots`` rebuilt from the leaves up.

    ``rule(node, rebuilt)`` gives what takes the place of ``node``; ``rebuilt`` is the same operation on arguments that
    have been replaced already.
    """
    new: dict[Expr, Expr] = {}
    for node in topological(roots):
        args = tuple(new[arg] for arg in node.args)
        new[node] = rule(node, node if args == node.args else Expr(node.op, args, node.params))
    return tuple(new[root] for root in roots)


def substitute(roots: Sequence[Expr], replacement: Mapping[Expr, Expr]) -> tuple[Expr, ...]:
    """``roots`` with every node that is a key of ``replacement`` exchanged for its value."""
    return map_graph(roots, lambda node, rebuilt: replacement.get(node, rebuilt))


def variables(roots: Iterable[Expr]) -> list[Expr]:
    """The variables below ``roots``, in order of first use."""
    return [node for node in topological(roots) if node.op.name == "variable"]

"""`Op`: the record of an operation, with all facts in one place; and the registries of operations and functions.

Elementwise operations state their partial derivatives, and linear ones their transpose. Forward mode, reverse mode and
all higher orders follow from that one fact (``clreduce/autodiff.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from clreduce.domain import Domain
from clreduce.errors import ShapeError
from clreduce.ir.expr import INDEX, MASK, REAL, Expr, exact
from clreduce.ir.index import Position
from clreduce.typing import Array as Array

Inference = tuple[int, Domain, str]
Term = tuple[int, Position]
"""The argument and its component that a component of a linear operation reads."""
INF, NAN = float("inf"), float("nan")
COSTLY = 16
"""The cost of an operation that takes the hardware about as long as this many additions."""


@dataclass(frozen=True)
class Fold:
    """The combination of the terms of a vector into one number, one after the other. Without it, they are added up."""

    starts: tuple[float, ...]
    """The initial values of the accumulators; the first accumulator is the result."""
    steps: tuple[str, ...]
    """The OpenCL texts of the new values of the accumulators, assigned in this order. ``{0} {1}`` are the accumulators,
    ``{x}`` is the term, ``{t}`` its number and ``{R}`` the type."""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation of the IR. Calling it with its arguments and then its parameters builds an `Expr`."""

    name: str
    infer: Callable[[tuple[Expr, ...], tuple[Any, ...]], Inference]
    numpy: Callable[..., Array]
    """Meaning on arrays whose last axis is the vector; parameters follow the arguments."""
    arity: int | None = 1
    """The number of `Expr` arguments; None for any number, in which case types tell them from parameters."""
    code: str | Callable[..., str] = ""
    """OpenCL text of one component (or a function of the parameters that gives it): ``{0} {1}`` are the arguments,
    ``{R}`` the result's type, ``{T}`` the suffix of own functions, ``v`` for lanes and ``s`` for a scalar."""
    functions: tuple[str, ...] = ()
    """Own functions of the prelude that ``code`` calls."""
    cost: int = 1
    """Elementary operations for one component, roughly; of an exponential, a root or a division, `COSTLY`."""
    partials: Callable[..., Sequence[Expr | None]] | None = None
    """``partials(out, *args, *params)``: d out / d arg for each argument, None where it is zero."""
    transpose: Callable[..., Sequence[Expr | None]] | None = None
    """``transpose(cotangent, *args, *params)``: the pull-back to each argument, for a linear operation."""
    remap: Callable[..., Term | None] | None = None
    """``remap(position, *args, *params)``: the component that ``position`` reads; None where it is zero."""
    breaks: Callable[..., list[int]] | None = None
    """``breaks(*args, *params)``: positions at which ``remap`` changes its rule."""
    terms: Callable[..., int] | None = None
    """For a sum over components: how many terms each result has; ``remap`` then takes ``(position, term, ...)``."""
    fold: Fold | None = None
    """The operation that combines terms; None if they are added up."""
    differential: Callable[..., Expr] | None = None
    """``differential(out, *tangents, *args, *params)``: d out for given d args, in place of partials."""
    never_negative: bool = False
    """Whether no value is below 0, nor -0, whatever the arguments are."""
    if_never_positive: str = ""
    """The operation that gives the same where no argument is above 0, at a lower cost; "" if there is none."""
    bounds: Callable[..., Any] | None = None
    """``bounds(node, *bounds of args, *params)``: between which numbers values lie (`clreduce.ir.bounds.Bounds`); None:
    nothing is known but what `never_negative` says."""
    interleaved: Callable[..., tuple[Any, ...]] | None = None
    """``interleaved(n, *params)``: the parameters with which a linear operation acts on n vectors whose components
    are interleaved (first component of each, second of each, ...)."""

    @property
    def linear(self) -> bool:
        return self.transpose is not None

    def __call__(self, *given: Any) -> Expr:
        args, params = (given, ()) if self.arity is None else (given[: self.arity], given[self.arity :])
        for value in args:
            if not isinstance(value, Expr):
                args = tuple(map(as_expr, args))
                break
        return Expr(self, args, params)

    def __reduce__(self) -> tuple[object, ...]:
        return op_named, (self.name,)

    def __repr__(self) -> str:
        return f"<Op {self.name}>"


OPS: dict[str, Op] = {}
"""Every operation of the IR by its name."""


def op_named(name: str) -> Op:
    """The operation called ``name``; used to unpickle operations, each of which exists once."""
    return OPS[name]


@dataclass(frozen=True)
class Edge:
    """The value of a function at a special point: numbers for vectors of length 1, tuples for longer ones."""

    arguments: tuple[float | tuple[float, ...], ...]
    """The vectors; all parameters may follow, else they are those of the function's example."""
    value: float | tuple[float, ...]
    slopes: tuple[float | tuple[float, ...] | None, ...] = ()
    """The gradient in each argument, for a cotangent of ones; None where nothing is promised, () for none at all."""


@dataclass(frozen=True)
class Function:
    """A function of the formula language: its name, and the function that builds its formula."""

    name: str
    build: Callable[..., Expr]
    doc: str
    arguments: tuple[str, ...]
    """The names of its vector arguments, in order."""
    parameters: tuple[str, ...] = ()
    """The names of the integer parameters that follow them."""
    optional: int = 0
    """The number of trailing arguments that may be left out."""
    variadic: bool = False
    """Whether further vectors may follow the last argument."""
    interval: tuple[float, float] = (-2.0, 2.0)
    """The interval in which it is smooth and well scaled; tests draw arguments from it."""
    example: tuple[Any, ...] = field(default=())
    """The dimensions of the vector arguments, then parameters, for tests; () means 3 for each argument."""
    edges: tuple[Edge, ...] = ()
    """Values and slopes at special points (0, inf, nan, kinks), which the tables state and tests check."""

    @property
    def signature(self) -> str:
        """The function with its arguments as text; optional arguments are in brackets."""
        names = [*self.arguments, *self.parameters]
        least = len(names) - self.optional
        further = ["..."] if self.variadic else [f"[{name}]" for name in names[least:]]
        return f"{self.name}({', '.join([*names[:least], *further])})"


FUNCTIONS: dict[str, Function] = {}
"""All functions of the formula language by name."""


def register(op: Op) -> Op:
    """Enter ``op`` in `OPS`; raises ValueError if its name is taken."""
    if op.name in OPS:
        raise ValueError(f"operation {op.name!r} exists already")
    OPS[op.name] = op
    return op


def spell(
    name: str,
    build: Callable[..., Expr],
    doc: str,
    arguments: str,
    parameters: str = "",
    **facts: Any,
) -> None:
    """Give ``build`` a name in formulas; ``arguments`` and ``parameters`` are names separated by blanks."""
    if name in FUNCTIONS:
        raise ValueError(f"the name {name!r} is taken")
    FUNCTIONS[name] = Function(name, build, doc, tuple(arguments.split()), tuple(parameters.split()), **facts)


def as_expr(value: Expr | int | float | Fraction) -> Expr:
    """``value`` itself, or a number as a constant."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, Fraction, np.integer, np.floating)):
        raise TypeError(f"a formula needs formulas and numbers, not {type(value).__name__} {value!r}")
    return constant(value if isinstance(value, Fraction) else value.item() if isinstance(value, np.generic) else value)


def joined(args: Sequence[Expr]) -> Domain:
    """The domain of a value that is computed from ``args``."""
    domain = Domain.P
    for arg in args:
        domain |= arg.domain
    return domain


def broadcast(name: str, args: Sequence[Expr]) -> int:
    """The common length of vectors, some of which may have length 1; raises `ShapeError` if there is none."""
    longest = 1
    for arg in args:
        if arg.dim != longest and arg.dim != 1:
            if longest != 1:
                lengths = ", ".join(str(arg.dim) for arg in args)
                raise ShapeError(f"{name} needs vectors of equal length (or of length 1); got lengths {lengths}")
            longest = arg.dim
    return longest


def elementwise(
    name: str,
    *,
    arity: int = 1,
    numpy: Callable[..., Array],
    code: str | Callable[..., str],
    partials: Callable[..., Sequence[Expr | None]] | None,
    bounds: Callable[..., object] | None = None,
    functions: tuple[str, ...] = (),
    kind: str | None = REAL,
    cost: int = COSTLY,
    never_negative: bool = False,
    if_never_positive: str = "",
    spelled: str = "",
    doc: str = "",
    arguments: str = "",
    parameters: str = "",
    **facts: object,
) -> Op:
    """Declare an operation that acts on each component; its arguments broadcast.

    ``kind`` is the kind of the result; None takes the kind of the last argument. ``partials`` is None for operations
    such as comparisons, whose derivative counts as zero. ``cost`` guides schedules and does not affect results.
    """

    def infer(args: tuple[Expr, ...], params: tuple[object, ...]) -> Inference:
        return broadcast(spelled or name, args), joined(args), args[-1].kind if kind is None else kind

    def no_partials(out: Expr, *args: object) -> list[None]:
        return [None] * arity

    op = register(
        Op(
            name, infer, numpy, arity, code=code, functions=functions, cost=cost, partials=partials or no_partials,
            never_negative=never_negative, if_never_positive=if_never_positive, bounds=bounds,
        )
    )  # fmt: skip
    if spelled:
        spell(spelled, op, doc, arguments or " ".join("fgh"[:arity]), parameters, **facts)
    return op


def linear(
    name: str,
    *,
    arity: int | None = 1,
    dim: Callable[..., int],
    numpy: Callable[..., Array],
    transpose: Callable[..., Sequence[Expr | None]],
    remap: Callable[..., Term | None] | None,
    interleaved: Callable[..., tuple[object, ...]],
    bounds: Callable[..., object] | None = None,
    breaks: Callable[..., list[int]] | None = None,
    terms: Callable[..., int] | None = None,
) -> Op:
    """Declare an operation that is linear in all its arguments together.

    ``dim(*args, *params)`` checks the arguments and gives the length of the result.
    """

    def infer(args: tuple[Expr, ...], params: tuple[object, ...]) -> Inference:
        return dim(*args, *params), joined(args), args[0].kind

    facts = {"transpose": transpose, "remap": remap, "interleaved": interleaved, "breaks": breaks, "terms": terms}
    return register(Op(name, infer, numpy, arity, bounds=bounds, **facts))  # type: ignore[arg-type]


def _infer_variable(args: tuple[Expr, ...], params: tuple[Any, ...]) -> Inference:
    _, dim, domain, kind = params
    if dim < 1:
        raise ShapeError(f"a variable must have length 1 or more; got {dim}")
    return dim, domain, kind


def _no_value(*_: Any) -> Array:
    raise ValueError("a leaf has no meaning of its own: evaluate() takes its value from the caller")


_VARIABLE = register(Op("variable", _infer_variable, _no_value, arity=0))
_CONSTANT = register(
    Op("constant", lambda args, params: (1, Domain.P, REAL), lambda value: np.array([float(value)]), arity=0)
)
_INTEGER = register(Op("integer", lambda args, params: (1, Domain.P, INDEX), lambda value: np.array([value]), arity=0))
_IOTA = register(
    Op("iota", lambda args, params: (params[0], Domain.P, REAL), lambda n: np.arange(n, dtype=float), arity=0)
)
_POSITION = register(Op("position", lambda args, params: (1, params[0], INDEX), _no_value, arity=0))


def variable(name: object, dim: int, domain: Domain, kind: str = REAL) -> Expr:
    """A leaf with values from outside: a vector of length ``dim`` for each index of ``domain``.

    ``name`` is any hashable: an alias in the front end, or a slot number in a program.
    """
    return _VARIABLE(name, dim, domain, kind)


def constant(value: int | float | Fraction) -> Expr:
    """An exact number. It is rounded to the precision of the data when a kernel is generated."""
    return _CONSTANT(exact(value))


def integer(value: int) -> Expr:
    """An integer of kind `INDEX`, for comparisons with positions."""
    return _INTEGER(value)


def iota(n: int) -> Expr:
    """The vector (0, 1, ..., n - 1)."""
    return constant(0) if n == 1 else _IOTA(n)


def position(domain: Domain) -> Expr:
    """The index i (``Domain.I``) or j (``Domain.J``) itself, an integer that counts from 0."""
    return _POSITION(domain)


def constant_value(node: Expr) -> Fraction | float | None:
    """The value of a constant node (a float if it is not finite); None for any other node."""
    if node.op is not _CONSTANT:
        return None
    value = node.params[0]
    return float(value) if isinstance(value, str) else value


__all__ = [
    "FUNCTIONS", "INDEX", "MASK", "OPS", "REAL", "Edge", "Fold", "Function", "Op", "as_expr", "constant",
    "constant_value", "elementwise", "integer", "iota", "linear", "position", "register", "spell", "variable",
]  # fmt: skip

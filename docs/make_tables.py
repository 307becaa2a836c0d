"""Writes the tables of operations and reductions: docs/operations.md.

Everything is read from the registries, so a new operation needs no line here:

    python docs/make_tables.py
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from clreduce.autodiff import vjp
from clreduce.domain import Domain
from clreduce.errors import NotDifferentiableError
from clreduce.ir.op import FUNCTIONS, Function, Op, variable
from clreduce.ir.rewrite import simplify
from clreduce.ir.show import show
from clreduce.language.vocabulary import DERIVATIVES
from clreduce.reductions import ALIASES, FAMILIES, REDUCTIONS
from clreduce.reductions.reduction import Reduction

ROOT = Path(__file__).resolve().parents[1]

OPERATORS = (
    # written, the same in other words, meaning; in the order of how strongly they bind
    (
        "f ** 3", "Pow(f, 3)",
        "power; `f ** 0.5` is `Sqrt(f)`, `f ** -0.5` its reciprocal, and any number or formula may be the exponent",
    ),
    ("-f", "Minus(f)", "the sign changed; `-f ** 2` is `-(f ** 2)`"),
    ("f * g", "Mult(f, g)", "product, component by component"),
    ("f / g", "Divide(f, g)", "quotient, component by component"),
    ("f + g", "Add(f, g)", "sum"),
    ("f - g", "Subtract(f, g)", "difference"),
    ("f | g", "Scalprod(f, g)", "scalar product; binds less than `+`: `x - y | x - y` is `(x - y) | (x - y)`"),
    ("f < g", "", "1 where it is true, else 0; also `<=`, `>`, `>=`, `==` and `!=`"),
)  # fmt: skip

_HEAD = """\
# Operations and reductions

<!-- Written by `python docs/make_tables.py` from the registries. Do not edit: change the doc of the operation. -->

This page lists what a formula may consist of, and how it may be reduced over all pairs. Every formula is a vector; `f`
and `g` stand for any formulas. Where two vectors meet component by component, they are equally long, or one of them has
length 1.

## Variables and numbers

The aliases name the variables: `"x = Vi(3)"` is one vector of length 3 for each i, `Vj` for each j, `Pm` one for all
pairs. `Vi(position, 3)` says which argument of the call it is, where that is not its place in the list. Inside a
formula, `Var(position, dim, category)` names a variable without an alias; category 0 is i, 1 is j, 2 is a parameter.

Numbers are written as in Python: `2`, `0.5`, `1e-3`. They are kept exactly and take the precision of the data in the
kernel. Arithmetic between numbers is exact: `1/3*x` multiplies by a third.

## Operators

The grammar is Python's; the strongest operator comes first.
"""
_OPERATIONS = """
## Operations

- **Derivative**: the gradient in each argument, as a simplified formula, for a cotangent `e` as long as the result.
  Arguments with gradient zero are left out. `…` stands for a long formula; `Grad(F, v, e)` and `Genred.explain` write
  it out.
- **Special points**: the arguments, the value, and in brackets the gradient in each argument for a cotangent of ones.
  `·` means that nothing is promised.
- **Lengths, tested in**: the lengths of the arguments and of the result in an example, and the interval of arguments in
  which the tests compare the operation with NumPy and its derivatives with finite differences. What is promised at
  special points is tested on each device.
"""
_DERIVATIVES = """
## Derivatives

`v` is a variable, `e` and `u` are any formulas. Derivatives are formulas again, so they nest.
"""
_REDUCTIONS = """
## Reductions

`axis=1` reduces over j, `axis=0` over i. K is `opt_arg`. With `formula2`, the first formula has length 1, and results
are as long as `formula2`; where it stands in brackets, it may be left out. "Blocks" tells whether partial sums are kept
tile by tile, which keeps rounding errors small.
"""


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def written(function: Function) -> str:
    """A function with its arguments: ``Elem(f, m)``."""
    return f"`{function.signature}`"


def split(doc: str) -> tuple[str, str]:
    """What a registry's doc says: the definition, and what comes after it."""
    definition, _, remarks = doc.rstrip(".").partition("; ")
    return definition, remarks


def lengths(function: Function) -> str:
    """Lengths in the function's example: ``3, 3 → 1``."""
    count = len(function.arguments)
    dims = function.example[:count] or (3,) * count
    args = [variable(n, dim, Domain.IJ) for n, dim in enumerate(dims)]
    result = function.build(*args, *function.example[count:])
    return f"{', '.join(map(str, dims))} → {result.dim}".lstrip()


_LONGEST = 60


def derivative(function: Function) -> str:
    """The gradient in each argument, as formulas of the arguments and the cotangent e."""
    count = len(function.arguments)
    elementwise = isinstance(function.build, Op) and not function.build.linear
    dims = (1,) * count if elementwise else function.example[:count] or (3,) * count
    leaves = [variable(name, dim, Domain.IJ) for name, dim in zip(function.arguments, dims, strict=True)]
    result = function.build(*leaves, *function.example[count:])
    try:
        found = vjp({result: variable("e", result.dim, Domain.IJ)}, leaves)
    except NotDifferentiableError:
        return "none"
    texts = []
    for leaf, part in zip(leaves, found, strict=True):
        text = show(simplify([part])[0], limit=_LONGEST) if part is not None else "0"
        written_out = "…" if text.endswith("...") or "[" in text else f"`{text}`"
        if text != "0":
            texts.append(written_out if count == 1 else f"{leaf.params[0]}: {written_out}")
    return ", ".join(texts) or ("0" if count else "")


def number(value: object, exact: bool = False) -> str:
    """A number, or the components of a vector; rounded to four digits unless it is an integer or ``exact``."""
    if value is None:
        return "·"
    if isinstance(value, tuple):
        return f"({', '.join(number(part, exact) for part in value)})"
    if exact or value == round(value, 4):
        return repr(value).removesuffix(".0")
    return f"{value:.4g}"


def special_points(function: Function) -> str:
    """The promised values and slopes: ``0: 1 [0]``."""
    found = []
    for edge in function.edges:
        slopes = f" [{', '.join(map(number, edge.slopes))}]" if edge.slopes else ""
        found.append(
            f"{', '.join(number(value, exact=True) for value in edge.arguments)}: {number(edge.value)}{slopes}".strip()
        )
    return "; ".join(found)


def also(function: Function) -> str:
    """Other names that build the same."""
    others = [f"`{other.name}`" for other in FUNCTIONS.values() if other.build is function.build and other != function]
    return f", {', '.join(others)}" if others else ""


def interval(function: Function) -> str:
    """Where the laws test the function; nothing for what has no vector argument."""
    low, high = function.interval
    return f"[{low:g}, {high:g}]" if function.arguments else ""


def result_of(reduction: Reduction) -> str:
    """The kinds of a reduction's results."""
    slots = reduction.slots((1,) * reduction.formulas)
    state = tuple(variable(n, slot.dim, Domain.I, slot.kind) for n, slot in enumerate(slots))
    first = variable("first", 1, Domain.I, "index")
    words = {"real": "real", "index": "index, int64"}
    return ", ".join(words[node.kind] for node in reduction.finish(state, first))


def spellings(reduction: Reduction) -> str:
    """A reduction's name and its aliases."""
    names = [reduction.name, *(other for other, meant in ALIASES.items() if meant == reduction.name)]
    return ", ".join(f"`{name}`" for name in names)


def takes(reduction: Reduction) -> str:
    """What a reduction takes besides its formula."""
    count = [] if reduction.count is None else ["K"]
    second = [f"`formula2`: {reduction.formula2}"] if reduction.formula2 else []
    optional = ["[`formula2`]"] if reduction.with_formula2 else []
    return ", ".join([*count, *second, *optional])


def operations_page() -> str:
    """The text of docs/operations.md."""
    operators = [(f"`{sign}`", f"`{same}`" if same else "", meaning) for sign, same, meaning in OPERATORS]
    operations = [
        (
            written(f) + also(f),
            f.doc.rstrip("."),
            derivative(f),
            special_points(f),
            f"{lengths(f)} {interval(f)}".strip(),
        )
        for f in FUNCTIONS.values()
    ]
    derivatives = [(written(f), *split(f.doc)) for f in DERIVATIVES.values()]
    reductions = [
        (
            spellings(r),
            takes(r),
            *split(r.doc),
            result_of(r),
            "yes" if r.tangent else "no",
            "yes" if r.blocked else "",
        )
        for r in [*REDUCTIONS.values(), *(family.build(1) for family in FAMILIES.values())]
    ]
    return "".join(
        [
            _HEAD, "\n", table(("Operator", "Same as", "Meaning"), operators),
            _OPERATIONS, "\n",
            table(("Operation", "Definition", "Derivative", "Special points", "Lengths, tested in"), operations),
            _DERIVATIVES, "\n", table(("Derivative", "Definition", "Remarks"), derivatives),
            _REDUCTIONS, "\n",
            table(("Reduction", "Takes", "Result", "Special values", "Kind", "Differentiable", "Blocks"), reductions),
        ]
    )  # fmt: skip


def main() -> None:
    (ROOT / "docs" / "operations.md").write_text(operations_page(), encoding="utf-8")


if __name__ == "__main__":
    main()

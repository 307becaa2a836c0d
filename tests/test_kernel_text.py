"""Kernel text as a tree: it is printed with the parentheses it needs, and what doesn't fit together is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from template_cases import CASES, Case

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.codegen import frame, render
from clreduce.codegen.check_expressions import Expressions
from clreduce.codegen.check_kernel import KernelTextError, check_kernel
from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.lower import Lowered, lower
from clreduce.codegen.patterns import pattern
from clreduce.codegen.printing import block, text
from clreduce.codegen.render import rendered
from clreduce.codegen.schedule import Schedule, choose_schedule
from clreduce.codegen.tree import (
    Array,
    Assign,
    Binary,
    Declare,
    Expression,
    FunctionCall,
    If,
    Let,
    Literal,
    Loop,
    Name,
    Place,
    Run,
    Select,
    Statement,
    Subscript,
    Unary,
    cast,
    number,
)
from clreduce.domain import Domain
from clreduce.errors import ClreduceError
from clreduce.ir.index import Index as RangedIndex
from clreduce.ir.op import OPS, position, variable
from clreduce.ops.functions import exp
from clreduce.ops.indices import as_real
from clreduce.ops.trigonometry import sin
from clreduce.program import map_reduce

# ---------------------------------------------------------------------------------------------------- printing

LEAVES = st.sampled_from([Name("{0}", "realv"), Name("{1}", "realv"), number(2)])
OPERATORS = ("+", "-", "*", "/", "<", "==", "&&", "||", "&", "|")


def larger(parts: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    return st.one_of(
        st.builds(Binary, st.sampled_from(OPERATORS), parts, parts),
        st.builds(Unary, st.sampled_from("-!"), parts),
        st.builds(Select, parts, parts, parts),
        st.builds(lambda part: cast("realv", part), parts),
        st.builds(lambda one, other: FunctionCall("f_v", (one, other), "realv"), parts, parts),
    )


EXPRESSIONS = st.recursive(LEAVES, larger, max_leaves=25)
HOLES = {"0": Name("{0}", "realv"), "1": Name("{1}", "realv")}


@given(EXPRESSIONS)
def test_what_is_printed_is_read_as_the_same_tree(tree: Expression) -> None:
    printed = text(tree).replace("(realv)(", "({R})(").replace("f_v(", "f_{T}(")
    assert pattern(printed).fill(HOLES, "realv", "v") == tree


@given(EXPRESSIONS)
def test_no_parentheses_stand_around_names_and_parentheses(tree: Expression) -> None:
    printed = text(tree)
    assert "((" not in printed or not re.search(r"[^\w)]\(\(([^()]|\([^()]*\))*\)\)", printed)
    assert not re.search(r"(?<![\w)])\(\{\d\}\)", printed)


def declared_texts() -> Iterator[tuple[str, str]]:
    parameters: dict[str, Sequence[tuple[Any, ...]]] = {
        "integer_power": [(3,), (-2,), (64,)], "round": [(2,), (0,), (-3,)], "bessel_ratio": [(1,), (3,)],
        "gaussian_derivative": [(2,)], "polygamma": [(2,), (5,)],
    }  # fmt: skip
    for op in OPS.values():
        if isinstance(op.code, str):
            yield from [(op.name, op.code)] if op.code else []
        else:
            for given_parameters in parameters.get(op.name, [(2, 3, 4)]):
                yield op.name, op.code(*given_parameters)
        for step in op.fold.steps if op.fold else ():
            yield op.name, step


def bare(code: str) -> str:
    return re.sub(r"[()\s]", "", code)


@pytest.mark.parametrize(("name", "code"), list(declared_texts()))
def test_operations_are_printed_as_they_are_declared(name: str, code: str) -> None:
    """But for parentheses; whether those that are left out were needed is what the law above says."""
    letters = {str(n): Name("abcde"[n], "realv") for n in range(5)} | {"x": Name("x", "realv"), "t": Name("tt", "int")}
    filled = pattern(code).fill(letters, "realv", "v")
    assert bare(text(filled)) == bare(code.format(*"abcde", x="x", t="tt", R="realv", T="v"))


@pytest.mark.parametrize("code", ["{0} +", "{0} ? {1}", "({0}", "{0} {1}", "{0} # {1}", "abc", "f({0}", ""])
def test_a_text_that_is_no_expression_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match=r"text .* of an operation"):
        pattern(code)


def test_statements_are_printed() -> None:
    a, h, k = Name("a", "real"), Name("h", "real"), Name("k1", "int")
    entry = Subscript(h, Place(RangedIndex("k1", 0, 3) + 1))  # type: ignore[arg-type]
    statements = (
        Declare(a, Literal("0.0f", "real")),
        Array(h, 5, Literal("1.0f", "real")),
        Array(Name("c", "real"), 2, values=(a, a)),
        Loop(k, number(0), number(4), (Assign(entry, Binary("+", a, Subscript(h, k))),), descending=True),
        Loop(k, number(0), Name("n", "int"), (), step=2),
        If(Binary("<", a, Unary("-", a)), (Run(FunctionCall("f", (Unary("&", a),), "")), Let(Name("b", "real"), a))),
    )
    assert block(statements, 2).splitlines() == [
        "  real a = 0.0f;",
        "  real h[5];",
        "  for (int k = 0; k < 5; ++k) h[k] = 1.0f;",
        "  const real c[2] = {a, a};",
        "  for (int k1 = 3; k1 >= 0; --k1) {",
        "    h[k1 + 1] = a + h[k1];",
        "  }",
        "  for (int k1 = 0; k1 < n; k1 += 2) {",
        "  }",
        "  if (a < -a) {",
        "    f(&a);",
        "    const real b = a;",
        "  }",
    ]


# ---------------------------------------------------------------------------------------------------- the check

FACTS = {
    "cpu": DeviceFacts(native_float_lanes=8, native_double_lanes=4),
    "gpu": DeviceFacts(kind="gpu", max_group=256, native_float_lanes=1, native_double_lanes=1),
}


def kernels(lowered: Lowered) -> list[Kernel]:
    stored = [stored.kernel for stored in lowered.stored]
    return [*stored, lowered.join, lowered.pair, lowered.pair_split, lowered.merge]


@cache
def kernels_of(name: str, dtype: str, kind: str) -> list[Kernel]:
    case: Case = CASES[name]
    schedule = choose_schedule(case.program, dtype, FACTS[kind])
    changes = dict(case.change)
    if kind == "cpu":
        changes = {key: value for key, value in changes.items() if key not in ("shape", "group")}
    schedule = replace(schedule, **changes)
    return kernels(lower(case.program, dtype, schedule, FACTS[kind], case.batched, case.ranged, case.wide))


@pytest.mark.parametrize(("dtype", "kind"), [("float", "cpu"), ("double", "gpu")])
def test_all_kernels_fit_together(dtype: str, kind: str) -> None:
    """As do those of all other tests: `conftest.py` has each kernel checked that is made for a device."""
    for name in CASES:
        for kernel in kernels_of(name, dtype, kind):
            check_kernel(kernel)


Rewrite = Callable[[Any], Any]


def rewritten(node: Any, rule: Rewrite) -> Any:
    """A tree with ``rule`` applied to each of its nodes, the leaves first."""
    if isinstance(node, tuple):
        return tuple(rewritten(part, rule) for part in node)
    if type(node).__module__ == "clreduce.codegen.tree":
        node = replace(node, **{name: rewritten(getattr(node, name), rule) for name in node.__dataclass_fields__})
        return rule(node)
    return node


def damaged(kernel: Kernel, stage: str, rule: Rewrite) -> Kernel:
    return replace(kernel, **{stage: rewritten(getattr(kernel, stage), rule)})


def network_kernel() -> Kernel:
    return kernels_of("network", "float", "cpu")[-3]


FAULTS: dict[str, tuple[Rewrite, str]] = {
    "a name that nothing declares": (
        lambda node: replace(node, value=Name("nobody", "realv")) if isinstance(node, Let) else node,
        "nobody is not declared",
    ),
    "a name that is declared twice": (
        lambda node: replace(node, name=Name("t1", node.name.type)) if isinstance(node, Let) else node,
        "t1 is declared already",
    ),
    "a number of double precision": (
        lambda node: replace(node, value=Literal("1.0", "wide")) if isinstance(node, Let) else node,
        "double is given where float",
    ),
    "an integer as a number": (
        lambda node: replace(node, value=number(1)) if isinstance(node, Let) else node,
        "int is given where float",
    ),
    "a loop that is too long": (
        lambda node: replace(node, stop=number(1000)) if isinstance(node, Loop) else node,
        "has values outside of",
    ),
    "an array that is too short": (
        lambda node: replace(node, size=2) if isinstance(node, Array) and node.size > 2 else node,
        r"has 2 entries, and .* is from",
    ),
    "a position outside": (
        lambda node: replace(node, at=Place(10**6)) if isinstance(node, Subscript) and isinstance(node.at, Place) else
        node, "entries, and 1000000 is from",
    ),
    "lanes as a condition": (
        lambda node: If(cast("realv", number(0)), (node,)) if isinstance(node, Loop) else node,
        "is no condition",
    ),
    "a choice by numbers": (
        lambda node: replace(node, condition=cast("realv", number(1))) if isinstance(node, Select) else node,
        "does not choose",
    ),
    "an index that is a number": (
        lambda node: replace(node, at=Literal("1.0f", "real")) if isinstance(node, Subscript) else node,
        "an entry 1.0f of",
    ),
    "a type of which nobody knows": (
        lambda node: replace(node, name=Name(node.name.name, "half8")) if isinstance(node, Let) else node,
        "half8 is no type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", list(FAULTS))
def test_the_check_finds(fault: str) -> None:
    rule, message = FAULTS[fault]
    kernel = network_kernel()
    check_kernel(kernel)
    with pytest.raises(KernelTextError, match=message) as caught:
        check_kernel(damaged(kernel, "body", rule))
    assert isinstance(caught.value, ClreduceError)
    assert "map_reduce" in str(caught.value)


def test_the_check_visits_each_part_of_a_long_sum_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice would be 2^n visits for n terms that are added up one after the other."""
    x = variable("x", 1, Domain.I)
    kernel = lower(map_reduce([x], "Sum")[0], "float", Schedule(), DeviceFacts()).pair
    visits, type_of = 0, Expressions.type_of

    def counted(self: Expressions, expression: Expression) -> Any:
        nonlocal visits
        visits += 1
        assert visits < 1000
        return type_of(self, expression)

    monkeypatch.setattr(Expressions, "type_of", counted)
    total = number(0)
    for term in range(100):
        total = Binary("+", total, number(term))
    Expressions(kernel).type_of(total)
    assert visits == 201


def test_the_check_finds_a_constant_that_is_assigned() -> None:
    kernel = network_kernel()
    first = next(statement for statement in kernel.body if isinstance(statement, Let))
    again = (*kernel.body, Assign(first.name, first.value))
    with pytest.raises(KernelTextError, match=f"{first.name.name} is a constant"):
        check_kernel(replace(kernel, body=again))


def test_the_check_finds_functions_that_are_not_there() -> None:
    kernel = kernels_of("gaussian", "float", "cpu")[-3]
    with pytest.raises(KernelTextError, match="does not say that it calls exp_v"):
        check_kernel(replace(kernel, functions=frozenset()))


@given(st.integers(0, 2**32))
def test_the_check_finds_any_name_that_is_not_declared(seed: int) -> None:
    """Whichever statement of whichever stage is left out, if another reads what it declares."""
    random = Random(seed)
    name = random.choice(list(CASES))
    kernel = random.choice(kernels_of(name, "float", "gpu"))
    stage = random.choice(["once", "per_i", "state", "reset", "body", "tail"])
    statements: tuple[Statement, ...] = getattr(kernel, stage)
    declarations = [n for n, statement in enumerate(statements) if isinstance(statement, Let | Declare | Array)]
    if not declarations:
        return
    left_out = random.choice(declarations)
    declaration = statements[left_out]
    assert isinstance(declaration, Let | Declare | Array)
    name_left_out = declaration.name.name
    rest = replace(kernel, **{stage: statements[:left_out] + statements[left_out + 1 :]})
    source = rendered(rest)
    if re.search(rf"\b{name_left_out}\b", source[source.index("__kernel") :]):
        with pytest.raises(KernelTextError, match=f"{name_left_out} is not declared"):
            check_kernel(rest)


def test_kernels_that_few_calls_need_are_made_on_demand() -> None:
    """That of a part of j is the same text where states are results, as for sums: then it is compiled once."""
    for name, same in (("gaussian D=1, 1 columns", True), ("LogSumExp", False)):
        lowered = lower(CASES[name].program, "float", Schedule(), FACTS["cpu"])
        assert not {"pair_split", "merge", "join"} & set(vars(lowered))
        assert lowered.pair_split is lowered.pair_split
        assert (lowered.pair_split == lowered.pair) == same


def test_domains_are_joined_and_cut_as_their_bits_are() -> None:
    for a in Domain:
        for b in Domain:
            assert (a | b) is Domain(int(a) | int(b))
            assert (a & b) is Domain(int(a) & int(b))


def test_templates_declare_the_names_that_statements_read() -> None:
    """With the types that `frame` states; each in some kernel."""
    numbers, _ = map_reduce([exp(sin(as_real(position(Domain.J)))) * variable("x", 1, Domain.I)], "Sum")
    sources = [rendered(kernel) for kernel in kernels(lower(numbers, "float", Schedule(), FACTS["cpu"]))]
    sources += [rendered(kernel) for name in CASES for kind in FACTS for kernel in kernels_of(name, "float", kind)]
    sources += [
        rendered(kernel) for kernel in kernels_of("gaussian D=1, 1 columns", "double", "gpu")
    ]  # the table of roots
    names = [name for name in vars(frame).values() if isinstance(name, Name)]
    names += [make(0) for make in (frame.row, frame.wanted, frame.count, frame.out_row)]
    for name in names:
        declared = re.compile(rf"\b{re.escape(name.type)} (\w+ = [^;]*, )?{name.name}\b")
        assert any(map(declared.search, sources)), name


@pytest.mark.parametrize("field", [field.name for field in fields(Kernel)])
def test_kernels_that_differ_are_kept_apart_on_disk(field: str) -> None:
    """Whatever differs, the source that is kept of one is not that of the other."""
    kernel = kernels_of("K nearest, sorting", "float", "cpu")[-3]
    value = getattr(kernel, field)
    others: dict[type, Any] = {str: "other", int: 99, tuple: (), frozenset: frozenset(("other",)), Name: frame.J}
    other = replace(kernel, **{field: frozenset() if value is None else others[type(value)]})
    empty = type(value) is tuple and not value
    if empty:
        other = replace(kernel, **{field: (kernel.body,) if field == "finish" else kernel.body})
    assert render._entry(other) != render._entry(kernel)

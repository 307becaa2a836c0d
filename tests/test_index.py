"""Positions: what is folded has the value and the range that plain integers give."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from clreduce.ir.index import Index, Position, bounds, text_of

RANGES = {"i": (0, 3), "j": (2, 4), "k": (0, 6)}
Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["+", "*"]), st.integers(0, 12)),
        st.tuples(st.sampled_from(["*", "//", "%"]), st.integers(1, 12)),
        st.tuples(st.just("+ index"), st.integers(0, 2)),
    ),
    max_size=6,
)


def applied(position: Position, steps: list[Step], leaves: list[Position]) -> Position:
    """What a remap could do with a position, for integers and for indices."""
    for operator, number in steps:
        if operator == "+":
            position = position + number
        elif operator == "*":
            position = position * number
        elif operator == "//":
            position = position // number
        elif operator == "%":
            position = position % number
        else:
            position = position + leaves[number]
    return position


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_arithmetic(steps: list[Step]) -> None:
    found = applied(Index("i", *RANGES["i"]), steps, [Index(name, *ends) for name, ends in RANGES.items()])
    low, high = bounds(found)
    python = re.sub("/", "//", text_of(found))
    for values in product(*(range(first, last + 1) for first, last in RANGES.values())):
        expected = applied(values[0], steps, list(values))
        assert isinstance(expected, int)
        assert eval(python, dict(zip(RANGES, values, strict=True))) == expected
        assert low <= expected <= high


def test_rows_and_columns_cost_nothing() -> None:
    a, b, c = Index("a", 0, 3), Index("b", 0, 4), Index("c", 0, 5)
    at = (a * 5 + b) * 6 + c
    assert (at // 30, at // 6 % 5, at % 6) == (a, b, c)
    assert at % 30 == b * 6 + c
    diagonal = a * 5
    assert (diagonal // 4, diagonal % 4) == (a, a)

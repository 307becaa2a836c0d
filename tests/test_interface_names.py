"""Every name that a formula may use is there, and gives a vector of the length that ``interface_names.txt`` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import clreduce.numpy
from clreduce.ir.expr import INDEX
from clreduce.language.formula import parse

TEXT = (Path(__file__).parent / "interface_names.txt").read_text("utf-8")


def rows() -> Iterator[tuple[str, list[str]]]:
    """Each row of the table with the title of its section."""
    section = ""
    for line in TEXT.splitlines():
        if title := re.fullmatch(r"\[(.*)\]", line):
            section = title[1]
        elif line and not line.startswith("#"):
            yield section, [cell.strip() for cell in line.split(";")]


OPERATIONS = [row for section, row in rows() if section != "reductions"]
OVER_J = [row for section, row in rows() if section == "reductions"]


def aliases(written: str) -> list[str]:
    """The aliases that ``x=i3 y=j3`` is short for."""
    return [re.sub(r"^(\w+)=([ijp])(\d+)$", r"\1 = V\2(\3)", word).replace("Vp", "Pm") for word in written.split()]


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row[0])
def test_operation(row: list[str]) -> None:
    _, formula, variables, length = row
    assert parse(formula, aliases(variables)).expr.dim == int(length)


@pytest.mark.parametrize("row", OVER_J, ids=lambda row: row[0])
def test_reduction(row: list[str]) -> None:
    name, terms, weights, variables, count, results = row
    options = {"formula2": weights} if weights else {}
    options |= {"opt_arg": int(count)} if count else {}
    routine = clreduce.numpy.Genred(terms, aliases(variables), re.split(",| ", name)[0], axis=1, **options)
    found = [f"{output.dim}{' index' if output.kind == INDEX else ''}" for output in routine.program.outputs]
    assert found == results.split(", ")


def test_rows_are_examples_of_their_names() -> None:
    for section, row in rows():
        assert len(row) == (6 if section == "reductions" else 4), row
        name = re.split(",| ", row[0])[0]
        if section not in ("constants", "operators", "reductions"):
            assert re.search(rf"\b{name}\(", row[1]), row
    labels = [row[0] for section, row in rows() if section != "reductions"]
    assert len(set(labels)) == len(labels)
    assert all(a != b for a, b in pairwise(OVER_J))

"""Docstrings and pages say what things are: some phrasings that tire a reader are not allowed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "clreduce").rglob("*.py"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]

_NAMELESS = re.compile(r"(The same|Those|These of|That of|As in|Who|Whoever|What of)\b")
"""Beginnings of a docstring that point at another text instead of naming their subject."""
_BANNED = {
    r"\b[Ww]hoever\b": "name the person or the program",
    r"\b(who|which|that) (is|are) not there\b": "say what is missing",
    r"\bfor (else|otherwise)\b": "begin a sentence with Otherwise",
    r"\b(is|are) there, and what\b": "say what exists",
    r"\bso be it\b|\bas it were\b|\bto speak of\b": "leave it out",
}
"""Phrasings that no page and no docstring uses, and what to write instead."""
_TIRING = {
    r"\A(What|How|Which|Where|Why|When)\b": "begin with the noun: The number of .., The reason why ..",
    r"\A(Of|To be)\b": "begin with the noun, and say of what later",
    r"(\A|[.;]\s+)``\w+``: ": "write a sentence: ``rows`` is the number of rows",
    r"\b(from|up to|beyond|below) which on\b|\bup to which\b": "say 'at least' or 'at most'",
    r", at (most|least)[.:;]": "begin with it: The most columns that ..",
    r"; None: |\ANone: ": "write 'None for ..' or 'None if ..'",
    r"\b([Nn]obody|[Ss]omebody)\b": "name the caller, the user, the process or the device",
    r"\b(is|are|was) told (of|by|from)\b": "say who reports what, or what distinguishes the two",
    r"\bif need be\b": "write 'if necessary'",
    r"; the same (one|object) each time": "write 'Equal calls return one object.'",
    r"\b(for|of) so many\b": "name the number: ``count`` rows",
}
"""Phrasings that make a sentence hard to read, and what to write instead."""
_MIRRORED = {"Genred", "KernelSolve", "LazyTensor", "ComplexLazyTensor", "Index"}
"""Public names that each front end has as well; `clreduce.Index` is public, and the one of formulas is not."""


def strings(module: Path) -> Iterator[tuple[int, str]]:
    """Each docstring, and each string that documents a field, with its line."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_name_their_subject(module: Path) -> None:
    told = [f"line {line}: {text[:60]!r}" for line, text in strings(module) if _NAMELESS.match(text)]
    told += [
        f"line {line}: {phrase!r}: {cure}"
        for line, text in strings(module)
        for phrase, cure in _BANNED.items()
        if re.search(phrase, text)
    ]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_docstrings_are_plain(module: Path) -> None:
    faults = [
        f"line {line}: {text[:60]!r}: {cure}"
        for line, text in strings(module)
        for phrase, cure in _TIRING.items()
        if re.search(phrase, text)
    ]
    assert not faults, "\n".join(faults)


def test_two_classes_never_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module in MODULES:
        if module.name == "types.py":
            continue  # what type checkers read only
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in _MIRRORED:
                places.setdefault(node.name, []).append(f"{module.relative_to(ROOT)}:{node.lineno}")
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert not shared, "give each class a name that says what it is: " + ", ".join(
        f"{n} {w}" for n, w in shared.items()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_avoid_banned_phrasings(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    assert [phrase for phrase in _BANNED if re.search(phrase, prose)] == []

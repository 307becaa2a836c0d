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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_pages_avoid_banned_phrasings(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    assert [phrase for phrase in _BANNED if re.search(phrase, prose)] == []

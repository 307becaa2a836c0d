"""The pages on the design name files that exist, and names that the package has.

A name in backticks is looked up in the source. After a module, a class or an attribute was renamed, these tests fail
until the pages follow.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import clreduce
from clreduce.ir.op import FUNCTIONS
from clreduce.reductions import FAMILIES, REDUCTIONS

ROOT = Path(__file__).resolve().parents[1]
DESIGN = ROOT / "docs" / "design.md"
PAGES = [DESIGN, *sorted((ROOT / "docs" / "internals").glob("*.md"))]
MOST_WORDS = 5500
"""As many as a reader manages in 25 minutes."""
_FOLDERS = (ROOT, ROOT / "clreduce", ROOT / "templates", ROOT / "tests", ROOT / "docs", ROOT / "benchmarks")
_PATH = re.compile(r"[\w./*-]+(?:\.(?:py|mako|cfg|csv|md)|/)")
_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+|[A-Z]\w*[a-z]\w*)(?:\([^()]*\))?")
"""A dotted name, or the name of a class, perhaps with arguments."""
_LIBRARIES = ("jax", "torch", "None")
_PLACEHOLDER = re.compile(r"\bNAME\b")


class Package:
    """What the source of the package defines: the names of its modules, and the members of its classes."""

    def __init__(self) -> None:
        self.source = ""
        self.names: set[str] = set()
        self.members: dict[str, set[str]] = {}
        self.bases: dict[str, set[str]] = {}
        for path in sorted((ROOT / "clreduce").rglob("*.py")):
            text = path.read_text("utf-8")
            self.source += text
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef):
                    self.names.add(node.name)
                    self.members.setdefault(node.name, set()).update(names_in(node))
                    self.bases.setdefault(node.name, set()).update(
                        base.id if isinstance(base, ast.Name) else base.attr
                        for base in node.bases
                        if isinstance(base, ast.Name | ast.Attribute)
                    )
                elif isinstance(node, ast.Module):
                    self.names |= names_in(node)

    def has_member(self, owner: str, name: str) -> bool:
        return name in self.members.get(owner, ()) or any(
            self.has_member(base, name) for base in self.bases.get(owner, ())
        )

    def defines(self, name: str) -> bool:
        """Whether a class or a module of the package, or a registry of the formula language, has this name."""
        owner, dot, last = name.rpartition(".")
        if not dot:
            known = self.names | FUNCTIONS.keys() | REDUCTIONS.keys() | FAMILIES.keys()
            return name in known or f'"{name}"' in self.source  # the latter: a word of the formula language
        if owner == "clreduce":
            return hasattr(clreduce, last) or f'"{name}"' in self.source  # the latter: the name of a logger
        if owner in self.members:
            return self.has_member(owner, last)
        return last in self.names or any(last in members for members in self.members.values())


def names_in(body: ast.Module | ast.ClassDef) -> set[str]:
    """The names that a module or a class assigns or defines, and attributes that methods assign to ``self``."""
    names: set[str] = set()
    for node in ast.walk(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


@pytest.fixture(scope="module")
def package() -> Package:
    return Package()


def in_backticks(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [code for code in re.findall(r"`([^`\n]+)`", prose) if not _PLACEHOLDER.search(code)]


def is_there(path: str) -> bool:
    """Whether a file or folder has this path from the root or a main folder, or this end of a path in the package."""
    name = path.rstrip("/")
    found = any(next(folder.glob(name), None) for folder in _FOLDERS)
    return found or next((ROOT / "clreduce").rglob(name), None) is not None


def test_the_design_is_read_in_25_minutes() -> None:
    assert len(DESIGN.read_text("utf-8").split()) <= MOST_WORDS, "move details to a page of docs/internals"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=lambda page: page.stem)
def test_paths_exist(page: Path) -> None:
    paths = [code for code in in_backticks(page) if _PATH.fullmatch(code)]
    assert [path for path in paths if not is_there(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_belong_to_the_package(page: Path, package: Package) -> None:
    names = [
        match[1]
        for code in in_backticks(page)
        if not _PATH.fullmatch(code) and (match := _NAME.fullmatch(code)) and match[1].split(".")[0] not in _LIBRARIES
    ]
    assert [name for name in names if not package.defines(name)] == []


def test_a_module_class_or_member_that_was_renamed_is_noticed(package: Package) -> None:
    assert is_there("call/pruning/words.py")
    assert not is_there("call/pruning/bits.py")
    assert package.defines("Region.row_domain")
    assert not package.defines("Region.kept")
    assert not package.defines("LentStream")


def test_the_table_of_floors_has_every_module() -> None:
    """In the order of the contract that import-linter checks."""
    contract = (ROOT / "setup.cfg").read_text("utf-8").partition("\nlayers =\n")[2].partition("\n\n")[0]
    layers = [set(re.findall(r"\w+", line)) - {"pipeline"} for line in contract.splitlines()]
    table = DESIGN.read_text("utf-8").partition("| floor | owns |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [set(re.findall(r"`(\w+)(?:/|\.py)`", row.split("|")[1])) - {"templates"} for row in table.splitlines()]
    assert rows == [layer for layer in layers if layer != {"__main__"}]

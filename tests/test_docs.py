"""The documentation is true: its examples run on every device, its tables are those of the registries, its links lead.

The blocks marked ``python`` of a page run in order and share their names. A block with ``>>>`` is compared with the
output written below it, any other is executed.
"""

from __future__ import annotations

import ast
import doctest
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clreduce.ir.op import FUNCTIONS, OPS
from clreduce.language.formula import parse
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.device import Device

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for folder in ("", "guide", "internals") for path in sorted((ROOT / "docs" / folder).glob("*.md"))),
]
_OF_LIBRARIES = ("dask", "jax", "sklearn")
"""Pages on front ends for libraries that may not be installed."""
TABLES = runpy.run_path(str(ROOT / "docs" / "make_tables.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Each block marked ``python``, with the number of its first line counted from 0."""
    for found in re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S):
        yield text.count("\n", 0, found.start(1)), found[1]


@pytest.fixture
def registries() -> Iterator[None]:
    """What a page adds to the registries is gone after it."""
    kept = [(registry, dict(registry)) for registry in (OPS, FUNCTIONS, REDUCTIONS, FAMILIES)]
    yield
    for registry, entries in kept:
        registry.clear()
        registry.update(entries)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("page", [page for page in PAGES if next(blocks(page.read_text("utf-8")), None)], ids=name_of)
def test_examples(page: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    if not device.facts.has_double:
        pytest.skip("the examples use float64")
    monkeypatch.delenv("CLREDUCE_DEVICE", raising=False)
    if page.stem in _OF_LIBRARIES:
        pytest.importorskip(page.stem)
    names: dict[str, Any] = {"__name__": "page"}
    report: list[str] = []
    for line, code in blocks(page.read_text("utf-8")):
        if ">>>" in code:
            example = doctest.DocTestParser().get_doctest(code, names, f"{name_of(page)}:{line}", str(page), line)
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=report.append, clear_globs=False)
            names = example.globs
        else:
            exec(compile("\n" * line + code, str(page), "exec"), names)
    assert not report, "".join(report)


def test_tables_are_up_to_date() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert page == TABLES["operations_page"](), "run: python docs/make_tables.py"


@pytest.mark.parametrize(("written", "same"), [(row[0], row[1]) for row in TABLES["OPERATORS"] if row[1]])
def test_operators_are_what_the_table_says(written: str, same: str) -> None:
    aliases = ["f = Vi(3)", "g = Vj(3)"]
    assert parse(written, aliases).expr is parse(same, aliases).expr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", prose) if "://" not in target]
    # the pages of the gallery are made of the examples
    files = [
        f"{target}.py".replace("auto_examples", "../examples") if "auto_examples/" in target else target
        for target in targets
    ]
    files = [name.removesuffix("index.py") for name in files]
    assert [name for name in files if not (page.parent / name).exists()] == []


def test_examples_are_pages_of_the_gallery() -> None:
    examples = [path for path in (ROOT / "examples").rglob("*.py") if path.name != "__init__.py"]
    assert examples
    for path in examples:
        assert (path.parent / "GALLERY_HEADER.rst").exists(), (
            f"{path.parent} is left out of the gallery without a header"
        )
        title, line = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[:2]
        assert line == "=" * len(title), f"the docstring of {path} begins with no title, which a line of = underlines"

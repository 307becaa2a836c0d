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

import numpy as np
import pytest

import clreduce
from clreduce.errors import ClreduceError
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


MESSAGES = ROOT / "docs" / "messages.md"
_ALIASES = ["x = Vi(3)", "y = Vj(3)"]
_PROVOKED = {
    "… has 3 columns; got an array of shape …": lambda: clreduce.Genred("x - y", _ALIASES)(
        np.ones((2, 4)), np.ones((2, 3))
    ),
    "… must have shape (…, M, …); got …": lambda: clreduce.Genred("x - y", _ALIASES)(np.ones(4), np.ones((2, 3))),
    "Vi (axis=0) needs an array of shape (M, D); got …": lambda: clreduce.Vi(np.ones(4)),
}
"""Messages that several texts of the code make up: calls that raise them."""


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


def texts_of_the_code() -> list[str]:
    """Every text in the modules of clreduce; what an f-string inserts is left open."""
    return [
        "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        if isinstance(node, ast.JoinedStr)
        else node.value
        for module in (ROOT / "clreduce").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]


def test_messages_of_the_page_are_those_of_the_code() -> None:
    texts = texts_of_the_code()
    headings = re.findall(r"^### (\w+(?:, \w+)*): (.+)$", MESSAGES.read_text("utf-8"), re.M)
    assert len(headings) >= 40
    unknown = []
    for _, message in headings:
        parts = [part.strip() for part in message.split("…")]
        pattern, longest = re.compile(".*".join(map(re.escape, parts)), re.S), max(parts, key=len)
        if message in _PROVOKED:
            with pytest.raises(ClreduceError, match=pattern):
                _PROVOKED[message]()
        elif not any(longest in text and pattern.search(text) for text in texts):
            unknown.append(message)
    assert unknown == []


def test_each_class_of_errors_has_a_message_on_the_page() -> None:
    page = MESSAGES.read_text("utf-8")
    classes = [
        value for value in vars(clreduce.errors).values() if isinstance(value, type) and issubclass(value, Exception)
    ]
    assert [kind.__name__ for kind in classes if not re.search(rf"\b{kind.__name__}\b", page)] == []


_SEEN = {
    "no deficiency": np.eye(3),
    "deuteranopia": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "protanopia": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "tritanopia": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
"""Linear RGB as it is seen, by the matrices of Machado, Oliveira and Fernandes (2009)."""
_TO_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]])


def seen_as(colour: str, eyes: np.ndarray) -> np.ndarray:
    """The colour ``#rrggbb`` in CIELAB, where a distance of 10 is clear side by side."""
    levels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(_TO_XYZ @ np.clip(eyes @ linear, 0, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", _SEEN)
def test_colours_of_the_examples_differ_for_all_eyes(eyes: str) -> None:
    colours = runpy.run_path(str(ROOT / "examples" / "support" / "__init__.py"))["COLOURS"]
    lab = np.array([seen_as(colour, _SEEN[eyes]) for colour in colours])
    distances = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(len(lab))
    assert distances.min() > 20

"""Public signatures say what they take and give: the annotations with ``Any`` are counted, and only become fewer."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "clreduce"
ALLOWED: dict[str, tuple[int, str]] = {
    ".": (
        9,
        "``__getattr__`` of modules; overloads, which may not overlap; results of any library",
    ),
    "adapters": (3, "arrays of an evaluation, which are NumPy's or pyopencl's; no type tells them apart"),
    "call": (23, "results of any library, which `Genred` types; ``*args`` and options that a solver extends"),
    "dask": (1, "Dask's arrays may have shapes of unknown sizes"),
    "ir": (4, "parameters of operations, each of its own kind"),
    "lazy": (26, "results that are tensors or arrays of any library, as their axes decide; protocols of NumPy"),
    "runtime": (4, "``__getattr__`` of a module's stand-in; arrays of an evaluation, as in adapters"),
    "solve": (13, "vectors of the host or of a device; numbers and arrays alike"),
    "torch": (4, "protocols of PyTorch"),
}
"""For each folder, the number of annotations with ``Any``, and why they stay. Other folders have none."""
FOLDERS = sorted({path.parent.relative_to(PACKAGE).parts[:1] for path in PACKAGE.rglob("*.py")})


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The public functions of a module, and the public and special methods of its public classes."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if not node.name.startswith("_") or node.name.startswith("__"):
                yield node
        elif isinstance(node, ast.If):  # of TYPE_CHECKING
            yield from public_functions([*node.body, *node.orelse])


def annotations(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """The annotations of a function, each with the name of its parameter; the result is ``return``."""
    given = function.args
    for each in (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg):
        if each is not None and each.annotation is not None:
            yield each.arg, each.annotation
    if function.returns is not None:
        yield "return", function.returns


def has_any(annotation: ast.expr) -> bool:
    """Whether ``Any`` occurs in an annotation, also in one that is written as a string."""
    for node in ast.walk(annotation):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "Any" in node.value:
            return has_any(ast.parse(node.value, mode="eval").body)
    return False


def untyped(source: str) -> list[str]:
    """The parameters and results of public functions that are annotated with ``Any``."""
    return [
        f"{function.name}({name}: {ast.unparse(annotation)})"
        for function in public_functions(ast.parse(source).body)
        for name, annotation in annotations(function)
        if has_any(annotation)
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda parts: "/".join(parts) or "clreduce")
def test_annotations_with_any_only_become_fewer(folder: tuple[str, ...]) -> None:
    place = PACKAGE.joinpath(*folder)
    files = sorted(place.rglob("*.py*") if folder else place.glob("*.py"))
    counted = [
        f"{path.relative_to(PACKAGE)}: {signature}"
        for path in files
        if path.suffix in (".py", ".pyi")
        for signature in untyped(path.read_text("utf-8"))
    ]
    allowed, _ = ALLOWED.get("/".join(folder) or ".", (0, ""))
    listed = "\n".join(counted)
    assert len(counted) <= allowed, f"{len(counted)} annotations with Any, {allowed} allowed: name the type\n{listed}"
    assert len(counted) == allowed, f"there are fewer annotations with Any now: write {len(counted)} in ALLOWED"


def test_folders_with_any_exist_and_have_reasons() -> None:
    assert set(ALLOWED) <= {"/".join(folder) or "." for folder in FOLDERS}
    assert all(number > 0 and reason for number, reason in ALLOWED.values())


def test_what_counts() -> None:
    source = """
def public(x: Any, *args: "list[Any]", y: int, **options: typing.Any) -> dict[str, Any]: ...
def _private(x: Any) -> Any: ...
class Public:
    value: Any
    if TYPE_CHECKING:
        def method(self, x: object) -> Any: ...
    def __call__(self, x: AnyArray) -> "Company": ...
class _Private:
    def method(self, x: Any) -> Any: ...
"""
    assert untyped(source) == [
        "public(x: Any)", "public(args: 'list[Any]')", "public(options: typing.Any)", "public(return: dict[str, Any])",
        "method(return: Any)",
    ]  # fmt: skip

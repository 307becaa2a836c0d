"""Every public name is documented: a summary, all parameters by their names, and an example that runs.

Public are the names that ``dir()`` of a public module shows, and the public methods and properties that clreduce gives
its classes. The examples themselves run as doctests.
"""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import clreduce

MODULES = (
    "clreduce", "clreduce.numpy", "clreduce.numpy.cluster", "clreduce.torch", "clreduce.torch.cluster",
    "clreduce.jax", "clreduce.jax.cluster", "clreduce.dask", "clreduce.cl", "clreduce.distance", "clreduce.sklearn",
)  # fmt: skip
LIBRARIES = {"torch": "torch", "jax": "jax", "dask": "dask", "cl": "pyopencl", "sklearn": "sklearn"}
"""What front ends need."""
SUBPACKAGES = clreduce._SUBPACKAGES
OPERATORS = ("__call__", "__getitem__", "__matmul__")
"""Methods with underscores that have arguments worth a description."""
_RECORDS = re.compile(r"\b(Arguments|Expr|MapReduce|Partition|System|SolveOptions)\b")
_SECTION = re.compile(r"^(?P<title>[A-Z][A-Za-z ]+)\n(?P<line>-{3,})$", re.M)
_PARAMETER = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: : .*)?$", re.M)


class Name(NamedTuple):
    """A public name, what it stands for, and the class that it is a part of."""

    path: str
    target: Any
    owner: type | None

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.target) or ""

    @property
    def parameters(self) -> list[str]:
        """The names in the signature, with stars as it has them; without ``self`` and ``cls``."""
        if isinstance(self.target, property) or not callable(self.target):
            return []
        stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
        parameters = inspect.signature(self.target).parameters.values()
        named = [stars.get(each.kind, "") + each.name for each in parameters]
        # **unknown collects misspelt options for an error.
        return [name for name in named if name not in ("self", "cls", "**unknown")]

    @property
    def is_plumbing(self) -> bool:
        """Whether it takes records that no public module has: then it serves other front ends, not users."""
        if self.owner is None or isinstance(self.target, property):
            return False
        annotations = " ".join(map(str, inspect.get_annotations(self.target).values()))
        return bool(_RECORDS.search(annotations))


def modules() -> Iterator[ModuleType]:
    """The public modules, those of which the array library is installed."""
    for name in MODULES:
        library = LIBRARIES.get(name.split(".")[1] if "." in name else "")
        if library is None or importlib.util.find_spec(library) is not None:
            yield importlib.import_module(name)


def sections(doc: str) -> dict[str, str]:
    """The sections of a docstring in numpydoc's form, by their titles."""
    titles = list(_SECTION.finditer(doc))
    ends = [title.start() for title in titles[1:]] + [len(doc)]
    return {title["title"]: doc[title.end() : end] for title, end in zip(titles, ends, strict=False)}


def described(doc: str) -> list[str]:
    """The names that the section on parameters describes, or that on the attributes of a record."""
    known = sections(doc)
    text = known.get("Parameters", known.get("Attributes", ""))
    return [name for match in _PARAMETER.finditer(text) for name in match["names"].split(", ")]


def _public() -> Iterator[Name]:
    seen: set[int] = set()
    for module in modules():
        for name in dir(module):
            if name.startswith("_") or name in SUBPACKAGES:
                continue
            target = getattr(module, name)
            if inspect.ismodule(target) or id(target) in seen or not callable(target):
                continue
            seen.add(id(target))
            yield Name(f"{module.__name__}.{name}", target, None)
            if inspect.isclass(target):
                yield from _members(f"{module.__name__}.{name}", target, seen)


def _members(path: str, owner: type, seen: set[int]) -> Iterator[Name]:
    """Public methods and properties; one that several classes inherit is that of the first."""
    for name in dir(owner):
        if name.startswith("_") and name not in OPERATORS:
            continue
        member = inspect.getattr_static(owner, name)
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        own = getattr(function, "__module__", "").startswith("clreduce") and not inspect.isclass(function)
        if own and callable(function) and id(function) not in seen:
            seen.add(id(function))
            yield Name(f"{path}.{name}", member if isinstance(member, property) else function, owner)


PUBLIC = [name for name in _public() if not name.is_plumbing]


def _is_error(name: Name) -> bool:
    return inspect.isclass(name.target) and issubclass(name.target, (Exception, Warning))


def _needs_example(name: Name) -> bool:
    """Errors, properties, what only raises an error, and methods of estimators go without.

    The class shows how an estimator is used.
    """
    if _is_error(name) or isinstance(name.target, property):
        return False
    if not inspect.isclass(name.target) and inspect.signature(name.target).return_annotation == "NoReturn":
        return False
    return name.owner is None or not name.owner.__module__.startswith("clreduce.sklearn")


def _report(faults: dict[str, Any]) -> str:
    return f"{len(faults)} of {len(PUBLIC)} names:\n" + "\n".join(f"{path}: {fault}" for path, fault in faults.items())


def test_every_name_has_a_summary() -> None:
    faults = {}
    for name in PUBLIC:
        summary = name.doc.split("\n\n")[0]
        if not summary.rstrip().endswith((".", "::")) or summary.count("\n") > 1 or not summary[0].isprintable():
            faults[name.path] = summary
    assert not faults, _report(faults)


def test_parameters_are_those_of_the_signature() -> None:
    """A method that passes all on to another has the docstring of that one, which is compared once."""
    faults, compared = {}, set()
    for name in PUBLIC:
        if name.doc in compared:
            continue
        compared.add(name.doc)
        if not _is_error(name) and sorted(described(name.doc)) != sorted(name.parameters):
            faults[name.path] = f"described {described(name.doc)}, taken {name.parameters}"
    assert not faults, _report(faults)


def test_examples() -> None:
    faults = {name.path: name.doc[:60] for name in PUBLIC if _needs_example(name) and ">>>" not in name.doc}
    assert not faults, _report(faults)


def _is_made(name: Name) -> bool:
    """Whether a function of ours made it, with its docstring: doctest looks for classes and functions of modules."""
    function = name.target
    enclosed = {*getattr(getattr(function, "__code__", None), "co_freevars", ())} - {"__class__"}  # which super() needs
    return bool(enclosed) and not hasattr(function, "__wrapped__")


@pytest.mark.parametrize("name", [name for name in PUBLIC if _is_made(name)], ids=lambda name: name.path)
def test_examples_of_what_is_made_run(name: Name) -> None:
    runner = doctest.DocTestRunner(verbose=False)
    (example,) = doctest.DocTestFinder().find(Documented(name.doc), name.path, module=False, globs={})
    assert runner.run(example).failed == 0
    assert example.examples


class Documented:
    """An object with a docstring, for doctest."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc


def test_sections_are_those_of_numpydoc_in_its_order() -> None:
    order = [
        "Parameters", "Attributes", "Returns", "Yields", "Other Parameters", "Raises", "Warns", "See Also", "Notes",
        "References", "Examples",
    ]  # fmt: skip
    faults = {}
    for name in PUBLIC:
        titles = [*sections(name.doc)]
        if [title for title in order if title in titles] != titles:
            faults[name.path] = titles
    assert not faults, _report(faults)


def test_results_of_functions_are_described() -> None:
    faults = {}
    for name in PUBLIC:
        if inspect.isclass(name.target) or isinstance(name.target, property) or _returns_nothing(name.target):
            continue
        if not {"Returns", "Yields"} & {*sections(name.doc)}:
            faults[name.path] = name.doc[:60]
    assert not faults, _report(faults)


def _returns_nothing(function: Callable[..., Any]) -> bool:
    return inspect.signature(function).return_annotation in (None, "None", "NoReturn")


@pytest.mark.parametrize("name", [name for name in PUBLIC if name.owner is None], ids=lambda name: name.path)
def test_help_opens_with_the_summary(name: Name) -> None:
    assert not name.doc.startswith((" ", "\n", "(", "|")), name.doc[:80]


def test_module_docs() -> None:
    assert [module.__name__ for module in modules() if not (module.__doc__ or "").strip()] == []
    assert clreduce.__doc__

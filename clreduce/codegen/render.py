"""`Kernel` -> OpenCL C, through the Mako templates. Templates own loops, memory and barriers, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from clreduce.cache import SOURCES, entry_name, read_entry, write_entry
from clreduce.codegen.kernel import Assign, Call, Declare, If, Kernel, Let, Loop, Statement
from clreduce.memo import memoised

if TYPE_CHECKING:
    from mako.lookup import TemplateLookup

_GENERATOR = "1"
"""To be raised when `block`, or what templates read of a `Kernel`, means something else: sources are kept by it."""


def template_directory() -> Path:
    """The folder of the templates: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent / "templates"):
        if any(folder.glob("*.mako")):
            return folder
    raise FileNotFoundError(f"no kernel templates inside {package} or beside it: reinstall clreduce")


@cache
def templates_digest() -> str:
    """Text that changes with the templates of kernels."""
    texts = [path.read_bytes() for path in sorted(template_directory().glob("*.mako"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


@cache
def _lookup() -> TemplateLookup:
    from mako.lookup import TemplateLookup  # on demand: most processes find the sources that they need on disk

    return TemplateLookup([str(template_directory())], strict_undefined=True)


@memoised(512)
def render(kernel: Kernel) -> str:
    """The OpenCL C source of ``kernel``; the same kernel always gives the same text.

    Compiling the templates takes the better part of a first call, so sources are kept on disk: as text, never as code
    of Python.
    """
    name = _entry(kernel)
    kept = read_entry(name, SOURCES)
    if kept is not None:
        with contextlib.suppress(UnicodeDecodeError):
            return kept.decode()
    source = rendered(kernel)
    write_entry(name, source.encode(), SOURCES)
    return source


def _entry(kernel: Kernel) -> str:
    sets = [sorted(names) for names in (kernel.functions, kernel.wide or ())]  # their order is another in each process
    rest = replace(kernel, functions=frozenset(), wide=kernel.wide and frozenset(("wide",)))
    return entry_name("source", _GENERATOR, templates_digest(), repr(sets), repr(rest))


def rendered(kernel: Kernel) -> str:
    """What the templates make of ``kernel``."""
    prelude = _lookup().get_template("prelude.cl.mako")
    template = _lookup().get_template(f"{kernel.template}.cl.mako")
    head = prelude.render(dtype=kernel.dtype, lanes=kernel.lanes, functions=kernel.functions)
    if kernel.wide is not None:
        wide = _lookup().get_template("wide.cl.mako")
        head = str(head) + str(wide.render(lanes=kernel.lanes, functions=kernel.wide))
    return str(head) + str(template.render(kernel=kernel, block=block))


def block(statements: tuple[Statement, ...], indent: int) -> str:
    """Statements as indented lines."""
    pad = " " * indent
    lines: list[str] = []
    for statement in statements:
        match statement:
            case Let(kind, name, text):
                lines.append(f"{pad}const {kind} {name} = {text};")
            case Declare(kind, name, text, 0):
                lines.append(f"{pad}{kind} {name} = {text};")
            case Declare(kind, name, "", size):
                lines.append(f"{pad}{kind} {name}[{size}];")
            case Declare(kind, name, text, size):
                lines.append(f"{pad}{kind} {name}[{size}];")
                lines.append(f"{pad}for (int k = 0; k < {size}; ++k) {name}[k] = {text};")
            case Assign(name, text):
                lines.append(f"{pad}{name} = {text};")
            case Call(text):
                lines.append(f"{pad}{text};")
            case Loop(name, start, stop, body, descending):
                last = stop - 1 if isinstance(stop, int) else f"{stop} - 1"
                up = f"int {name} = {start}; {name} < {stop}; ++{name}"
                down = f"int {name} = {last}; {name} >= {start}; --{name}"
                lines.append(f"{pad}for ({down if descending else up}) {{")
                lines.append(block(body, indent + 2))
                lines.append(f"{pad}}}")
            case If(condition, body):
                lines.append(f"{pad}if ({condition}) {{")
                lines.append(block(body, indent + 2))
                lines.append(f"{pad}}}")
    return "\n".join(lines)

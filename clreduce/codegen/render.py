"""`Kernel` -> OpenCL C, through the Mako templates. Templates own loops, memory and barriers, nothing else."""

from __future__ import annotations

import sys
from functools import cache, lru_cache
from pathlib import Path

import mako
from mako.lookup import TemplateLookup

from clreduce.cache import entry_name, usable_folder
from clreduce.codegen.kernel import Assign, Call, Declare, If, Kernel, Let, Loop, Statement


def template_directory() -> Path:
    """The folder of the templates: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent / "templates"):
        if any(folder.glob("*.mako")):
            return folder
    raise FileNotFoundError(f"no kernel templates inside {package} or beside it: reinstall clreduce")


@cache
def _lookup() -> TemplateLookup:
    # Mako turns templates into Python modules: keeping those saves the better part of a first call. The folder's name
    # holds all that they depend on, for Mako itself compares only dates.
    folder = template_directory()
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.mako"))]
    kept = usable_folder(f"templates/{entry_name(mako.__version__, str(sys.implementation.cache_tag), *texts)}")
    return TemplateLookup([str(folder)], module_directory=kept and str(kept), strict_undefined=True)


@lru_cache(maxsize=512)
def render(kernel: Kernel) -> str:
    """The OpenCL C source of ``kernel``; the same kernel always gives the same text."""
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

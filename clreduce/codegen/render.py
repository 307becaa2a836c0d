"""`Kernel` -> OpenCL C, through the Mako templates. Templates own loops, memory and barriers, nothing else."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from mako.lookup import TemplateLookup

from clreduce.codegen.kernel import Assign, Call, Declare, Kernel, Let, Loop, Statement


def template_directory() -> Path:
    """The folder of the templates: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent / "templates"):
        if any(folder.glob("*.mako")):
            return folder
    raise FileNotFoundError(f"no kernel templates inside {package} or beside it: reinstall clreduce")


@cache
def _lookup() -> TemplateLookup:
    return TemplateLookup(directories=[str(template_directory())], strict_undefined=True)


@lru_cache(maxsize=512)
def render(kernel: Kernel) -> str:
    """The OpenCL C source of ``kernel``; the same kernel always gives the same text."""
    prelude = _lookup().get_template("prelude.cl.mako")
    template = _lookup().get_template(f"{kernel.template}.cl.mako")
    head = prelude.render(dtype=kernel.dtype, lanes=kernel.lanes, functions=kernel.functions)
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
            case Declare(kind, name, text, size):
                lines.append(f"{pad}{kind} {name}[{size}];")
                lines.append(f"{pad}for (int k = 0; k < {size}; ++k) {name}[k] = {text};")
            case Assign(name, text):
                lines.append(f"{pad}{name} = {text};")
            case Call(text):
                lines.append(f"{pad}{text};")
            case Loop(name, start, stop, body):
                lines.append(f"{pad}for (int {name} = {start}; {name} < {stop}; ++{name}) {{")
                lines.append(block(body, indent + 2))
                lines.append(f"{pad}}}")
    return "\n".join(lines)

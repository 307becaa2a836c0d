"""`Kernel` -> OpenCL C, through the Mako templates. Templates own loops, memory and barriers, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from clreduce.cache import SOURCES, entry_name, read_entry, write_entry
from clreduce.codegen.check_kernel import check_kernel
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.printing import block, text
from clreduce.memo import memoised

if TYPE_CHECKING:
    from mako.lookup import TemplateLookup

_GENERATOR = "3"
"""To be raised when `block`, or what templates read of a `Kernel`, means something else: sources are kept by it."""
_LOGGER = logging.getLogger("clreduce.builds")
always_check = False
"""Whether all kernels are checked (`check_kernel`), and not only while messages of the level DEBUG are shown."""


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
    if always_check or _LOGGER.isEnabledFor(logging.DEBUG):
        check_kernel(kernel)
    name = _entry(kernel)
    stored = read_entry(name, SOURCES)
    if stored is not None:
        with contextlib.suppress(UnicodeDecodeError):
            return stored.decode()
    source = rendered(kernel)
    write_entry(name, source.encode(), SOURCES)
    return source


def _entry(kernel: Kernel) -> str:
    sets = [sorted(names) for names in (kernel.functions, kernel.wide or ())]  # their order is another in each process
    # Statements by their text: it is all that is written of them, and is shorter than what Python writes of a tree.
    first = (kernel.batch, kernel.once, kernel.per_i, kernel.state, kernel.tile_start, kernel.reset)
    stages = (*first, kernel.body, kernel.tail, kernel.flush, kernel.drain, *kernel.finish)
    rest = replace(
        kernel, functions=frozenset(), wide=kernel.wide and frozenset(("wide",)), batch=(), once=(), per_i=(),
        state=(), tile_start=(), reset=(), body=(), tail=(), flush=(), drain=(), finish=(),
    )  # fmt: skip
    return entry_name(
        "source", _GENERATOR, templates_digest(), repr(sets), repr(rest), *(block(stage, 0) for stage in stages)
    )


def rendered(kernel: Kernel) -> str:
    """What the templates make of ``kernel``."""
    prelude = _lookup().get_template("prelude.cl.mako")
    template = _lookup().get_template(f"{kernel.template}.cl.mako")
    head = prelude.render(dtype=kernel.dtype, lanes=kernel.lanes, functions=kernel.functions)
    if kernel.wide is not None:
        wide = _lookup().get_template("wide.cl.mako")
        head = str(head) + str(wide.render(lanes=kernel.lanes, functions=kernel.wide))
    nearest = _lookup().get_template("nearest.cl.mako")
    helpers = [nearest.get_def(helper.name).render(helper.facts, kernel, text) for helper in kernel.helpers]
    return "".join(map(str, (head, *helpers, template.render(kernel=kernel, block=block))))

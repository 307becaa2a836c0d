"""`render` turns a `Kernel` into OpenCL C by Mako templates, which add loops, memory and barriers to its statements."""

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
"""Raise this number when the meaning of `block` or of a field of `Kernel` changes. The keys of sources contain it."""
_LOGGER = logging.getLogger("clreduce.builds")
always_check = False
"""Whether to check all kernels (`check_kernel`), even if messages of level DEBUG are not shown."""


def template_directory() -> Path:
    """The folder of the templates: inside the package if it is installed, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "templates", package.parent / "templates"):
        if any(folder.glob("*.mako")):
            return folder
    raise FileNotFoundError(f"no kernel templates inside {package} or beside it: reinstall clreduce")


@cache
def templates_digest() -> str:
    """A hash of all templates."""
    texts = [path.read_bytes() for path in sorted(template_directory().glob("*.mako"))]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


@cache
def _lookup() -> TemplateLookup:
    from mako.lookup import TemplateLookup  # on demand: most processes read their sources from disk

    return TemplateLookup([str(template_directory())], strict_undefined=True)


@memoised(512)
def render(kernel: Kernel) -> str:
    """The OpenCL C source of ``kernel``. Equal kernels have equal sources.

    Compiling the templates takes most of the time of a first call, so sources are stored on disk. They are stored as
    text, never as Python code.
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
    sets = [sorted(names) for names in (kernel.functions, kernel.wide or ())]  # the order of sets differs by process
    # Statements count by their text, which is shorter than the repr of a tree.
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
    """The OpenCL C source of ``kernel``, without the cache on disk."""
    prelude = _lookup().get_template("prelude.cl.mako")
    template = _lookup().get_template(f"{kernel.template}.cl.mako")
    head = prelude.render(dtype=kernel.dtype, lanes=kernel.lanes, functions=kernel.functions)
    if kernel.wide is not None:
        wide = _lookup().get_template("wide.cl.mako")
        head = str(head) + str(wide.render(lanes=kernel.lanes, functions=kernel.wide))
    nearest = _lookup().get_template("nearest.cl.mako")
    helpers = [nearest.get_def(helper.name).render(helper.facts, kernel, text) for helper in kernel.helpers]
    return "".join(map(str, (head, *helpers, template.render(kernel=kernel, block=block))))

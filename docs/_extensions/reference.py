"""The part of the reference that needs no hand: packages of public names that docs/reference/index.md does not mention.

It is written to docs/reference/packages.md before Sphinx reads anything, because autosummary looks for its lists there.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import clreduce
import clreduce.numpy

_PAGE = """\
# Further packages

{}
"""
_SECTION = """\
## {name}

```{{eval-rst}}
.. automodule:: {name}

.. currentmodule:: {name}

.. autosummary::
   :toctree: generated

   {names}
```
"""


def public_packages() -> list[str]:
    """The packages that have public names, `clreduce.numpy` and its like."""
    return sorted(
        f"clreduce.{module.name}"
        for module in pkgutil.iter_modules(clreduce.__path__)
        if module.name in {*clreduce._SUBPACKAGES, "cl", "distance"} and module.ispkg
    )


def write_packages(folder: Path) -> None:
    """Write the page, unless it holds the same already. It says so where the library of a package is not installed."""
    mentioned = set(re.findall(r"currentmodule:: ([\w.]+)", (folder / "index.md").read_text("utf-8")))
    sections = []
    for name in public_packages():
        if name not in mentioned:
            try:
                package = importlib.import_module(name)
            except ImportError as error:
                sections.append(f"## {name}\n\nNot described here: {error}.\n")
                continue
            # what is the same for all front ends is described once
            names = [
                public
                for public in sorted(package.__all__)
                if getattr(package, public) is not getattr(clreduce.numpy, public, None)
            ]
            sections.append(_SECTION.format(name=name, names="\n   ".join(names)))
    text = _PAGE.format("\n".join(sections))
    page = folder / "packages.md"
    if not page.exists() or page.read_text("utf-8") != text:
        page.write_text(text, encoding="utf-8")

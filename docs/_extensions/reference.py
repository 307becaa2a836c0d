"""Pages of the reference that nobody writes by hand: one for each public package that no other page describes.

They are written to docs/reference/packages before Sphinx reads anything, because autosummary looks for its lists there.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import clreduce
import clreduce.numpy

_PAGE = """\
# {name}

```{{eval-rst}}
.. automodule:: {name}

.. currentmodule:: {name}

.. autosummary::
   :toctree: ../generated

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


def page_of(name: str) -> str:
    """The page of a package. It says so where the library of the package is not installed."""
    try:
        package = importlib.import_module(name)
    except ImportError as error:
        return f"# {name}\n\nNot described here: {error}.\n"
    # names that all front ends share are described once
    names = [
        public
        for public in sorted(package.__all__)
        if getattr(package, public) is not getattr(clreduce.numpy, public, None)
    ]
    return _PAGE.format(name=name, names="\n   ".join(names))


def write_packages(folder: Path) -> None:
    """Write the pages, unless they hold the same already."""
    by_hand = "".join(page.read_text("utf-8") for page in folder.glob("*.md"))
    described = set(re.findall(r"currentmodule:: ([\w.]+)", by_hand))
    for name in public_packages():
        if name not in described:
            page, text = folder / "packages" / f"{name.rpartition('.')[2]}.md", page_of(name)
            page.parent.mkdir(exist_ok=True)
            if not page.exists() or page.read_text("utf-8") != text:
                page.write_text(text, encoding="utf-8")

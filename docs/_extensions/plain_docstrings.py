"""Docstrings are written for ``help()``: what reStructuredText would read as markup in them is escaped.

``|x|`` is an absolute value and no substitution, ``f ** 2`` a power and no strong text. Doctests, literal blocks and
code between backquotes stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.S)


def escaped(paragraph: str) -> str:
    parts = _CODE.split(paragraph)
    for number in range(0, len(parts), 2):
        text = re.sub(r"(?<!\\)[*|](?! )|(?<=\S)\*", r"\\\g<0>", parts[number])
        parts[number] = re.sub(r"^(?=\w)", r"\\ ", text) if number else text  # a plural after code: ``solver``s
    return "".join(parts)


def escape(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    paragraphs = re.split(r"(\n\s*\n)", "\n".join(lines))
    depth = None  # of the literal block that the last paragraph has opened
    for number in range(0, len(paragraphs), 2):
        text = paragraphs[number]
        indent = len(text) - len(text.lstrip())
        if depth is not None and indent > depth:
            continue
        depth = indent if text.rstrip().endswith("::") else None
        if not text.lstrip().startswith(">>>"):
            paragraphs[number] = escaped(text)
    lines[:] = "".join(paragraphs).split("\n")


def skip(app: Sphinx, what: str, name: str, obj: object, skipped: bool, options: object) -> bool | None:
    """Leave out what scikit-learn adds to each estimator for metadata: its texts link into scikit-learn's own site."""
    return True if re.fullmatch(r"set_\w+_request|get_metadata_routing", name) else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-docstring", escape, priority=100)  # before numpydoc
    return {"parallel_read_safe": True}

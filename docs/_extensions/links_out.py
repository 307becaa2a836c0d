"""Links of Markdown pages that lead out of docs/, to folders and files of the repository, become their paths as text.

The pages are read on the web and in a checkout. In a checkout the links lead somewhere; the site holds no copy of the
source files, other than notebooks to download.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class LinksOut(SphinxTransform):
    default_priority = 5

    def apply(self, **options: Any) -> None:
        source = Path(self.env.doc2path(self.env.docname))
        root = Path(self.app.srcdir).parent
        for node in [
            *self.document.findall(addnodes.pending_xref),
            *self.document.findall(addnodes.download_reference),
        ]:
            target = str(node.get("reftarget", ""))
            if "://" in target or target.startswith("#") or not target or target.endswith(".ipynb"):
                continue
            if node.get("reftype") == "doc" or node.get("refdomain") == "doc":  # a page may have the name of a folder
                continue
            path = Path(os.path.normpath(source.parent / target.partition("#")[0]))
            if not path.exists():  # in a page of the root folder that is included here
                path = root / target
            if path.exists() and not path.is_relative_to(self.app.srcdir):
                shown = str(path.relative_to(root)) if path.is_relative_to(root) else target
                text = node.astext()
                words = (
                    [nodes.literal(shown, shown)]
                    if text.rstrip("/") == shown
                    else [nodes.inline("", f"{text} ("), nodes.literal(shown, shown), nodes.inline("", ")")]
                )
                node.replace_self(words)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(LinksOut)
    return {"parallel_read_safe": True}

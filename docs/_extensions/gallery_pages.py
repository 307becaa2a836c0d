"""Additions to pages of sphinx-gallery: at which size, when and where examples ran; thumbnails cut from pictures."""

from __future__ import annotations

import os
import re
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image
from sphinx.application import Sphinx
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)
_TITLE_HEIGHT = 42
"""Pixels above the plots, which hold the title of a picture."""


def told_of_run(app: Sphinx) -> str:
    """A sentence on the run that made the pages of this build."""
    if not app.config.sphinx_gallery_conf["plot_gallery"]:
        return "This page was built without running the example."
    import clreduce

    scale = Fraction(os.environ.get("CLREDUCE_EXAMPLE_SCALE") or "1").limit_denominator(1000)
    size = "its full size" if scale == 1 else f"{scale} of its full size"
    return f"This run: at {size}, on {date.today()}, on {clreduce.current_device()}, {os.cpu_count()} processor cores."


def add_run(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put the sentence below the title, and leave out the line that names a temporary file."""
    if docname.startswith("auto_examples/") and not docname.endswith("/index"):
        sentence = re.sub(r"([<>|*`])", r"\\\1", app.config.clreduce_told_of_run)
        text = re.sub(r"^    plot: .*\n", "", source[0], flags=re.M)
        run = f"\n.. rst-class:: example-run\n\n{sentence}\n"
        source[0] = re.sub(r"^(.+\n=+\n)", lambda title: title[1] + run, text, count=1, flags=re.M)


def crop_thumbnails(app: Sphinx) -> None:
    """Make each thumbnail of the left part of its picture: whole pictures are too wide to be read at that size."""
    if not app.config.sphinx_gallery_conf["plot_gallery"]:
        return
    width, height = app.config.sphinx_gallery_conf["thumbnail_size"]
    for thumbnail in Path(app.srcdir, "auto_examples").rglob("images/thumb/*_thumb.png"):
        picture = thumbnail.parents[1] / thumbnail.name.replace("_thumb", "_001")
        if not picture.exists():
            _LOGGER.warning("the example of %s draws no picture, so it has no thumbnail", thumbnail.name)
            continue
        with Image.open(picture) as image:
            below = image.height - _TITLE_HEIGHT
            across = min(image.width, round(below * width / height))
            down = min(below, round(across * height / width))
            part = image.convert("RGB").crop((0, _TITLE_HEIGHT, across, _TITLE_HEIGHT + down))
        part.resize((width, height), Image.Resampling.LANCZOS).save(thumbnail)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("clreduce_told_of_run", "", "env")
    app.connect("builder-inited", lambda app: setattr(app.config, "clreduce_told_of_run", told_of_run(app)))
    app.connect("builder-inited", crop_thumbnails, priority=900)  # after sphinx-gallery has run the examples
    app.connect("source-read", add_run)
    return {"parallel_read_safe": True}

"""Configuration of the documentation site; ``nox -s docs`` builds it into docs/_build/html."""

from __future__ import annotations

import configparser
import logging
import os
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "_extensions"))

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or PyTorch's threads spin on the cores that the examples need
os.environ.setdefault("CLREDUCE_PROGRESS", "0")  # pages hold what programs print, not bars
os.environ["MPLBACKEND"] = "Agg"

from gallery import order_of_examples, reset_arguments, reset_libraries, scrape_pictures
from reference import write_packages

write_packages(DOCS / "reference")

_setup = configparser.ConfigParser()
_setup.read(ROOT / "setup.cfg", encoding="utf-8")

project = "clreduce"
author = "clreduce contributors"
copyright = "clreduce contributors"
release = version = _setup["metadata"]["version"]

extensions = [
    "myst_parser",
    "numpydoc",
    "plain_docstrings",
    "links_out",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "gallery_pages",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_templates", "_extensions", "auto_examples/**/README.*", "**/*.ipynb"]
templates_path = ["_templates"]
default_role = "autolink"  # `name` in a docstring is a link where there is such a name
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*")]  # what the default role makes no link of
suppress_warnings = [
    "config.cache",  # the functions of gallery.py in the configuration cannot be pickled
    "misc.highlighting_failure",  # blocks of OpenCL C and of grammars that leave something out with "..."
]

# -------------------------------------------------------------------------------------------------------------- pages

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"
autodoc_member_order = "alphabetical"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
add_module_names = False

# -------------------------------------------------------------------------------------------------------- the gallery

sphinx_gallery_conf = {
    "examples_dirs": ["../examples"],
    "gallery_dirs": ["auto_examples"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py$",
    "image_scrapers": (scrape_pictures,),
    "reset_argv": reset_arguments,
    "reset_modules": (reset_libraries,),
    "within_subsection_order": order_of_examples,
    "subsection_order": ["../examples/torch", "../examples/jax", "../examples/sklearn", "../examples/dask", "*"],
    "min_reported_time": 10**6,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "plot_gallery": os.environ.get("CLREDUCE_DOCS_GALLERY", "1") != "0",
    "thumbnail_size": (480, 300),
    "default_thumb_file": str(DOCS / "images" / "log_sum_exp.png"),
    "parallel": int(os.environ.get("CLREDUCE_DOCS_JOBS", "1")),
    "capture_repr": (),
    "backreferences_dir": None,
    "doc_module": (),
}

# --------------------------------------------------------------------------------------------------------------- HTML

html_theme = "pydata_sphinx_theme"
html_title = "clreduce"
html_static_path = ["_static"]
html_css_files = ["clreduce.css"]
html_theme_options = {
    "logo": {"text": "clreduce"},
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "show_prev_next": True,
    "secondary_sidebar_items": {"**": ["page-toc"], "operations": []},  # wide tables take the room of a menu
    "footer_start": ["copyright"],
    "footer_end": [],
    "show_toc_level": 2,
    "navigation_with_keys": False,
}
html_sidebars = {page: [] for page in ("index", "install", "benchmarks")}  # pages without a section of their own
html_show_sourcelink = False
copybutton_exclude = ".linenos, .gp, .go"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# ------------------------------------------------------------------------------------------------- warnings of no use


def _is_of_use(record: logging.LogRecord) -> bool:
    # Names that repeat in another folder break mini-galleries, of which there are none, and sphinx-gallery's own
    # directive for pictures, which scrape_pictures does not use.
    return "Duplicate example file name" not in str(record.msg)


logging.getLogger("sphinx.sphinx-gallery").addFilter(_is_of_use)

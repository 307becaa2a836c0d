"""How sphinx-gallery runs the examples: each writes its picture to a folder of its own, which is read here."""

from __future__ import annotations

import builtins
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

_ORDER = (
    "galaxy_density", "colour_transfer", "spectral_clustering", "large_gaussian_process", "several_devices",
    "sum_reduction", "log_sum_exp", "nearest_neighbours", "k_means", "density", "kernel_interpolation",
)  # fmt: skip
"""The examples that come first, in this order; the others follow by name."""


def _folder(source: str) -> Path:
    return Path(tempfile.gettempdir()) / "clreduce-gallery" / f"{Path(source).parent.name}-{Path(source).stem}"


def reset_arguments(config: dict[str, Any], script: dict[str, Any]) -> list[str]:
    """The command line of an example, which names the folder for its picture."""
    builtins.__file__ = script["src_file"]  # type: ignore[attr-defined]  # a name that scripts have, and do not get here
    folder = _folder(script["src_file"])
    shutil.rmtree(folder, ignore_errors=True)
    return ["--output", str(folder)]


def scrape_pictures(block: tuple[Any, ...], script: dict[str, Any], config: dict[str, Any]) -> str:
    """The pictures that the last block of an example has written, as images of its page.

    Sphinx' own directive renames images of one name in several folders. That of sphinx-gallery does not do so:
    the page of one k-means would show the picture of another.
    """
    images = []
    for picture in sorted(_folder(script["src_file"]).glob("*.png")):
        target = Path(next(script["image_path_iterator"])).with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(picture, target)
        where = target.relative_to(config["src_dir"]).as_posix()
        images.append(
            f"\n.. image:: /{where}\n   :alt: {picture.stem.replace('_', ' ')}\n   :class: sphx-glr-single-img\n"
        )
    return "".join(images)


def reset_libraries(config: dict[str, Any], script: str) -> None:
    """Undo what an example has set for its whole process, which here is that of the next one, too."""
    multiprocessing.set_start_method("spawn", force=True)  # joblib's own one means nothing to processes of an example
    if "torch" in sys.modules:
        sys.modules["torch"].set_default_dtype(sys.modules["torch"].float32)


def order_of_examples(name: str) -> tuple[int, str]:
    """The key that sorts examples within a folder."""
    stem = Path(name).stem
    return (_ORDER.index(stem) if stem in _ORDER else len(_ORDER), stem)

"""Asks the search of the built site what newcomers ask, and fails where the page that answers is not found.

    python docs/check_search.py

It reads the index that the search of the site reads, and counts as that does: a page has to hold all words of the
question; words in titles and headings count more than words in the text.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import snowballstemmer

INDEX = Path(__file__).resolve().parent / "_build" / "html" / "searchindex.js"
BEST = 5
"""The page has to be among so many."""
QUESTIONS = {
    "which devices": "guide/devices",
    "choose device": "guide/devices",
    "use a GPU": "install",
    "memory": "guide/memory",
    "OutOfMemoryError": "faq",
    "slow first call": "guide/performance",
    "profile": "faq",
    "where does the time go": "guide/performance",
    "threads": "guide/performance",
    "deterministic": "faq",
    "determinism": "guide/determinism",
    "reproducible bits": "guide/determinism",
    "cite": "faq",
    "report a bug": "contributing",
    "versions": "install",
    "thread-safe": "guide/processes",
    "fork": "guide/processes",
    "multiprocessing": "guide/processes",
    "JAX": "jax",
    "CuPy": "guide/libraries",
    "Dask": "dask",
    "pandas": "guide/libraries",
    "PyTorch": "guide/libraries",
    "Ctrl-C": "guide/memory",
    "progress": "guide/memory",
    "several devices": "guide/devices",
    "gradients": "guide/gradients",
    "batches": "guide/batches",
    "nearest neighbours": "guide/reductions",
    "KeOps": "switching",
    "NumPy broadcasting": "guide/from_numpy",
    "install": "install",
    "tune": "guide/performance",
    "precision float32": "guide/precision",
    "linear systems": "guide/solvers",
    "cache folder": "install",
}
_TITLE, _HEADING, _TEXT = 15, 10, 5
_STOP = {"a", "the", "of", "to", "in", "and", "is", "it", "my", "i", "do", "does", "how", "which", "where", "out"}


def read_index() -> dict[str, Any]:
    text = INDEX.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return found


def numbers(entry: int | list[int] | None) -> list[int]:
    """Pages in an entry of the index, which holds a number where there is one page."""
    return [] if entry is None else [entry] if isinstance(entry, int) else entry


def pages_of(index: dict[str, Any], question: str) -> list[str]:
    """The pages that hold all words of the question, the best ones first."""
    stem = snowballstemmer.stemmer("english").stemWord
    words = [stem(word) for word in re.findall(r"\w+", question.lower()) if word not in _STOP]
    scores: dict[int, int] = {}
    for place, word in enumerate(words):
        of_word: dict[int, int] = {}
        for table, weight in (("titleterms", _TITLE), ("terms", _TEXT)):
            for page in numbers(index[table].get(word)):
                of_word[page] = max(of_word.get(page, 0), weight)
        scores = of_word if place == 0 else {page: scores[page] + of_word[page] for page in scores if page in of_word}
    lowered = question.lower()
    for heading, places in index["alltitles"].items():
        if lowered in heading.lower():
            for page, anchor in places:
                if page in scores:
                    scores[page] += _HEADING if anchor else _TITLE
    ranked = sorted(scores, key=lambda page: (-scores[page], "generated/" in index["docnames"][page], page))
    return [index["docnames"][page] for page in ranked]


def main() -> None:
    index = read_index()
    missing = []
    for question, page in QUESTIONS.items():
        found = pages_of(index, question)
        if page not in found[:BEST]:
            missing.append(f"{question!r}: {page} is not among {found[:BEST]}")
    if missing:
        sys.exit("\n".join(["the search does not find", *missing]))
    print(f"the search finds the pages of all {len(QUESTIONS)} questions")


if __name__ == "__main__":
    main()

"""Asks the search of the built site what newcomers ask, and fails where the page that answers is not found.

    python docs/check_search.py

It reads the index that the search of the site reads, and counts as that does: a page has to hold all words of the
question, other than stop words; words in titles and headings count more than words in the text. Asked are the questions
below, each class of errors, and each message of docs/messages.md.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import snowballstemmer

DOCS = Path(__file__).resolve().parent
INDEX = DOCS / "_build" / "html" / "searchindex.js"
BEST = 8
"""The page has to be among so many: those fit on the first screen of results."""
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
    "choose a GPU": "install",
    "AMD GPU": "install",
    "use my GPU": "install",
    "no OpenCL device found": "messages",
    "out of memory": "messages",
    "arrays larger than memory": "guide/memory",
    "memory limit": "guide/memory",
    "first call": "guide/performance",
    "why slow": "faq",
    "number of threads": "faq",
    "thread safety": "guide/processes",
    "same results": "faq",
    "citation": "faq",
    "report bugs": "contributing",
    "supported versions": "faq",
    "NumPy version": "install",
    "jit": "jax",
    "xarray": "dask",
    "scikit-learn": "sklearn",
    "interrupt": "guide/memory",
    "progress bar": "guide/memory",
    "uninstall": "install",
    "float16": "guide/precision",
    "nan": "faq",
    "preconditioner": "guide/solvers",
    "Gaussian process": "auto_examples/large_gaussian_process",
    "k-means": "auto_examples/k_means",
    "optimal transport": "auto_examples/optimal_transport",
    "GPyTorch": "switching",
    "GeomLoss": "switching",
    "Windows": "install",
    "macOS": "install",
    "Docker container": "install",
    "conda": "install",
    "pickle": "guide/processes",
    "save routine": "guide/processes",
    "license": "faq",
    "faiss": "benchmarks",
    "tested devices": "faq",
    "Gaussian processes": "guide/solvers",
}
_TITLE, _PART_OF_TITLE, _TEXT, _PART_OF_TEXT = 15, 7, 5, 2
"""What a word counts in a title or in a text, as a whole or as a part of a longer word, as in searchtools.js."""
_CLASS = re.compile(r"[A-Z]\w*(?:Error|Converged|Warning)")


def read_index() -> dict[str, Any]:
    text = INDEX.read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    return found


def numbers(entry: int | list[int] | None) -> list[int]:
    """Pages in an entry of the index, which holds a number where there is one page."""
    return [] if entry is None else [entry] if isinstance(entry, int) else entry


def stop_words() -> set[str]:
    """Words that the search ignores, as the site has them."""
    text = (INDEX.parent / "_static" / "language_data.js").read_text(encoding="utf-8")
    found: list[str] = json.loads(text[text.index("[") : text.index("]") + 1])
    return set(found)


def pages_of(index: dict[str, Any], question: str, ignored: set[str]) -> list[str]:
    """The pages that hold all words of the question, the best ones first."""
    stem = snowballstemmer.stemmer("english").stemWord
    asked = [word for word in re.findall(r"\w+", question.lower()) if word not in ignored and not word.isdigit()]
    words = {stem(word) for word in asked}
    scores: dict[int, dict[str, int]] = {}
    for word in words:
        for table, whole, part in (("titleterms", _TITLE, _PART_OF_TITLE), ("terms", _TEXT, _PART_OF_TEXT)):
            exact = word in index[table]
            terms = [word] if exact else [term for term in index[table] if word in term] if len(word) > 2 else []
            for page in (page for term in terms for page in numbers(index[table][term])):
                of_page = scores.setdefault(page, {})
                of_page[word] = max(of_page.get(word, 0), whole if exact else part)
    needed = {word for word in words if len(word) > 2}  # shorter ones may be missing
    best = {page: max(of_page.values()) for page, of_page in scores.items() if needed <= of_page.keys()}
    lowered = question.lower()
    for title, places in index["alltitles"].items():
        if lowered in title.lower() and 2 * len(lowered) >= len(title):
            for page, anchor in places:
                best[page] = max(best.get(page, 0), round(_TITLE * len(lowered) / len(title)) + (anchor is None))
    ranked = sorted(best, key=lambda page: (-best[page], index["titles"][page]))
    return [index["docnames"][page] for page in ranked]


def messages() -> dict[str, str]:
    """For each class of errors, and for each message of docs/messages.md, the page that has to be found."""
    asked = {}
    for heading in re.findall(r"^### (.+)$", (DOCS / "messages.md").read_text("utf-8"), re.M):
        asked.update(dict.fromkeys(_CLASS.findall(heading), "messages"))
        fragments = heading.rpartition(": ")[2].split("…")
        asked[max(fragments, key=len).strip(" ;,.()'")] = "messages"
    return asked


def main() -> None:
    index, ignored = read_index(), stop_words()
    missing = []
    questions = QUESTIONS | messages()
    for question, page in questions.items():
        found = pages_of(index, question, ignored)
        if page not in found[:BEST]:
            missing.append(f"{question!r}: {page} is not among {found[:BEST]}")
    if missing:
        sys.exit("\n".join(["the search does not find", *missing]))
    print(f"the search finds the pages of all {len(questions)} questions")


if __name__ == "__main__":
    main()

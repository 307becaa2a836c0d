"""Adds an operation and a reduction to a copy of this repository, exactly as docs/design.md says, and tests them.

    python tests/documented_steps.py

The page marks its blocks: ``<!-- append to FILE -->`` and ``<!-- create FILE -->``. A new entry of a registry must pass
the tests without a line of test code and without a change to any other file.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_STEP = re.compile(r"^<!-- (append to|create) (\S+) -->\n```python\n(.*?)^```$", re.M | re.S)
_NEW = "Gudermannian or RMS"
_BY_ENTRY = [
    "tests/test_operations.py", "tests/test_operations_numpy.py", "tests/test_intervals.py", "tests/test_formula.py",
    "tests/test_lazytensor.py", "tests/test_reductions.py", "tests/test_genred_reductions.py", "tests/test_cuts.py",
    "tests/test_edges.py",
]  # fmt: skip
"""Tests with a case for each entry of a registry, which its name selects."""
_WHOLE = ["tests/test_docs.py", "tests/test_interface_names.py", "tests/test_signatures.py", "tests/test_lazytensor.py"]
"""Tests that compare a whole registry with a table, a stub or a page."""


_NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".nox", ".*_cache", "__pycache__", "*.egg-info", "_build", "auto_examples", "generated", "output"
)


def follow_the_page(folder: Path) -> list[str]:
    """The files that the steps have changed."""
    steps = _STEP.findall((folder / "docs" / "design.md").read_text("utf-8"))
    if [how for how, _, _ in steps] != ["append to", "create"]:
        sys.exit("docs/design.md must mark one block to append, for an operation, and one to create, for a reduction")
    for how, name, code in steps:
        path = folder / name
        if how == "create" and path.exists():
            sys.exit(f"{name} exists already")
        before = f"{path.read_text('utf-8').rstrip()}\n\n" if how == "append to" else ""
        path.write_text(before + code, encoding="utf-8")
    module = Path(steps[1][1]).stem
    package = folder / "clreduce" / "reductions" / "__init__.py"
    text = package.read_text("utf-8")
    text = text.replace("products, sums", f"products, {module}, sums").replace('"sums",', f'"{module}", "sums",')
    package.write_text(text, encoding="utf-8")
    return [*(name for _, name, _ in steps), "clreduce/reductions/__init__.py"]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="clreduce-steps-") as name:
        folder = Path(shutil.copytree(ROOT, Path(name) / "clreduce", ignore=_NOT_COPIED))
        changed = follow_the_page(folder)
        environment = {**os.environ, "PYTHONPATH": str(folder)}

        def run(*command: str) -> None:
            print("+", " ".join(command), flush=True)
            status = subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=False).returncode
            if status:
                sys.exit(f"{' '.join(command)} failed after the steps of docs/design.md")

        run("docs/make_tables.py")
        run("docs/make_stubs.py")
        run("-m", "ruff", "check", *changed)
        run("-m", "ruff", "format", "--check", *changed)
        run("-m", "mypy", *changed)
        pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
        run(*pytest, "-k", _NEW, *_BY_ENTRY)
        run(*pytest, "-k", "tables or stub or links or interface_names or signature", *_WHOLE)
        run("-c", "from clreduce.numpy import LazyTensor; LazyTensor.gudermannian; LazyTensor.rms")


if __name__ == "__main__":
    main()

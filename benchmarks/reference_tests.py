"""The tests and examples of pykeops on clreduce's stand-in for it: which pass, and why others do not.

    pip download --no-binary :all: --no-deps pykeops && tar xzf pykeops-*.tar.gz
    python benchmarks/reference_tests.py pykeops-*/pykeops/test
    python benchmarks/reference_tests.py pykeops-*/pykeops/tutorials --limit 2000 --beside --out RESULT.txt

Each file of the folder runs in a process of its own, where `install_as_pykeops` answers its ``import pykeops``, and on
a copy of the folder, so that a pykeops beside it is not taken for the stand-in. pytest runs the files that have tests.
The others run as scripts, which pass if they raise nothing. Pictures are drawn and not shown.

The table says how many tests of each file passed, failed and were skipped, and how many calls of clreduce's kernels
there were. The lines below a file say why. The exit status is 1 if there is a failure that KNOWN does not explain.

``--limit`` is for scripts with sizes for a GPU: all larger whole numbers in them, also those written as ``1e6``, become
the limit. ``--beside`` runs each script with pykeops itself, too, which must be installed and needs a compiler for C++.
All begin with the same random numbers. The column says how much the arrays differ that the two leave behind under one
name, relative to the largest number; a script fails if that is more than TOLERANCE.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import datetime
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

OUTCOMES = ("passed", "failed", "skipped")
TOLERANCE = 1e-3
_GPU = "needs a GPU"
_CUDA = "needs CUDA"
_ORDER = "pykeops sorts labels by a sort that is not stable: the points of a cluster come in another order"
_INTERNALS = "makes formulas of classes inside keopscore"
_UNKNOWN = "an operation that pykeops 2.3 does not have either"
_UNCHECKED = "its array does not have the shape that its formula needs, which pykeops does not check"
KNOWN = {
    # tests
    "conv2d.py": _GPU,
    "test_block_sparse_reduction.py": "of 40 draws of its data, 3 miss its limit; all equal exact sums up to 1.5e-6",
    # examples and tutorials
    "numpy/plot_grid_cluster_numpy.py": _ORDER,
    "pytorch/plot_grid_cluster_pytorch.py": _ORDER,
    "pytorch/plot_gpu_select_example.py": _GPU,
    "pytorch/plot_multi_gpu.py": _GPU,
    "backends/plot_scipy.py": f"{_ORDER}, and eigenvectors have a sign that nothing determines",
    "kevin/scatter_example.py": _CUDA,
    "knn/plot_knn_mnist.py": "downloads its data",
    # sandbox
    "issue_233.py": "tensordot of complex numbers, which pykeops refuses, too",
    "issue_240.py": _UNCHECKED,
    "issue_248.py": _UNCHECKED,
    "issue_266.py": "backward from a complex number, which PyTorch refuses",
    **dict.fromkeys(
        ("issue_238.py", "issue_293.py", "issue_294.py", "issue_335.py", "issue_335_alt.py", "issue_350.py",
         "issue_353.py", "ranges.py", "issue284.py", "issue284_simple.py", "issue_342.py"),
        _CUDA,
    ),
    **dict.fromkeys(("issue_275.py", "issue_275_plus.py", "issue_328.py", "test_gpu_cpu.py::(script)"), _GPU),
    **dict.fromkeys(("test_Trace.py", "traceT2.py"), _UNKNOWN),
    **dict.fromkeys(
        ("test_soft_dtw_kernel.py", "test_soft_dtw_kernel_dissmatrix.py", "test_soft_dtw_kernel_v0.py"), _INTERNALS
    ),
}  # fmt: skip
"""By file, or file and test: why it fails, where the reason is not in clreduce."""

Outcome = tuple[str, str, str]
"""A test, its outcome, and the reason."""


@dataclass
class Report:
    """What became of one file."""

    name: str
    outcomes: list[Outcome]
    calls: int = 0
    seconds: float = 0.0
    difference: float | None = None
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = {wanted: sum(outcome == wanted for _, outcome, _ in self.outcomes) for wanted in OUTCOMES}

    def explanation(self, test: str) -> str:
        return KNOWN.get(f"{self.name}::{test}", KNOWN.get(self.name, ""))

    def unexplained(self) -> int:
        return sum(outcome == "failed" and not self.explanation(test) for test, outcome, _ in self.outcomes)

    def lines(self) -> list[str]:
        numbers = "".join(f"{self.counts[outcome]:>8}" for outcome in OUTCOMES)
        difference = "" if self.difference is None else f"{self.difference:>11.0e}"
        lines = [f"{self.name:<52}{numbers}{self.calls:>8}{self.seconds:>9.0f}{difference}"]
        for test, outcome, reason in self.outcomes:
            if outcome != "passed":
                known = self.explanation(test) if outcome == "failed" else ""
                lines.append(f"    {outcome} {test}: {shortened(reason)}" + (f" [{known}]" if known else ""))
        return lines


def shortened(text: str, width: int = 200) -> str:
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 4]} ..."


# ---------------------------------------------------------------------------------------------- in the file's process


class Collected:
    """A plugin of pytest that notes what became of each test."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self._note(report, report.nodeid.rpartition("::")[2])

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self._note(report, "(import)")

    def _note(self, report: Any, test: str) -> None:
        reason = ""
        if isinstance(report.longrepr, tuple):
            reason = report.longrepr[2]
        elif report.longrepr is not None:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = crash.message if crash else str(report.longrepr).strip().splitlines()[-1].removeprefix("E ")
        self.outcomes.append((test, report.outcome, reason))


def has_tests(path: Path) -> bool:
    """Whether a file has functions that pytest collects."""
    return path.name.startswith("test_") and any(
        isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def run_tests(path: Path) -> list[Outcome]:
    import pytest

    collected = Collected()
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(path.parent)]
    pytest.main([str(path), *options], plugins=[collected])
    return collected.outcomes


def run_script(path: Path, arrays: Path) -> list[Outcome]:
    """Run a script, and keep the arrays that it leaves behind."""
    sys.argv = [str(path)]
    sys.path.insert(0, str(path.parent))
    reason, names = "", {}
    try:
        names = runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        reason = f"exit status {end.code}" if end.code else ""
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        reason = f"line {lines[-1] if lines else '?'}: {type(error).__name__}: {error}"
    np.savez(arrays, **{name: array for name, value in names.items() if (array := as_array(value)) is not None})
    return [("(script)", "failed" if reason else "passed", reason)]


def as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """An array or tensor of numbers, as one of NumPy's."""
    if hasattr(type(value), "detach"):
        value = value.detach().cpu().numpy()
    is_numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fciub" and value.size > 0
    return value if is_numbers else None


def run_here(path: Path, reference: bool) -> None:
    """Run one file in this process, and print what became of it as JSON."""
    calls = 0
    if not reference:
        import clreduce.numpy
        from clreduce.runtime.plan import Plan
        from clreduce.runtime.repeat import Repeated

        def counting(method: Any) -> Any:
            def counted(*args: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                return method(*args, **options)

            return counted

        Plan.launch = counting(Plan.launch)  # type: ignore[method-assign]
        Repeated.__call__ = counting(Repeated.__call__)  # type: ignore[method-assign]
        clreduce.numpy.install_as_pykeops()
    np.random.seed(0)  # noqa: NPY002 - scripts draw from this generator
    with contextlib.suppress(ImportError):
        import torch

        torch.manual_seed(0)
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):
        outcomes = run_tests(path) if has_tests(path) else run_script(path, path.with_suffix(".npz"))
    print("\n" + json.dumps([outcomes, calls]), flush=True)


# ------------------------------------------------------------------------------------------------- one process a file


class Smaller(ast.NodeTransformer):
    """Lower the large whole numbers of a script to a limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        value = node.value
        if isinstance(value, int | float) and self.limit < value < float("inf") and value == int(value):
            return ast.copy_location(ast.Constant(type(value)(self.limit)), node)
        return node


def copied(folder: Path, target: Path, limit: int | None) -> list[str]:
    """Copy a folder, and name its files of Python; what Python would take for packages is left out."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__init__.py", "__pycache__"))
    paths = [path for path in sorted(target.rglob("*.py")) if path.read_text().strip()]
    for path in paths if limit is not None else []:
        path.write_text(ast.unparse(Smaller(limit).visit(ast.parse(path.read_text()))))  # type: ignore[arg-type]
    return [str(path.relative_to(target)) for path in paths]


def run_process(path: Path, seconds: float, reference: bool = False) -> tuple[list[Outcome], int]:
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, str(Path(__file__).resolve()), "--file", str(path)]
    try:
        done = subprocess.run(
            [*command, "--reference"] if reference else command, capture_output=True, text=True, check=False,
            timeout=seconds, env=environment, cwd=path.parent,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [("(process)", "failed", f"not finished after {seconds:.0f} s")], 0
    if done.returncode:
        error = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return [("(process)", "failed", error[-1])], 0
    outcomes, calls = json.loads(done.stdout.strip().rpartition("\n")[2])
    return [tuple(outcome) for outcome in outcomes], calls


def differences(ours: Path, theirs: Path) -> dict[str, float]:
    """By name, how much the arrays differ that two runs left behind, the largest number being 1."""
    errors = {}
    with np.load(ours) as left, np.load(theirs) as right:
        for name in sorted(set(left.files) & set(right.files)):
            a, b = (each[name].astype(complex) for each in (left, right))
            if a.shape != b.shape:
                errors[name] = np.inf
                continue
            size = np.abs(b[np.isfinite(b)]).max(initial=0.0) or 1.0
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            errors[name] = float(np.abs(np.where(same, 0, a - b)).max() / size)
    return errors


def run_file(copy: Path, name: str, seconds: float, beside: bool) -> Report:
    begin = time.perf_counter()
    path = copy / name
    outcomes, calls = run_process(path, seconds)
    taken, difference = time.perf_counter() - begin, None
    if beside and not has_tests(path) and outcomes[0][1] == "passed":
        ours = path.with_suffix(".npz").rename(path.with_suffix(".ours.npz"))
        (theirs,), _ = run_process(path, seconds, reference=True)
        if theirs[1] == "passed":
            errors = differences(ours, path.with_suffix(".npz"))
            difference = max(errors.values(), default=0.0)
            wrong = [f"{key} ({error:.0e})" for key, error in errors.items() if not error <= TOLERANCE]
            if wrong:
                outcomes = [("(script)", "failed", f"of {len(errors)} arrays these differ: {', '.join(wrong)}")]
        else:
            outcomes.append(("(script with pykeops)", "skipped", theirs[2]))
    return Report(name, outcomes, calls, taken, difference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", help="words, one of which is in a file's name", default=[""])
    parser.add_argument("--limit", type=int, help="the largest whole number in a file")
    parser.add_argument("--beside", action="store_true", help="run scripts with pykeops itself, too")
    parser.add_argument("--seconds", type=float, default=600.0, help="of a file, at most")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--reference", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        run_here(options.file, options.reference)
        return
    if options.folder is None or not options.folder.is_dir():
        parser.error(f"no such folder: {options.folder}; see --help for where the tests are from")
    import clreduce

    lines: list[str] = []

    def say(*more: str) -> None:
        print("\n".join(more), flush=True)
        lines.extend(more)

    limit = f", whole numbers up to {options.limit}" if options.limit is not None else ""
    say(
        f"python benchmarks/reference_tests.py, {datetime.date.today()}",
        f"{'/'.join(options.folder.resolve().parts[-3:])}{limit}; {clreduce.current_device()}",
        f"{'file':<52}" + "".join(f"{title:>8}" for title in (*OUTCOMES, "calls")) + f"{'seconds':>9}"
        + (f"{'difference':>11}" if options.beside else ""),
    )  # fmt: skip
    reports = []
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(options.jobs) as pool:
        copy = Path(work) / "copy"
        names = [name for name in copied(options.folder, copy, options.limit) if any(w in name for w in options.only)]
        for report in pool.map(lambda name: run_file(copy, name, options.seconds, options.beside), names):
            say(*report.lines())
            reports.append(report)
    totals = [sum(report.counts[outcome] for report in reports) for outcome in OUTCOMES]
    say(f"{f'{len(reports)} files':<52}" + "".join(f"{total:>8}" for total in totals))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    sys.exit(any(report.unexplained() for report in reports))


if __name__ == "__main__":
    main()

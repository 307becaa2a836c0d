"""Packages written for pykeops, on clreduce: what they compute with kernels of pairs, and what without.

    python benchmarks/clients.py                        # all that are installed
    python benchmarks/clients.py --only torchdr POT --out RESULT.txt

Each package runs in a process of its own, where `install_as_pykeops` answers its ``import pykeops``. What it computes
is computed again by its own dense code where it has some, else by PyTorch or NumPy on tables of all pairs. The table
says how many plans of clreduce ran and the largest relative error, of values and of gradients; a check fails if no plan
ran, if one ran for the dense result, or if the error is above the limit that is given beside it. Everything is in
float64, but for what a package itself computes in float32.

Install packages with old pins by ``pip install --no-deps``. Of alibi-detect and scikit-shapes only the modules that
call KeOps are imported, for the rest needs transformers, numba or VTK.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from client_packages import geometry, learning, scikit_shapes, transport
from client_packages.common import Call, Checks

import clreduce
import clreduce.torch
from clreduce.runtime.plan import Plan

CLIENTS: dict[str, tuple[str, Callable[[], Checks]]] = {
    "GPyTorch": ("gpytorch", transport.gpytorch),
    "GeomLoss": ("geomloss", transport.geomloss),
    "POT": ("POT", transport.pot),
    "TorchDR": ("torchdr", learning.torchdr),
    "alibi-detect": ("alibi-detect", learning.alibi_detect),
    "dire-rapids": ("dire-rapids", learning.dire_rapids),
    "densemaps": ("densemaps", geometry.densemaps),
    "geomstats": ("geomstats", geometry.geomstats),
    "gempy-engine": ("gempy_engine", geometry.gempy_engine),
    "scikit-shapes": ("skshapes", scikit_shapes.skshapes),
}
"""By name: the distribution that is installed, and its checks."""
launched = 0


def _arrays(results: Any) -> list[torch.Tensor]:
    return [torch.as_tensor(result).detach().to(torch.float64) for result in results]


def error(ours: Any, dense: Any) -> float:
    """The largest relative error: of each array, the largest difference over the largest number."""
    worst = 0.0
    for array, right in zip(_arrays(ours), _arrays(dense), strict=True):
        if array.shape != right.shape or not bool(array.isfinite().all()):
            return float("inf")
        size = float(right.abs().max())
        worst = max(worst, float((array - right).abs().max()) / (size or 1.0))
    return worst


def counted(call: Call) -> tuple[int, Any]:
    """How many plans a call ran, and what it gave."""
    before = launched
    result = call()
    return launched - before, result


def run_checks(name: str) -> None:
    """Run the checks of one package in this process, and print each as a line of JSON."""
    launch = Plan.launch

    def counting(self: Plan, *args: Any, **options: Any) -> Any:
        global launched
        launched += 1
        return launch(self, *args, **options)

    Plan.launch = counting  # type: ignore[method-assign]
    clreduce.torch.install_as_pykeops()
    warnings.simplefilter("ignore")  # those of the packages: the numbers count
    torch.set_default_dtype(torch.float64)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for what, ours, dense, limit in CLIENTS[name][1]():
            plans, found = counted(ours)
            others, right = counted(dense)
            row = {"what": what, "plans": plans, "dense": others, "error": error(found, right), "limit": limit}
            print(json.dumps(row), file=sys.__stdout__, flush=True)


def report(name: str) -> tuple[list[str], bool]:
    """The lines of the table for one package, and whether all is right."""
    distribution = CLIENTS[name][0]
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return [f"{name}: not installed"], True
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve()), "--one", name], capture_output=True, text=True, check=False
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    lines, right = [f"{name} {version}"], done.returncode == 0 and bool(rows)
    for row in rows:
        passed = row["plans"] > 0 and row["dense"] == 0 and row["error"] <= row["limit"]
        right &= passed
        verdict = "" if passed else "  WRONG"
        lines.append(f"  {row['what']:<78} {row['plans']:>6} {row['error']:>9.1e} {row['limit']:>9.0e}{verdict}")
    if done.returncode:
        lines.append(f"  FAILED: {done.stderr.strip().splitlines()[-1]}")
    return lines, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CLIENTS, default=list(CLIENTS), metavar="PACKAGE")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--one", choices=CLIENTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_checks(options.one)
        return
    lines = [
        f"python benchmarks/clients.py, {datetime.date.today()}",
        f"{clreduce.current_device()}, torch {torch.__version__}, NumPy {np.__version__}",
        f"{'package, and what ran':<80} {'plans':>6} {'error':>9} {'limit':>9}",
    ]
    print("\n".join(lines))
    all_right = True
    for name in options.only:
        more, right = report(name)
        print("\n".join(more), flush=True)
        lines += more
        all_right &= right
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    sys.exit(0 if all_right else 1)


if __name__ == "__main__":
    main()

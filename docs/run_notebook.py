"""Runs the code cells of notebooks, in order, as a kernel would; a cell that fails ends it with the cell.

python docs/run_notebook.py examples/first_steps.ipynb
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "Agg"


def run(path: Path) -> int:
    """How many cells ran."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    names: dict[str, Any] = {"__name__": "__main__"}
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for number, code in enumerate(codes, 1):
        exec(compile(code, f"{path.name}, cell {number}", "exec"), names)
    return len(codes)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(f"{argument}: {run(Path(argument))} cells ran")

"""`benchmarks/reference_tests.py` tells of each file what passed, what failed and why, and how many kernels ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import clreduce

ROOT = Path(clreduce.__file__).parents[1]
FILES = {
    "__init__.py": "raise RuntimeError('left out')",
    "test_some.py": """
import numpy as np, pytest
from pykeops.numpy import Vi
def test_sum():
    assert Vi(np.ones((3, 1))).sum(axis=0) == 3
def test_wrong():
    assert 1 + 1 == 3
@pytest.mark.skip(reason="needs a moon")
def test_moon():
    pass
""",
    "script.py": "N = 10**3\nassert N == 7**3, N\n",
    "deeper/size.py": "N = 5000\nassert N == 100, N\n",
}


def test_table_of_a_folder(tmp_path: Path) -> None:
    folder, out = tmp_path / "theirs", tmp_path / "table.txt"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    command = [sys.executable, str(ROOT / "benchmarks" / "reference_tests.py"), str(folder)]
    done = subprocess.run(
        [*command, "--limit", "100", "--jobs", "2", "--out", str(out)], capture_output=True, text=True, check=False,
        timeout=600, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert out.read_text() == done.stdout
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:5] for line in lines if line[:1] not in " "}
    assert rows["deeper/size.py"] == ["1", "0", "0", "0"]
    assert rows["script.py"] == ["0", "1", "0", "0"]
    assert rows["test_some.py"] == ["1", "1", "1", "1"]
    assert rows["3"] == ["files", "2", "2", "1"]
    told = "\n".join(lines)
    assert "failed (script): line 2: AssertionError: 1000" in told
    assert "failed test_wrong: assert (1 + 1) == 3" in told
    assert "skipped test_moon: Skipped: needs a moon" in told

"""Kernels of every template, and every own function, compile for GPUs of NVIDIA and AMD, and spill no register.

No GPU is needed, nor is a driver: `benchmarks/offline.py` compiles OpenCL C for them. Where its tools are missing the
tests are skipped with the reason, unless ``CLREDUCE_REQUIRE_GPU_COMPILERS`` is set: then they fail.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mako.lookup import TemplateLookup
from template_cases import CASES, Case

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import offline

from clreduce.codegen.facts import DeviceFacts
from clreduce.codegen.lower import lower
from clreduce.codegen.render import render, template_directory
from clreduce.codegen.schedule import choose_schedule

EVERY_VENDOR = pytest.mark.parametrize("vendor", list(offline.FACTS))
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float", "double"])
EXCESS = {"nvidia": 2.5, "amd": 1.5}
"""Private memory, in units of the arrays that a program declares, which a kernel with such arrays may take."""
ALIGNMENT = 16
"""Bytes of private memory that a compiler may leave unused before an array."""


FUNCTIONS = sorted(
    name
    for file in ("exponentials", "logarithms", "trigonometry", "special", "rounding")
    for name in re.findall(r'<%def name="([a-z]\w*)\(suffix', (template_directory() / f"{file}.cl.mako").read_text())
)


@pytest.fixture(autouse=True)
def have_tools(vendor: str) -> None:
    problem = next(filter(None, map(offline.missing, targets(vendor, "float"))), "")
    if problem:
        if os.environ.get("CLREDUCE_REQUIRE_GPU_COMPILERS"):
            pytest.fail(problem)
        pytest.skip(problem)


def targets(vendor: str, dtype: str) -> list[offline.Target]:
    """The oldest and the newest processor of NVIDIA, one of each of AMD's families; in double precision one each."""
    names = ("sm_70", "sm_90", "gfx90a", "gfx1030") if dtype == "float" else ("sm_90", "gfx1030")
    return [target for name in names if (target := offline.TARGETS[name]).vendor == vendor]


def sources(case: Case, dtype: str, facts: DeviceFacts) -> dict[str, str]:
    """The OpenCL C of all kernels of a case."""
    schedule = replace(choose_schedule(case.program, dtype, facts), **dict(case.change))
    lowered = lower(case.program, dtype, schedule, facts, case.batched, case.ranged, case.wide)
    kernels = {f"stored {n}": stored.kernel for n, stored in enumerate(lowered.stored)}
    kernels |= {"pair": lowered.pair, "pair of a part": lowered.pair_split, "merge": lowered.merge}
    return {role: render(kernel) for role, kernel in kernels.items()}


SIZES = {"int": 4, "float": 4, "double": 8, "long": 8, "marks": 8, "wide": 8, "widev": 8, "wnum": 8, "wnumv": 8}


def private_arrays(source: str, dtype: str) -> int:
    """Bytes of the arrays that a kernel without lanes declares: states too long for registers, lists, queues."""
    numbers = 4 if dtype == "float" else 8
    sizes = SIZES | dict.fromkeys(("real", "realv", "inum", "inumv"), numbers)
    body = source[source.index("__kernel") :]
    total = 0
    for kind, names in re.findall(r"^ +(?:const )?(\w+) (\w+\[\d+\](?:, \w+\[\d+\])*);$", body, re.M):
        total += sizes[kind] * sum(map(int, re.findall(r"\[(\d+)\]", names)))
    return total


@EVERY_VENDOR
@EVERY_DTYPE
@pytest.mark.parametrize("name", list(CASES))
def test_kernels_compile_and_stay_in_registers(name: str, dtype: str, vendor: str) -> None:
    """Private memory is for arrays that a program declares on purpose, and nothing is spilled where there are none.

    AMD's compiler takes registers for arrays of a few dozen numbers, and spills some of those; NVIDIA's reads more
    parameters ahead of a loop than there are registers. `EXCESS` is how much that may be.
    """
    case, facts = CASES[name], offline.FACTS[vendor]
    if case.wide and dtype == "double":
        pytest.skip("sums of double are wide as they are")
    for role, source in sources(case, dtype, facts).items():
        arrays = private_arrays(source, dtype)
        for target in targets(vendor, dtype):
            (kernel,) = offline.compile_for(target, source).values()
            used = f"{role} for {target.name}: {kernel}, and arrays of {arrays} bytes"
            assert kernel.local <= facts.local_memory, used
            if arrays:
                assert kernel.stack <= EXCESS[vendor] * arrays + ALIGNMENT, used
            else:
                assert (kernel.spilled, kernel.stack) == (0, 0), used


BY_THE_DRIVERS_FUNCTION = {"of_sin", "of_cos"}
"""Of arguments beyond 1e4 they are the driver's, whose libclc takes bits of pi from an array."""
ARGUMENTS = {
    "pow": "x[i], y[i]",
    "atan2": "x[i], y[i]",
    "logaddexp": "x[i], y[i]",
    "to_real": "(inum)i",
    "lookup": "x, (inum)i, 100, 2",
    "load_four": "x, (int)i, 1",
}


def kernel_of(name: str) -> str:
    return f"""
__kernel void of_{name}(__global real *out, const __global real *x, const __global real *y) {{
  const long i = get_global_id(0);
  out[i] = {name}_v({ARGUMENTS.get(name, "x[i]")}) + {name}_s({ARGUMENTS.get(name, "x[i]")});
}}
"""


@EVERY_VENDOR
@EVERY_DTYPE
def test_own_functions_compile(dtype: str, vendor: str) -> None:
    """All of them, in one source with a kernel for each."""
    prelude = TemplateLookup([str(template_directory())], strict_undefined=True).get_template("prelude.cl.mako")
    source = prelude.render(dtype=dtype, lanes=1, functions=frozenset(FUNCTIONS)) + "".join(map(kernel_of, FUNCTIONS))
    for target in targets(vendor, dtype):
        compiled = offline.compile_for(target, source)
        assert set(compiled) == {f"of_{name}" for name in FUNCTIONS}
        in_memory = {name: kernel for name, kernel in compiled.items() if kernel.spilled or kernel.stack}
        assert set(in_memory) <= BY_THE_DRIVERS_FUNCTION, in_memory

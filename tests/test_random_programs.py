"""Random formulas, reductions, sizes and schedules give what NumPy gives. ``tests/fuzz.py`` runs more of them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import Sample, random_sample, sample_of
from rounding import judge

from clreduce.ir.expr import INDEX
from clreduce.ir.op import FUNCTIONS
from clreduce.reductions import FAMILIES, REDUCTIONS
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.device import Device


@pytest.fixture(autouse=True)
def kernels_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On disk: each is used once, and keeping it takes as long as building it."""
    monkeypatch.setattr(PROGRAMS, "save", lambda: None)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_kernels_compute_what_numpy_computes(random: Random, device: Device) -> None:
    sample = random_sample(random, device.facts.has_double)
    verdict = sample.verdict(device)
    assert not verdict.wrong, "\n".join([*verdict.wrong, str(sample)])


def several(number: int) -> list[Sample]:
    return [random_sample(Random(n)) for n in range(number)]


def test_every_name_is_drawn() -> None:
    samples = several(150 + 30 * len(FUNCTIONS))
    assert {name for sample in samples for name in sample.used} >= set(FUNCTIONS)
    assert {sample.reduction for sample in samples} == {*REDUCTIONS, *FAMILIES}


def test_samples_can_be_written_down() -> None:
    for sample in several(20):
        assert sample_of(sample.blob()) == sample
        assert f"--reproduce '{sample.blob()}'" in str(sample)


def test_wrong_results_are_noticed() -> None:
    """NumPy's own results are accepted; so are few with one number changed, by more than rounding does."""
    seen = {"accepted": 0, "changed": 0, "noticed": 0}
    for sample in several(120):
        program, arrays = sample.program, sample.arrays
        sizes = sample.rows, sample.columns, sample.dtype

        def wrong(results: list[np.ndarray], sample: Sample = sample) -> bool:
            return bool(
                judge(results, sample.program, sample.arrays, sample.rows, sample.columns, sample.dtype, 0).wrong
            )

        exact = program.reference(arrays, *sizes[:2])
        results = [
            result.astype(np.int64 if output.kind == INDEX else sample.dtype)
            for result, output in zip(exact, program.outputs, strict=True)
        ]
        assert not wrong(results)
        (last,) = results[-1][-1:, -1]
        if not np.isfinite(last) or abs(last) < 1e-9:
            continue
        results[-1][-1, -1] = last + 1 if results[-1].dtype == np.int64 else last * (1 + 1e4 * np.finfo(sizes[2]).eps)
        seen["changed"] += 1
        seen["noticed"] += wrong(results)
    assert seen["changed"] > 60
    assert seen["noticed"] > 0.9 * seen["changed"]

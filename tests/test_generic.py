"""`generic_sum` and its kin, and the settings and reports of the package."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest

import clreduce
from clreduce import FormulaError, config
from clreduce.numpy import Genred, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum
from clreduce.runtime.devices import devices

pytestmark = pytest.mark.usefixtures("plain_kernels")

ALIASES = ("x = Vi(3)", "y = Vj(3)")


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 3)), rng.normal(size=(40, 3))
    return x, y, ((x[:, None] - y[None]) ** 2).sum(-1)


def test_generic(data):
    x, y, table = data
    formula = "SqDist(x, y)"
    assert np.allclose(generic_sum(formula, "a = Vi(1)", *ALIASES)(x, y), table.sum(1, keepdims=True))
    assert np.allclose(generic_sum(formula, "a = Vj(1)", *ALIASES)(x, y), table.sum(0)[:, None])
    found = generic_logsumexp(formula, "a = Vi(1)", *ALIASES)(x, y)
    assert np.allclose(found, np.log(np.exp(table).sum(1, keepdims=True)))
    found = generic_argmin(formula, "a = Vj(1)", *ALIASES)(x, y)
    assert found.dtype == np.int64
    assert np.array_equal(found[:, 0], table.argmin(0))
    found = generic_argkmin(formula, "a = Vi(3)", *ALIASES)(x, y)
    assert np.array_equal(found, table.argsort(1)[:, :3])


def test_generic_makes_genreds():
    made = generic_sum("SqDist(x, y)", "a = Vi(1)", *ALIASES, sum_scheme="direct_sum")
    assert isinstance(made, Genred)
    assert made.options.sum_scheme == "direct_sum"
    assert generic_sum.__name__ == "generic_sum"
    assert "Vi(K)" in generic_argkmin.__doc__


def test_generic_refuses():
    with pytest.raises(FormulaError, match="a vector of i or of j"):
        generic_sum("SqDist(x, y)", "a = Pm(1)", *ALIASES)
    with pytest.raises(FormulaError, match="alias"):
        generic_sum("SqDist(x, y)", "nothing", *ALIASES)
    with pytest.raises(TypeError, match="axis"):
        generic_sum("SqDist(x, y)", "a = Vi(1)", *ALIASES, axis=1)
    with pytest.raises(TypeError, match="opt_arg"):
        generic_argkmin("SqDist(x, y)", "a = Vi(1)", *ALIASES, opt_arg=2)


def test_messages(capsys, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's: a program's own handlers get the messages instead
    x = np.zeros((3, 3), np.float32)
    formula = "SqDist(x, y) + 41.5"  # built by nobody else
    clreduce.set_verbose(True)
    try:
        clreduce.set_verbose(True)
        assert len(logging.getLogger("clreduce").handlers) == 1
        generic_sum(formula, "a = Vi(1)", *ALIASES)(x, x)
        told = capsys.readouterr().err
        assert "[clreduce.builds] building " in told
        assert "Sum: SqDist(x, y) + " in told  # what is built, before it is
        assert told.index("building") < told.index("[clreduce.builds] built a kernel")
    finally:
        clreduce.set_verbose(False)
    generic_sum(formula + " + 2", "a = Vi(1)", *ALIASES)(x, x)
    assert capsys.readouterr().err == ""


def test_build_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "")
    assert clreduce.get_build_folder() is None
    clreduce.set_build_folder(tmp_path / "kernels")
    assert clreduce.get_build_folder() == str(tmp_path / "kernels")
    clreduce.set_build_folder("kernels")
    assert Path(clreduce.get_build_folder()) == Path.cwd() / "kernels"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    clreduce.set_build_folder()
    assert clreduce.get_build_folder() not in (None, str(Path.cwd() / "kernels"))
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "")  # undone at the end, whatever the functions did


def test_health(capsys):
    page = io.StringIO()
    clreduce.check_health(page)
    lines = page.getvalue().splitlines()
    results = [line for line in lines if line.startswith("result:")]
    assert len(results) == sum(1 + device.facts.has_double for device in devices())
    assert all("right" in line for line in results), results
    assert any(line.startswith("in use:") for line in lines)
    clreduce.test_numpy_bindings()
    assert "is working" in capsys.readouterr().out


def test_gpu_available():
    assert config.gpu_available == any(device.facts.kind == "gpu" for device in devices())
    with pytest.raises(AttributeError):
        config.no_such_thing  # noqa: B018

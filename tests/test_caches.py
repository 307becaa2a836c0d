"""What is kept between calls and between processes: bounded, safe, and never a reason to fail."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import can_fill_disks, output_of, run_on_full_disks, run_python

import clreduce
from clreduce import cache
from clreduce.cache import PROGRAMS, SCHEDULES, SOURCES, cache_folder, entry_name, read_entry, usage, write_entry
from clreduce.memo import Memo, memoised
from clreduce.numpy import Genred, KernelSolve, LazyTensor
from clreduce.runtime.device import Device
from clreduce.runtime.devices import devices
from clreduce.runtime.plan_cache import PLANS

NAME = entry_name("a name")
NOBODY = 65534
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="privileges of Linux")
POSIX = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owners and modes of POSIX")
SUM = """
import numpy as np
from clreduce.numpy import Genred
x = np.linspace(0, 1, 60).reshape(20, 3)
routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
assert np.allclose(routine(x, x)[:, 0], ((x[:, None] - x[None]) ** 2).sum((1, 2)))
print("right")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(tmp_path / "ours"))
    monkeypatch.setattr(cache, "_written", {})
    monkeypatch.setattr(cache, "_logged", set())
    return tmp_path / "ours"


def as_others() -> None:
    """What a process of root calls before it begins, so that modes of files hold for it too."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, out of the bounding set
            if libc.prctl(24, capability, 0, 0, 0) != 0:
                raise OSError("root cannot lay down its privileges here")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --------------------------------------------------------------------------------------------- other people's caches


def test_no_file_is_written_but_in_the_cache_folder_and_the_drivers(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    variables = {
        "HOME": str(home), "XDG_CACHE_HOME": None, "CLREDUCE_CACHE_FOLDER": str(tmp_path / "ours"),
    }  # fmt: skip
    for _ in range(2):
        result = run_python(SUM, **variables)
        assert result.stdout == "right\n", result.stderr
    assert files(home) == []
    assert files(tmp_path / "ours")


@LINUX
@pytest.mark.parametrize("first", ["", "import pyopencl"])
@pytest.mark.parametrize("mode", [None, 0o500, 0], ids=["missing", "unwritable", "forbidden"])
def test_a_home_that_cannot_be_used(tmp_path: Path, mode: int | None, first: str) -> None:
    home = tmp_path / "home"
    if mode is not None:
        home.mkdir(mode)
    variables = {
        "HOME": str(home / "me"), "XDG_CACHE_HOME": str(home / "cache"), "CLREDUCE_CACHE_FOLDER": None,
        "CLREDUCE_LOG": None,
    }  # fmt: skip
    for _ in range(2):
        result = run_python(first + SUM, **variables, preexec_fn=as_others)
        assert result.stdout == "right\n", result.stderr
        assert result.stderr == "" or first
    assert mode is None or files(home) == []


def test_locks_that_others_left_behind_are_not_waited_for(tmp_path: Path) -> None:
    """Those of the caches of pyopencl, which a program has imported before us, and of pytools."""
    caches = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "PYOPENCL_NO_CACHE": None, "POCL_CACHE_DIR": None}
    theirs = """
        import clreduce, pyopencl
        device = clreduce.current_device()
        program = pyopencl.Program(device.context, "__kernel void one(__global int* a, int b) { a[0] = b; }").build()
        program.one.set_scalar_arg_dtypes([None, "int32"])
    """
    output_of("import pyopencl\n" + textwrap.dedent(theirs), **caches)
    databases = list(tmp_path.rglob("*.sqlite*"))
    folders = {path.parent for path in files(tmp_path) if "pyopencl" in str(path) and path not in databases}
    assert databases or folders, "pyopencl keeps nothing that could be locked"
    for folder in folders:
        (folder / "lock").touch()
    with contextlib.ExitStack() as stack:
        for path in databases:
            locked = stack.enter_context(contextlib.closing(sqlite3.connect(path)))
            locked.execute("BEGIN EXCLUSIVE")
        done = run_python("import pyopencl\n" + SUM, **caches)
    assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")


# -------------------------------------------------------------------------------------------------- the cache folder


def test_an_entry_is_read_as_it_was_written(folder: Path) -> None:
    assert read_entry(NAME) is None
    write_entry(NAME, b"data")
    assert (read_entry(NAME), read_entry(NAME, SCHEDULES)) == (b"data", None)
    if os.name == "posix":
        assert (folder.stat().st_mode & 0o777, (folder / PROGRAMS).stat().st_mode & 0o777) == (0o700, 0o700)


@given(st.data())
def test_a_damaged_entry_is_none(data: st.DataObject) -> None:
    write_entry(NAME, b"some data")
    path = cache_folder() / PROGRAMS / NAME
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert read_entry(NAME) is None
    write_entry(NAME, b"some data")
    assert read_entry(NAME) == b"some data"


EVERY_KIND = """
import os, sys
import numpy as np
from clreduce.cache import cache_folder
from clreduce.numpy import Genred
from clreduce.runtime.choices import CHOICES
from clreduce.runtime.compiler import PROGRAMS
from clreduce.runtime.devices import devices
devices()
{limit}
x = np.linspace(0, 1, 60).reshape(20, 3)
routine = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], "Sum", axis=1)
assert np.allclose(routine(x, x)[:, 0], ((x[:, None] - x[None]) ** 2).sum((1, 2)))
plan = routine.plan("float64")
CHOICES.keep(plan.case, plan.schedule, {{}})
PROGRAMS.save()
print(plan.device.facts.driver, *(name for _, _, names in os.walk(cache_folder()) for name in sorted(names)))
"""
"""Whatever is kept: what a trial has shown of a device, sources, built programs, a schedule."""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("most", [0, 100])
def test_where_no_file_may_grow_nothing_is_kept_and_all_is_computed(folder: Path, most: int) -> None:
    """EFBIG: no whole entry can be written."""
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))"
    variables = {"CLREDUCE_DEVICE": not_pocl(), "CLREDUCE_SELFTEST": "process"}
    variables["PYTHONDONTWRITEBYTECODE"] = "1"  # Python itself would leave halves of modules
    done = run_python(EVERY_KIND.format(limit=limit), **variables)
    assert (done.returncode, len(done.stdout.split())) == (0, 1), done
    assert "Traceback" not in done.stderr, "a driver may complain of the limit, in its own words"
    assert files(folder) == []


@pytest.mark.skipif(not can_fill_disks(), reason="no file systems of our own here")
def test_on_a_full_disk_nothing_is_kept_and_all_is_computed(folder: Path, tmp_path: Path) -> None:
    """ENOSPC: in our folder, in that of PoCL, and where temporary files are."""
    disks = [folder, tmp_path / "home", tmp_path / "temporary"]
    for disk in disks:
        disk.mkdir()
    variables = {
        "XDG_CACHE_HOME": str(disks[1]), "HOME": str(disks[1]), "TMPDIR": str(disks[2]), "POCL_CACHE_DIR": None,
        "CLREDUCE_SELFTEST": "process",
    }  # fmt: skip
    done = run_on_full_disks(EVERY_KIND.format(limit=""), disks, **variables)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.split() == [devices()[0].facts.driver, "filling"]


@pytest.mark.skipif(not can_fill_disks(), reason="no file systems of our own here")
def test_a_folder_for_pocl_that_is_full_is_named(tmp_path: Path) -> None:
    if not any(device.facts.driver == "pocl" for device in devices()):
        pytest.skip("no PoCL here")
    disk = tmp_path / "full"
    disk.mkdir()
    script = SUM + "import clreduce; print(clreduce.explain_devices())"
    done = run_on_full_disks(script, [disk], POCL_CACHE_DIR=str(disk), CLREDUCE_DEVICE="pocl")
    assert done.returncode == 1
    assert f"in the folder {disk}, which cannot be written, or whose disk is full" in done.stderr


def not_pocl() -> str:
    """A selector of a device whose driver writes no file for each kernel."""
    for number, device in enumerate(devices()):
        if device.facts.driver not in ("pocl", "oclgrind"):
            return str(number)
    pytest.skip("no driver here builds kernels without a disk")


@LINUX
@pytest.mark.parametrize("kind", [PROGRAMS, SCHEDULES])
def test_a_folder_that_may_not_be_entered(folder: Path, kind: str) -> None:
    folder.mkdir(mode=0)
    script = f"""
from clreduce import cache
print(cache.has_entries({kind!r}), cache.read_entry({NAME!r}, {kind!r}), cache.write_entry({NAME!r}, b"", {kind!r}),
      cache.usage(), cache.clear(), cache.prune(0))
"""
    result = run_python(script, preexec_fn=as_others)
    assert (result.stdout, result.stderr) == ("False None None [] (0, 0) (0, 0)\n", "")
    folder.chmod(0o700)


def test_a_path_that_is_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, folder: Path
) -> None:
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", str(folder / ("x" * 300)))
    with caplog.at_level(logging.DEBUG, "clreduce"):
        for _ in range(2):
            write_entry(NAME, b"data")
    assert read_entry(NAME) is None
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


def test_the_home_folder_is_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "~/kernels")
    assert cache_folder() == tmp_path / "kernels"
    monkeypatch.setenv("CLREDUCE_CACHE_FOLDER", "~no_such_user/kernels")
    assert cache_folder() is None


@POSIX
@pytest.mark.parametrize("danger", ["mode", "mode of the parent", "owner", "owner of the parent", "link"])
def test_a_folder_that_another_user_can_write_to_is_not_used(folder: Path, danger: str) -> None:
    if ("owner" in danger or danger == "link") and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    write_entry(NAME, b"data")
    assert read_entry(NAME) == b"data"
    place = folder if "parent" in danger else folder / PROGRAMS
    if "mode" in danger:
        place.chmod(0o777)
    elif "owner" in danger:
        os.chown(place, NOBODY, NOBODY)
    else:
        elsewhere = (folder / PROGRAMS).rename(folder.parent / "elsewhere")
        (folder / PROGRAMS).symlink_to(elsewhere)
        os.lchown(folder / PROGRAMS, NOBODY, NOBODY)
    assert read_entry(NAME) is None
    write_entry(NAME, b"other")
    assert (usage(), cache.clear()) == ([], (0, 0))
    assert [path.name for path in files(folder.parent)] == [NAME]


@POSIX
def test_folders_of_this_user_in_a_shared_one_are_used(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o1777)  # as /tmp
    write_entry(NAME, b"data")
    assert read_entry(NAME) == b"data"


def test_the_least_recently_used_entries_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cache._MOST_BYTES, PROGRAMS, 1 << 20)
    names = [entry_name(str(n)) for n in range(100)]
    for age, name in enumerate(names):
        write_entry(name, b"x" * 20_000)
        path = folder / PROGRAMS / name
        os.utime(path, (1e9 + age, 1e9 + age))
        assert read_entry(names[0]) is not None  # which counts as a use
    ((kind, count, size),) = usage()
    assert (kind, size) == (PROGRAMS, count * (20_000 + cache._HEADER))
    assert size <= (1 << 20) * 17 // 16
    assert {path.name for path in files(folder)} == {names[0], *names[101 - count :]}
    write_entry(NAME, b"x" * (1 << 18))
    assert read_entry(NAME) is None, "one that is too large"


def test_tiny_entries_are_bounded_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cache._MOST_BYTES, PROGRAMS, 1 << 20)
    for n in range(100):
        write_entry(entry_name(str(n)), b"")
    assert usage()[0][1] <= 64 + 4


def test_usage_clear_and_prune(folder: Path) -> None:
    for n, kind in enumerate((PROGRAMS, PROGRAMS, SOURCES, "facts")):
        name = entry_name(str(n))
        write_entry(name, b"x" * 100, kind)
        os.utime(folder / kind / name, (1e9 + n, 1e9 + n))
    size = 100 + cache._HEADER
    assert usage() == [("facts", 1, size), (PROGRAMS, 2, 2 * size), (SOURCES, 1, size)]
    assert cache.prune(4 * size) == (0, 0)
    assert cache.prune(3 * size) == (1, size)
    assert usage() == [("facts", 1, size), (PROGRAMS, 1, size), (SOURCES, 1, size)]
    assert cache.clear(SOURCES) == (1, size)
    assert cache.clear() == (2, 2 * size)
    assert list(folder.iterdir()) == []


def test_files_of_others_stay(folder: Path) -> None:
    write_entry(NAME, b"data")
    others = ["programs/mine.py", f"programs/{entry_name('other')}", "schedules/plan", "templates/a.py", "note"]
    for name in others:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not ours")
    (folder / PROGRAMS / ".new-a1b2c3d4").write_bytes(cache._MAGIC[:5])  # of a process that was killed
    clreduce.clear_caches()
    assert sorted(path.relative_to(folder).as_posix() for path in files(folder)) == sorted(others)


def test_processes_that_write_and_clear_at_once(folder: Path) -> None:
    script = """
import sys
from clreduce import cache
for n in range(200):
    cache.write_entry(cache.entry_name(str(n % 7)), b"x" * 1000)
    cache.read_entry(cache.entry_name(str(n % 5)))
    cache.clear() if n % 3 == int(sys.argv[1]) else cache.prune(2000)
"""
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(number)], stderr=subprocess.PIPE) for number in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors.decode()) == (0, "")


def test_sources_on_disk_are_text_and_the_same_in_every_process(tmp_path: Path) -> None:
    script = (
        SUM
        + """
from clreduce.codegen import render
print(routine.plan("float64").source == "\\n\\n".join(
    render.rendered(one) for one in [*(s.kernel for s in routine.plan("float64").lowered.stored),
                                     routine.plan("float64").lowered.pair]))
print("mako" in before)
"""
    )
    script = script.replace('print("right")', "import sys\nbefore = set(sys.modules)")
    variables = {"CLREDUCE_CACHE_FOLDER": str(tmp_path / "ours")}
    for expected, seed in (("True\nTrue\n", "1"), ("True\nFalse\n", "2")):
        result = run_python(script, **variables, PYTHONHASHSEED=seed)
        assert result.stdout == expected, result.stderr
    assert not list(tmp_path.rglob("*.py*"))


# ------------------------------------------------------------------------------------------------- caches in memory


def test_clear_caches_frees_plans_and_programs(device: Any) -> None:
    routine = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "Sum", axis=1)
    x, b = np.ones((5, 3)), np.ones((5, 1))

    def calls() -> None:
        routine(x, x, b)
        routine.vjp(x, x, b, cotangent=b)
        routine(x, x, b, max_memory="2KB", deterministic=True)
        routine.finish(routine.partial(x, x, b))
        (LazyTensor(x[:, None]) - LazyTensor(x[None])).sum(-1).sum(axis=1)
        KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(1)"], "b", axis=1)(x, x, b, alpha=1.0)
        with clreduce.use_devices([device, Device(device.cl_device)]):
            routine(x, x, b)

    calls()
    plans = [weakref.ref(plan) for plan in PLANS._plans.values()]
    programs = [weakref.ref(plan().program) for plan in plans if plan().program != routine.program]
    assert len(plans) >= 5
    clreduce.clear_caches()
    gc.collect()
    for references in (plans, programs):
        assert [reference() for reference in references if reference() is not None] == []
    calls()


def test_a_value_is_made_once_whichever_threads_ask() -> None:
    memo: Memo[str, int] = Memo()
    started, calls, found = threading.Barrier(8), [], []

    def make() -> int:
        calls.append(0)
        threading.Event().wait(0.05)
        return 7

    def ask() -> None:
        started.wait()
        found.append(memo.fetch("key", make))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, len(calls)) == ([7] * 8, 1)


def test_after_a_value_could_not_be_made_others_may_try() -> None:
    memo: Memo[str, int] = Memo()

    def interrupted() -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memo.fetch("key", interrupted)
    assert memo.fetch("key", lambda: 1) == 1


def test_other_values_are_made_meanwhile() -> None:
    memo: Memo[str, int] = Memo()
    assert memo.fetch("outer", lambda: memo.fetch("inner", lambda: 1) + 1) == 2


@given(st.integers(1, 5), st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_a_memo_is_bounded_and_forgets_what_was_not_used(limit: int, steps: list[tuple[bool, int]]) -> None:
    memo: Memo[int, int] = Memo(limit)
    model: list[int] = []
    for fetched, key in steps:
        assert (memo.fetch(key, partial(int, key)) if fetched else memo.keep(key, key)) == key
        if key not in model:
            model = [*model, key][-limit:]
        elif fetched:
            model = [*(other for other in model if other != key), key]
        assert list(memo) == model


def test_memos_do_not_keep_what_owns_them() -> None:
    memo: Memo[int, int] = Memo()
    gone = weakref.ref(memo)
    del memo
    assert gone() is None


def test_clear_caches_forgets_results_of_functions() -> None:
    calls = []

    @memoised(4)
    def counted(value: int) -> int:
        calls.append(value)
        return value

    counted(1), counted(1)
    clreduce.clear_caches()
    counted(1)
    assert calls == [1, 1]

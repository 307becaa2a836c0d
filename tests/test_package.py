"""The package as a whole: what importing it does, and that what is packed is what is there."""

from __future__ import annotations

import ast
import configparser
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path

from processes import PACKAGE, run_python

import clreduce
from clreduce.extras import OLDEST

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "cupy", "dask", "distributed", "jax", "matplotlib", "pandas", "pyopencl", "scipy", "sklearn", "statistics", "torch",
)  # fmt: skip


def test_import_is_silent_and_light():
    done = run_python("import clreduce")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = run_python(f"import sys, clreduce; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout == "[]\n"


def test_version():
    assert clreduce.__version__ == importlib.metadata.version("clreduce")
    assert re.match(r"\d+\.\d+", clreduce.__version__)


def test_public_names_exist():
    assert [name for name in clreduce.__all__ if not hasattr(clreduce, name)] == []


def test_every_module_imports_on_its_own():
    absent = {library for library in HEAVY if importlib.util.find_spec(library) is None}
    files = [path.relative_to(PACKAGE.parent).with_suffix("") for path in sorted(PACKAGE.rglob("*.py"))]
    modules = [
        ".".join(file.parts).removesuffix(".__init__")
        for file in files
        if absent.isdisjoint(part.partition("_")[0] for part in file.parts)
    ]
    # One interpreter that forgets clreduce between two imports: a process for each would take minutes.
    code = f"""if True:
        import importlib, sys, traceback
        failed = []
        for module in {modules}:
            for name in [name for name in sys.modules if name.partition(".")[0] == "clreduce"]:
                del sys.modules[name]
            try:
                importlib.import_module(module)
            except Exception:
                failed.append(module)
                traceback.print_exc()
        sys.exit(bool(failed))
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
    assert len(modules) > 10


def test_setup_lists_every_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = setup["options"]["packages"].split()
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "clreduce").rglob("*.py")}
    assert listed == sorted({".".join(folder.parts) for folder in folders} | {"clreduce.templates"})
    assert {path.suffix for path in (ROOT / "templates").iterdir()} == {".mako"}, "only *.mako is packed"


def test_a_front_end_names_the_extra_that_brings_its_package_in_time():
    """Without the package, and with a version of it that is too old."""
    code = f"""if True:
        import importlib, sys, types
        old = types.ModuleType("old")
        old.__version__, old.__path__, old.array = "0.4.30", [], old
        for name in {list(OLDEST)}:
            for module in (None, old):
                sys.modules[name] = sys.modules[name + ".array"] = module
                try:
                    importlib.import_module("clreduce." + name)
                except ImportError as error:
                    print(error)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(OLDEST)
    for extra, missing, old in zip(OLDEST, lines[::2], lines[1::2], strict=True):
        assert missing.startswith(f"clreduce.{extra} needs ")
        assert f"its version is 0.4.30, and {OLDEST[extra]} is the oldest that works" in old
        assert all(line.endswith(f"pip install --upgrade 'clreduce[{extra}]'") for line in (missing, old))


def test_extras_ask_for_the_versions_that_front_ends_check():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for extra, oldest in OLDEST.items():
        assert setup["options.extras_require"][extra].splitlines()[1].endswith(f">= {oldest}")


def test_examples_import_what_their_extra_names():
    """The checks run them where more is installed; those for NumPy must not need PyTorch, which takes gigabytes."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    required = setup["options"]["install_requires"] + extras["examples"]
    assert "clreduce[examples,torch]" in extras["examples-torch"]
    assert "clreduce[examples,dask]" in extras["examples-dask"]
    assert "clreduce[examples,jax]" in extras["examples-jax"]
    assert "clreduce[examples,sklearn]" in extras["examples-sklearn"]
    # pykeops: the stand-in for it
    always = {"clreduce", "pykeops", "support", "helpers", *sys.stdlib_module_names}
    for folder, pattern, more in (
        ("examples", "*.py", ""),
        ("examples/support", "*.py", ""),
        ("examples/torch", "**/*.py", extras["torch"]),
        ("examples/dask", "*.py", extras["dask"]),
        ("examples/cl", "*.py", ""),
        ("examples/jax", "*.py", extras["jax"] + extras["examples-jax"]),
        ("examples/sklearn", "*.py", extras["sklearn"].replace("scikit-learn", "sklearn")),
    ):
        allowed = always | {re.match(r"[\w-]*", line.strip())[0] for line in (required + more).splitlines()}
        imported = set()
        for path in (ROOT / folder).glob(pattern):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    imported.add(node.module.partition(".")[0])
        assert imported <= allowed, folder
        assert imported & {"dask", "numpy", "torch"}, folder


def test_templates_are_found():
    from clreduce.codegen.render import template_directory

    found = sorted(path.name for path in template_directory().glob("*.mako"))
    assert found == sorted(path.name for path in (ROOT / "templates").glob("*.mako"))
    assert found


def test_license_and_changelog():
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

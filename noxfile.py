#!/usr/bin/env python3
# /// script
# dependencies = ["nox"]
# ///
"""The checks of the project as sessions: ``nox --list`` shows them, ``nox -s lint docs`` runs two.

Without a name, `lint` and `tests` run. Each session makes its own environment. ``nox --no-venv -s lint`` runs in the
one that nox itself is in, and installs nothing; that is how ``.ci/run`` calls them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).resolve().parent


def install(session: nox.Session, *packages: str) -> None:
    """Install into the session's environment, unless the session runs in one that is there."""
    if session.virtualenv.venv_backend != "none":
        session.install(*packages)


def python(session: nox.Session, *command: str, **options: object) -> None:
    session.run("python", *command, **options)  # type: ignore[arg-type]


@nox.session
def tests(session: nox.Session) -> None:
    """The test-suite; arguments go to pytest."""
    install(session, "-e", ".[cpu,test]")
    python(session, "-m", "pytest", *(session.posargs or ("-q", "-n", "auto", "--maxprocesses", "4")))


@nox.session
def lint(session: nox.Session) -> None:
    """Format, style, types, which module may import which, links and metadata."""
    install(session, "-e", ".[test]")
    failed = []
    for command in (
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("mypy",),
        ("lint-imports",),
    ):
        try:
            session.run(*command)
        except nox.command.CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"failed: {', '.join(failed)}")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The site; a warning is an error. Examples run at a tenth of their size.

    ``-- full`` runs them as they are, ``-- quick`` leaves them out.
    """
    install(session, "-e", ".[cpu,docs]")
    scale = {"full": "1", "quick": "0"}.get("".join(session.posargs), "0.1")
    for generated in ("docs/_build", "docs/auto_examples", "docs/reference/generated", "docs/reference/packages"):
        shutil.rmtree(ROOT / generated, ignore_errors=True)
    environment = {
        "CLREDUCE_DOCS_GALLERY": str(int(scale != "0")),
        "CLREDUCE_EXAMPLE_SCALE": scale if scale != "0" else "1",
        "CLREDUCE_DOCS_JOBS": os.environ.get("CLREDUCE_DOCS_JOBS", "1"),
    }
    build = ("-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet", "docs", "docs/_build/html")
    python(session, *build, env=environment)
    python(session, "docs/check_search.py")
    python(session, "docs/check_links.py")
    if scale != "0":
        python(session, "docs/run_notebook.py", "examples/first_steps.ipynb", env={"CLREDUCE_PROGRESS": "0"})


@nox.session(default=False)
def linkcheck(session: nox.Session) -> None:
    """Links that lead out of the site; needs the network, and so is not run by ``.ci/run``."""
    install(session, "-e", ".[docs]")
    python(session, "-m", "sphinx", "-b", "linkcheck", "docs", "docs/_build/links", env={"CLREDUCE_DOCS_GALLERY": "0"})


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """The source distribution and the wheel, into ``dist``."""
    install(session, "build")
    python(session, "-m", "build", *session.posargs)


if __name__ == "__main__":
    nox.main()

"""Packages that front ends need and clreduce itself does not: an extra of pip brings each."""

from __future__ import annotations

import re
from types import ModuleType

OLDEST = {"dask": "2024.8", "jax": "0.6", "sklearn": "1.6", "torch": "2.4"}
"""The oldest version of each package that its front end runs with, by the name of the front end and of the extra."""
_TITLES = {"dask": "dask with its arrays", "sklearn": "scikit-learn", "torch": "PyTorch"}


def check_version(extra: str, module: ModuleType) -> None:
    """Raise `ImportError` if a package is older than the front end runs with.

    >>> import types
    >>> check_version("jax", types.SimpleNamespace(__version__="0.6.2"))
    >>> check_version("jax", types.SimpleNamespace(__version__="0.4.30"))
    Traceback (most recent call last):
        ...
    ImportError: its version is 0.4.30, and 0.6 is the oldest that works
    """
    oldest = OLDEST[extra]
    if _numbers(module.__version__) < _numbers(oldest):
        raise ImportError(f"its version is {module.__version__}, and {oldest} is the oldest that works")


def needed(extra: str, error: ImportError) -> ImportError:
    """The error for a package that is missing or too old, which names the extra that brings it."""
    return ImportError(
        f"clreduce.{extra} needs {_TITLES.get(extra, extra)} ({error}): pip install --upgrade 'clreduce[{extra}]'",
        name=error.name or extra,
    )


def _numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version, such as 2.13 of 2.13.0+cpu."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))

"""Routines on dask arrays: they refuse options that need numbers before these are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from clreduce.adapters.numpy import NUMPY
from clreduce.call.arguments import Arguments
from clreduce.call.ranges import check_ranges
from clreduce.call.routine import Routine
from clreduce.errors import OptionError


class GraphRoutine(Routine):
    """A routine whose calls make graphs. Options that need the numbers themselves are refused."""

    def _targets(self, *_: object) -> NoReturn:
        raise OptionError(
            "out= is not available, because results of dask arrays are computed later: write "
            "dask.array.store(result, out)"
        )

    def _arguments(self, args: Sequence[Any], ranges: Any) -> Arguments:
        """The checked arguments of a call. Ranges determine the tasks, so they are NumPy arrays."""
        arguments = super()._arguments(args, None)
        if ranges is None:
            return arguments
        return replace(arguments, ranges=check_ranges(ranges, arguments.sizes, NUMPY))

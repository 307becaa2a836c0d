"""The engines that take formulas: clreduce, on the device in use, and KeOps. They compute every problem."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np
from seed_examples import clreduce_call, peer_call

from suite.engines.base import Array, Call, Engine, Lacking
from suite.problems import Example, GaussianGradient, Problem, Routine


class Clreduce(Engine):
    name = "clreduce"
    package = "clreduce"

    options: ClassVar[dict[str, Any]] = {}
    """Of Genred, the same for all problems."""

    def __init__(self, threads: int) -> None:
        import clreduce
        from clreduce.numpy import Genred

        self.genred = Genred
        self.device = clreduce.current_device()

    def threads(self) -> int:
        return self.device.facts.compute_units

    def prepare(self, problem: Problem, arrays: list[Array]) -> Call:
        if isinstance(problem, Example):
            example = clreduce_call(problem.case, arrays, None)
            return lambda: (example(),)
        if isinstance(problem, GaussianGradient):
            *inputs, cotangent = arrays
            routine = self.routine(problem.forward)
            return lambda: routine.vjp(*inputs, cotangent=cotangent, wrt=list(problem.wrt))
        (single,) = problem.routines
        compute = self.routine(single)
        return lambda: (compute(*arrays),)

    def routine(self, routine: Routine) -> Any:
        """The Genred; `Lacking` if this version knows no such reduction or option."""
        from clreduce.errors import FormulaError

        try:
            return self.genred(
                routine.formula, routine.aliases, routine.reduction, axis=routine.axis, opt_arg=routine.count,
                **self.options,
            )  # fmt: skip
        except (FormulaError, TypeError) as error:
            raise Lacking(str(error).split("\n")[0]) from error


class ClreduceDot(Clreduce):
    """With squared distances rewritten as scalar products, where vectors are long enough for that to pay."""

    name = "clreduce-dot"
    options: ClassVar[dict[str, Any]] = {"fast": "dot"}

    def prepare(self, problem: Problem, arrays: list[Array]) -> Call:
        if isinstance(problem, (Example, GaussianGradient)) or problem.dim < 100:
            raise Lacking("meant for sums over long vectors")
        return super().prepare(problem, arrays)


class PyKeops(Engine):
    name = "pykeops"
    package = "pykeops"

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("KEOPS_VERBOSE", "0")
        import pykeops

        pykeops.set_verbose(False)
        from pykeops.numpy import Genred

        self.genred = Genred

    def prepare(self, problem: Problem, arrays: list[Array]) -> Call:
        if isinstance(problem, Example):
            example = peer_call(self.genred, problem.case, arrays)
            return lambda: (example(),)
        compute = [
            self.genred(r.formula, list(r.aliases), r.reduction, axis=r.axis, opt_arg=r.count) for r in problem.routines
        ]
        return lambda: tuple(np.asarray(one(*arrays, backend="CPU")) for one in compute)

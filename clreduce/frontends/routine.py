"""TEMPORARY"""

from functools import lru_cache

from clreduce.domain import Domain
from clreduce.frontends.aliases import Variable
from clreduce.frontends.genred import Genred, _checked_reduction
from clreduce.ir.expr import substitute
from clreduce.program import map_reduce, swapped

REDUCTION_ALIASES = {}


class Routine(Genred):
    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, exprs, leaves, name, axis, count, options):
        self = cls.__new__(cls)
        reduction = _checked_reduction(name, count)
        self.formula, self.reduction_op, self.axis, self.sum_scheme, self.fast = "?", name, axis, "auto", None
        self.aliases = ()
        self.variables = tuple(Variable(None, n, leaf.dim, leaf.domain) for n, leaf in enumerate(leaves))
        named = {leaf: v.expr for leaf, v in zip(leaves, self.variables)}
        exprs = substitute(exprs, named)
        if axis == 0:
            exprs = [swapped(e)[0] for e in exprs]
        self.program, given = map_reduce(exprs, name, count)
        self._feeds = tuple(leaf.params[0] for leaf in given)
        self._rows, self._columns = (Domain.I, Domain.J) if axis == 1 else (Domain.J, Domain.I)
        self._schedules = {}
        return self

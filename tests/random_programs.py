"""Random programs: any operation of the registry, any reduction, any legal schedule.

`random_sample` draws a formula from the leaves up, on data that it draws first. So it sees the values of each part, and
maps those that leave the interval of the next operation back into it: what is tested are kernels, not overflows.
Operations are read from the registries; a new one is drawn from the moment it is there.
"""

from __future__ import annotations

import base64
import pickle
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

import numpy as np
from oracle import Array, shape_of
from rounding import Verdict, judge

import clreduce.ops  # noqa: F401  (fills the registry)
from clreduce.autodiff import vjp
from clreduce.codegen.cost import work
from clreduce.codegen.schedule import DIRECT, LOCAL, Schedule, block_operations
from clreduce.domain import Domain
from clreduce.errors import ClreduceError, NotDifferentiableError
from clreduce.ir.expr import Expr, topological, variables
from clreduce.ir.op import FUNCTIONS, Function, constant, variable
from clreduce.ir.show import show_shared
from clreduce.ops.arithmetic import inv, square
from clreduce.ops.matrices import matrix_vector
from clreduce.ops.shape import concat, extract, repeated
from clreduce.program import MapReduce, map_reduce
from clreduce.reductions import FAMILIES, REDUCTIONS, reduction_named
from clreduce.runtime.device import Device
from clreduce.runtime.plan import Plan, Signature

GRADIENT = "vjp"
"""Among the names that a sample uses: the gradient of a part, as part of the formula."""
ROWS = (1, 2, 3, 7, 16, 17, 33, 66)
COLUMNS = (1, 2, 3, 5, 8, 17, 31, 33, 40, 64, 129, 0)
DEPTHS = (1, 1, 2, 2, 2, 3, 3, 4, 5, 6)
LENGTHS = (1, 1, 2, 3, 5)
LONGEST = 24
MOST_WORK = 2500
"""Operations in a formula, as `work` counts them."""
MOST_TEXT = 150
"""Operations in a block of the pair loop, for each vector register of a lane vector: what compiles in a second."""
RANGES = {"wide": (-2.0, 2.0), "positive": (0.5, 2.0), "integers": (-2.0, 2.0)}
NUMBERS = (0, 1, -1, 2, 0.5, -3, 1.25, 0.1)


@dataclass(frozen=True)
class Sample:
    """One random program, its data and how to run it."""

    values: tuple[Expr, ...]
    reduction: str
    count: int | None
    rows: int
    columns: int
    dtype: str
    schedule: Schedule
    seed: int
    used: tuple[str, ...]
    """The names of the operations that were drawn."""

    @property
    def program(self) -> MapReduce:
        return map_reduce(self.values, self.reduction, self.count)[0]

    @property
    def arrays(self) -> list[Array]:
        """The data of each slot of the program."""
        _, given = map_reduce(self.values, self.reduction, self.count)
        return [data(leaf, self.rows, self.columns, self.seed).astype(self.dtype) for leaf in given]

    def verdict(self, device: Device) -> Verdict:
        """What a run on ``device`` shows."""
        program, arrays = self.program, self.arrays
        found = Plan(program, Signature(self.dtype), device, self.schedule)(arrays, self.rows, self.columns)
        return judge(found, program, arrays, self.rows, self.columns, self.dtype, self.seed)

    def blob(self) -> str:
        """The sample as one word; `sample_of` reads it."""
        return base64.b85encode(zlib.compress(pickle.dumps(self), 9)).decode()

    def __str__(self) -> str:
        what = self.reduction if self.count is None else f"{self.reduction} with K={self.count}"
        how = ", ".join(f"{name}={value!r}" for name, value in asdict(self.schedule).items())
        return "\n".join(
            [
                show_shared(self.program.values),
                f"{what}, {self.rows} x {self.columns}, {self.dtype}, seed {self.seed}",
                f"Schedule({how})",
                f"python tests/fuzz.py --reproduce '{self.blob()}'",
            ]
        )


def sample_of(blob: str) -> Sample:
    """What `Sample.blob` wrote."""
    sample = pickle.loads(zlib.decompress(base64.b85decode(blob)))
    assert isinstance(sample, Sample)
    return sample


def data(leaf: Expr, rows: int, columns: int, seed: int) -> Array:
    """The values of a variable, which are float32 numbers in any dtype."""
    kind, number = leaf.params[0]
    rng = np.random.default_rng([seed, number])
    shape, (low, high) = shape_of(leaf, rows, columns), RANGES[kind]
    drawn = rng.integers(int(low), int(high) + 1, shape) if kind == "integers" else rng.uniform(low, high, shape)
    return drawn.astype(np.float32)


class Maker:
    """Draws one formula; ``used`` collects the names of its operations."""

    def __init__(self, random: Random, rows: int, columns: int, seed: int) -> None:
        self.random, self.rows, self.columns, self.seed = random, rows, columns, seed
        self.pool: list[Expr] = []
        self.used: dict[Expr, str] = {}
        self.values: dict[Expr, Array] = {}
        self.leaves = 0

    # ------------------------------------------------------------------------------------------- values of parts

    def value(self, f: Expr) -> Array:
        """What ``f`` is on the data, at all pairs."""
        for node in topological([f]):
            if node in self.values:
                continue
            if node.op.name == "variable":
                array = data(node, self.rows, self.columns, self.seed).astype(np.float64)
                axes = {Domain.I: (1,), Domain.J: (0,), Domain.P: (0, 1)}[node.domain]
                self.values[node] = np.expand_dims(array, axes)
            else:
                with np.errstate(all="ignore"):
                    self.values[node] = node.op.numpy(*(self.values[arg] for arg in node.args), *node.params)
        return self.values[f]

    def within(self, f: Expr, low: float, high: float) -> Expr:
        """``f`` if its values lie there, else a smooth function of it that does."""
        found = self.value(f)
        if np.all((found >= low) & (found <= high)):
            return f
        return low + (high - low) * inv(1 + square(f))

    # ---------------------------------------------------------------------------------------------------- formulas

    def leaf(self, dim: int, kind: str | None = None) -> Expr:
        """A new variable, one that is there already, or a number."""
        if kind is None:
            kind = self.random.choice(["wide", "wide", "positive", "integers"])
        if self.leaves and self.random.randint(0, 1):
            same = [f for f in self.pool if f.op.name == "variable" and f.dim == dim and f.params[0][0] == kind]
            if same:
                return self.random.choice(same)
        if dim == 1 and self.random.randint(0, 7) == 0:
            return constant(self.random.choice(NUMBERS))
        domain = self.random.choice([Domain.I, Domain.J, Domain.I, Domain.J, Domain.P])
        new = variable((kind, self.leaves), dim, domain)
        self.leaves += 1
        self.pool.append(new)
        return new

    def fitted(self, f: Expr, dim: int) -> Expr:
        """``f`` as a vector of length ``dim``: shortened, repeated, or put beside itself."""
        if f.dim == 1:
            return repeated(f, dim)
        if f.dim < dim:
            f = concat(*[f] * -(-dim // f.dim))
        return f if f.dim == dim else extract(f, self.random.randint(0, f.dim - dim), dim)

    def formula(self, depth: int, dim: int | None = None, kind: str | None = None) -> Expr:
        """A formula with operations up to ``depth`` deep, of length ``dim`` if that is given."""
        if depth == 0:
            return self.leaf(self.random.choice(LENGTHS) if dim is None else dim, kind)
        found = self.part(depth)
        return found if dim is None else self.fitted(found, dim)

    def part(self, depth: int) -> Expr:
        """An operation applied to parts, a gradient, or a part that is there already."""
        choice = self.random.randint(0, 9)
        if choice == 0 and self.pool:
            return self.random.choice(self.pool)
        if choice == 1:
            return self.gradient(self.part(depth - 1)) if depth > 1 else self.leaf(self.random.choice(LENGTHS))
        if choice == 2 and depth > 1:
            return self.layers(self.part(depth - 1))
        function = FUNCTIONS[self.random.choice(list(FUNCTIONS))]
        dims, params = self.lengths(function)
        deep = self.random.randint(0, max(len(dims) - 1, 0))
        low, high = function.interval if function.interval != Function.interval else (-4.0, 4.0)
        args = []
        for at, dim in enumerate(dims):
            below = depth - 1 if at == deep else self.random.randint(0, min(1, depth - 1))
            args.append(self.within(self.formula(below, dim, "positive" if low > 0 else None), low, high))
        f = function.build(*args, *params)
        return self.kept(f, function.name, args)

    def layers(self, f: Expr) -> Expr:
        """A few products of matrices with ``f``, each made of the one before: computed vectors that loops read."""
        for _ in range(self.random.randint(2, 3)):
            before, rows = self.within(f, -4.0, 4.0), self.random.choice(LENGTHS)
            f = self.kept(matrix_vector(self.leaf(rows * f.dim), before), "MatVecMult", [before])
        return f

    def kept(self, f: Expr, name: str, args: Sequence[Expr]) -> Expr:
        """``f``, or one of its arguments if it is too large or has no finite values."""
        small = work(f) <= MOST_WORK and f.dim <= LONGEST
        if args and not (small and np.isfinite(self.value(f)).all()):
            return args[0] if args[0].dim <= LONGEST else extract(args[0], 0, 1)
        self.pool.append(f)
        self.used[f] = name
        return f

    def gradient(self, f: Expr) -> Expr:
        """The gradient of ``f`` in one of its variables, for a cotangent of ones; ``f`` itself if it has none."""
        found = variables([f])
        if not found:
            return f
        leaf = self.random.choice(found)
        try:
            (slope,) = vjp({f: repeated(constant(1), f.dim)}, [leaf])
        except NotDifferentiableError:
            return f
        return f if slope is None else self.kept(slope, GRADIENT, [f])

    def lengths(self, function: Function) -> tuple[tuple[int, ...], tuple[Any, ...]]:
        """Lengths of its arguments, and its parameters: those of its example, or others that it accepts."""
        count = len(function.arguments)
        example = function.example[:count] or (3,) * count, function.example[count:]
        if function.example:
            if self.random.randint(0, 1):
                return example
            dims = tuple(max(1, dim + self.random.randint(-2, 3)) for dim in example[0])
            params = tuple(
                value + self.random.randint(-4, 3) if isinstance(value, int) else value for value in example[1]
            )
        else:
            length = self.random.choice(LENGTHS)
            dims = tuple(length if self.random.randint(0, 3) else 1 for _ in range(count))
            params = ()
        try:
            function.build(*(variable(("length", at), dim, Domain.I) for at, dim in enumerate(dims)), *params)
        except ClreduceError:
            return example
        return dims, params


def random_schedule(random: Random) -> Schedule:
    """Any legal schedule; small ones more often, for they build faster."""
    sizes = {
        "lanes": random.choice([1, 4, 2, 1, 8, 4, 16]),
        "rows": random.choice([1, 2, 1, 3]),
        "cols": random.choice([1, 2, 4, 1, 5]),
        "tile": random.choice([7, 1, 32, 256]),
        "flush": random.choice([True, False]),
        "unroll": random.choice([1, 4, 16]),
        "split": random.choice([0, 0, 2, 5]),
        "queue": random.choice([0, 0, 8]),
    }
    if random.randint(0, 3) == 0:
        return Schedule(shape=LOCAL, group=random.choice([1, 4, 8]), **sizes)
    tile, prefilter = random.choice([0, sizes["tile"]]), random.choice([0, 1, 2])
    return Schedule(shape=DIRECT, **{**sizes, "tile": tile, "prefilter": prefilter})


def affordable(schedule: Schedule, program: MapReduce) -> Schedule:
    """``schedule``, smaller if the kernel would take long to build."""
    for change in ({"rows": 1}, {"cols": 1}, {"unroll": 1}, {"lanes": 4}, {"lanes": 1}):
        if block_operations(program, schedule) * max(1, schedule.lanes / 4) > MOST_TEXT:
            schedule = replace(schedule, **change) if change.get("lanes", 0) < schedule.lanes else schedule
    return schedule


def random_sample(random: Random, has_double: bool = True) -> Sample:
    """A program with its data and schedule; two in three are float64, where rounding hides little."""
    rows, columns, seed = random.choice(ROWS), random.choice(COLUMNS), random.randint(0, 2**16)
    maker = Maker(random, rows, columns, seed)
    name = random.choice([*REDUCTIONS, *FAMILIES])
    count = random.randint(1, 4) if name in FAMILIES else None
    record = reduction_named(name, count)
    values = [maker.formula(random.choice(DEPTHS)), *(maker.formula(1) for _ in range(record.formulas - 1))]
    values = [f if f.dim <= LONGEST else maker.fitted(f, 1) for f in values]
    try:
        program, _ = map_reduce(values, name, count)
        assert program.outputs
    except ClreduceError:  # weights go with terms of length 1
        values[0] = maker.fitted(values[0], 1)
        program, _ = map_reduce(values, name, count)
    inside = set(topological(values))
    used = tuple(spelled for f, spelled in maker.used.items() if f in inside)
    dtype = random.choice(["float64", "float64", "float32"]) if has_double else "float32"
    schedule = affordable(random_schedule(random), program)
    return Sample(tuple(values), name, count, rows, columns, dtype, schedule, seed, used)


def check_rewrite(
    rewrite: Callable[[Sequence[Expr]], tuple[Expr, ...]], random: Random
) -> tuple[tuple[Expr, ...], tuple[Expr, ...]]:
    """The formulas of a random program before and after a rewrite, which moves results no further than rounding may."""
    sample = replace(random_sample(random), dtype="float64")
    program, arrays = sample.program, sample.arrays
    after = replace(program, values=rewrite(program.values))
    assert [f.dim for f in after.values] == [f.dim for f in program.values]
    found = after.reference(arrays, sample.rows, sample.columns)
    verdict = judge(found, program, arrays, sample.rows, sample.columns, "float64", sample.seed)
    assert not verdict.wrong, f"{sample}\n{after.values}"
    return program.values, after.values

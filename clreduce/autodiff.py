"""Derivatives of formulas, from one fact that each operation states.

`vjp` is one reverse sweep over the shared graph for all variables together, and `jvp` is one forward sweep. None stands
for zero. The results are formulas, so derivatives nest to any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from clreduce.errors import NotDifferentiableError, ShapeError
from clreduce.ir.expr import MASK, REAL, Expr, substitute, topological
from clreduce.ir.op import constant, constant_value, iota, variable
from clreduce.ir.rewrite import simplify
from clreduce.ops.compare import equal, where
from clreduce.ops.scan import Scan, carries_before, scan, scanned
from clreduce.ops.shape import concat, expand, extract, pad, permute, repeated, summed, zeros


def vjp(outputs: Mapping[Expr, Expr], wrt: Sequence[Expr]) -> list[Expr | None]:
    """For each variable of ``wrt``, the sum over outputs f of (d f / d variable)^T cotangent; None if it is zero.

    ``outputs`` maps each formula f to its cotangent, a vector of the length of f. A cotangent may depend on indices on
    which f does not: this function does not reduce over any index. Raises `ShapeError` if a length is wrong, and
    `NotDifferentiableError` if an operation has no derivative.
    """
    for output, cotangent in outputs.items():
        if output.dim != cotangent.dim:
            raise ShapeError(f"the cotangent has length {cotangent.dim}, the formula has length {output.dim}")
    order = topological(outputs)
    active = _depending_on(order, wrt)
    cotangents: dict[Expr, Expr] = dict(outputs)
    for node in reversed(order):
        if node not in cotangents or node not in active or node in wrt:
            continue
        for arg, part in zip(node.args, _pull_back(node, cotangents[node], active), strict=True):
            if part is not None and arg in active:
                cotangents[arg] = cotangents[arg] + part if arg in cotangents else part
    return [cotangents.get(leaf) for leaf in wrt]


def jvp(outputs: Sequence[Expr], tangents: Mapping[Expr, Expr], directions: int = 1) -> list[Expr | None]:
    """For each output f, the sum over variables of (d f / d variable) tangent; None if it is zero.

    With several ``directions``, each tangent is a matrix (components, directions), and so is each result. Raises the
    errors of `vjp`.
    """
    for leaf, given in tangents.items():
        if leaf.dim * directions != given.dim:
            raise ShapeError(f"the tangent has length {given.dim}, the variable has length {leaf.dim}")
    tangent: dict[Expr, Expr | None] = dict(tangents)
    for node in topological(outputs):
        if node not in tangent:
            tangent[node] = _push_forward(node, [tangent[arg] for arg in node.args], directions)
    return [tangent[output] for output in outputs]


def grad(f: Expr, leaf: Expr, cotangent: Expr) -> Expr:
    """(d f / d leaf)^T cotangent, a vector of the length of ``leaf``; zeros if f does not depend on it."""
    (gradient,) = vjp({f: cotangent}, [leaf])
    return zeros(leaf.dim) if gradient is None else gradient


def jacobian(f: Expr, leaf: Expr) -> Expr:
    """The matrix of all d f_k / d leaf_l, row by row: one forward sweep for all directions together."""
    n = leaf.dim
    (matrix,) = jvp([f], {leaf: _identity(n)}, n)
    return zeros(f.dim * n) if matrix is None else matrix


def trace(f: Expr, leaf: Expr, weights: Expr | None = None) -> Expr:
    """The sum over k of weights_k d f_k / d leaf_k, for f and leaf of one length; weights have it, too, or length 1."""
    slopes = _diagonal(jacobian(f, leaf), leaf.dim)
    return summed(slopes if weights is None else weights * slopes)


def divergence(f: Expr, leaf: Expr) -> Expr:
    """The sum over k of d f_k / d leaf_k. f and leaf must have equal length."""
    if f.dim != leaf.dim:
        raise ShapeError(f"a divergence needs equal lengths; the formula has {f.dim}, the variable {leaf.dim}")
    return trace(f, leaf)


def laplacian(f: Expr, leaf: Expr) -> Expr:
    """The divergence of the gradient of a formula of length 1."""
    return divergence(grad(f, leaf, constant(1)), leaf)


def _identity(n: int) -> Expr:
    """The n x n identity matrix, as a mask (see `_scaled`)."""
    if n == 1:
        return constant(1)
    return where(equal(expand(iota(n), n, n, 1), expand(iota(n), 1, n, n)), constant(1), constant(0))


def _diagonal(matrix: Expr, n: int) -> Expr:
    """The diagonal of an n x n matrix. Without its last entry, the matrix is n - 1 rows of n + 1 entries, and each row
    begins with a diagonal entry."""
    if n == 1:
        return matrix
    rows = permute(extract(matrix, 0, n * n - 1), (n - 1, n + 1), (1, 0))
    return concat(extract(rows, 0, n - 1), extract(matrix, n * n - 1, 1))


def _depending_on(order: Sequence[Expr], wrt: Sequence[Expr]) -> set[Expr]:
    active = set(wrt)
    for node in order:
        if any(arg in active for arg in node.args):
            active.add(node)
    return active


def _scaled(partial: Expr, value: Expr) -> Expr:
    """partial * value without trivial products.

    A mask selects instead of scaling. If ``value`` is selected by a mask, the mask stays outermost. So 0 * inf never
    occurs.
    """
    if partial.kind == MASK:
        return where(partial, value, constant(0))
    if _routes(value):
        return where(value.args[0], _scaled(partial, value.args[1]), constant(0))
    known = constant_value(partial)
    if known == 1:
        return value
    return -value if known == -1 else partial * value


def _routes(value: Expr) -> bool:
    return value.op is where and value.args[2] is constant(0)


def _fitted(value: Expr, dim: int) -> Expr:
    """``value`` with length ``dim``: a cotangent is summed over a broadcast, and a scalar is repeated."""
    if value.dim == dim:
        return value
    return summed(value) if dim == 1 else repeated(value, dim)


def _partials(node: Expr) -> Sequence[Expr | None]:
    if node.op.partials is None:
        raise NotDifferentiableError(f"the operation {node.op.name} has no derivative")
    return node.op.partials(node, *node.args, *node.params)


def _pull_back(node: Expr, cotangent: Expr, active: set[Expr]) -> Sequence[Expr | None]:
    if node.op is scan:
        return _pull_back_scan(node, cotangent, active)
    if node.op.transpose is not None:
        return node.op.transpose(cotangent, *node.args, *node.params)
    if node.op.differential is not None:
        stand_ins = _stand_ins(node)
        return vjp({node.op.differential(node, *stand_ins, *node.args, *node.params): cotangent}, stand_ins)
    return [
        None if partial is None or arg not in active else _fitted(_scaled(partial, cotangent), arg.dim)
        for arg, partial in zip(node.args, _partials(node), strict=True)
    ]


def _push_forward(node: Expr, tangents: Sequence[Expr | None], directions: int) -> Expr | None:
    if node.kind != REAL or all(tangent is None for tangent in tangents):
        return None
    if node.op is scan:
        return _push_scan_forward(node, tangents, directions)
    if node.op.linear:
        assert node.op.interleaved is not None
        # An index among the arguments selects what is read. It has no tangent and stays unchanged.
        given = [arg if arg.kind != REAL else zeros(arg.dim * directions) if dot is None else dot
                 for arg, dot in zip(node.args, tangents, strict=True)]  # fmt: skip
        params = node.params if directions == 1 else node.op.interleaved(directions, *node.params)
        (*others, dot) = given
        if directions > 1 and not others and node.op.terms is None and _routes(dot):
            # The mask stays outermost, where it selects among products.
            mask, value = (Expr(node.op, (_fitted(part, dot.dim),), params) for part in dot.args[:2])
            return where(mask, value, constant(0))
        return Expr(node.op, tuple(given), params)
    if node.op.differential is not None:
        stand_ins = _stand_ins(node)
        differential = node.op.differential(node, *stand_ins, *node.args, *node.params)
        known = {leaf: dot for leaf, dot in zip(stand_ins, tangents, strict=True) if dot is not None}
        return jvp([differential], known, directions)[0]
    result: Expr | None = None
    for partial, arg, tangent in zip(_partials(node), node.args, tangents, strict=True):
        if partial is not None and tangent is not None:
            if directions > 1:
                partial = partial if partial.dim == 1 else expand(partial, partial.dim, directions, 1)
                tangent = tangent if arg.dim == node.dim else expand(tangent, 1, node.dim, directions)
            part = _scaled(partial, tangent)
            result = part if result is None else result + part
    return None if result is None else _fitted(result, node.dim * directions)


def _pull_back_scan(node: Expr, cotangent: Expr, active: set[Expr]) -> Sequence[Expr | None]:
    """The gradients of a scan, by one scan in the opposite order.

    Its carry consists of the cotangents of the carry, of this step's part of each ``active`` series, and of the shared
    values, as far as they have been added up.
    """
    parts = Scan.of(node)
    recurrence, dim, steps = parts.recurrence, parts.start.dim, parts.recurrence.steps
    carry, series, shared = parts.leaves
    if recurrence.last:
        cotangent = pad(cotangent, 0 if recurrence.backwards else (steps - 1) * dim, steps * dim)
    moving = [n for n, arg in enumerate(parts.series) if arg in active]
    adding = [n for n, arg in enumerate(parts.shared) if arg in active]
    wrt = [carry, *(series[n] for n in moving), *(shared[n] for n in adding)]
    lengths = [leaf.dim for leaf in wrt]
    at = [0, *accumulate(lengths)]
    first_added = 1 + len(moving)

    def body(after: Expr, given: Sequence[Expr], fixed: Sequence[Expr]) -> Expr:
        incoming, before, *now = given
        leaves = dict(zip([carry, *series, *shared], [before, *now, *fixed], strict=True))
        total = incoming + extract(after, 0, dim)
        (value,) = substitute([recurrence.body], leaves)
        gradients = vjp({value: total}, [leaves[leaf] for leaf in wrt])
        new = [zeros(length) if part is None else part for part, length in zip(gradients, lengths, strict=True)]
        for n in range(first_added, len(wrt)):
            so_far = extract(after, at[n], lengths[n])
            new[n] = so_far if gradients[n] is None else so_far + new[n]
        (simple,) = simplify([concat(*new) if len(new) > 1 else new[0]])
        return simple

    every = scanned(
        body, zeros(at[-1]), steps, [cotangent, carries_before(node), *parts.series], parts.shared,
        backwards=not recurrence.backwards,
    )  # fmt: skip
    row = 0 if not recurrence.backwards else (steps - 1) * at[-1]  # the row of the step that this scan takes last

    def column(n: int) -> Expr:
        if len(wrt) == 1:
            return every
        turned = permute(every, (steps, at[-1]), (1, 0))
        return permute(extract(turned, at[n] * steps, lengths[n] * steps), (lengths[n], steps), (1, 0))

    of_series: list[Expr | None] = [None] * len(series)
    for place_of, n in enumerate(moving, 1):
        of_series[n] = column(place_of)
    of_shared: list[Expr | None] = [None] * len(shared)
    for place_of, n in enumerate(adding, first_added):
        of_shared[n] = extract(every, row + at[place_of], lengths[place_of])
    return [extract(every, row, dim), *of_series, *of_shared]


def _push_scan_forward(node: Expr, tangents: Sequence[Expr | None], directions: int) -> Expr:
    """The tangent of a scan, by a scan in the same order over the tangents of carries."""
    parts = Scan.of(node)
    recurrence = parts.recurrence
    carry, series, shared = parts.leaves
    start, *others = tangents
    of_series, of_shared = others[: len(series)], others[len(series) :]
    moving = [n for n, dot in enumerate(of_series) if dot is not None]
    adding = [n for n, dot in enumerate(of_shared) if dot is not None]

    def body(dot: Expr, given: Sequence[Expr], fixed: Sequence[Expr]) -> Expr:
        before, now, dots = given[0], given[1 : 1 + len(series)], given[1 + len(series) :]
        leaves = dict(zip([carry, *series, *shared], [before, *now, *fixed[: len(shared)]], strict=True))
        known = {before: dot}
        known |= {leaves[series[n]]: value for n, value in zip(moving, dots, strict=True)}
        known |= {leaves[shared[n]]: value for n, value in zip(adding, fixed[len(shared) :], strict=True)}
        (value,) = substitute([recurrence.body], leaves)
        (tangent,) = jvp([value], known, directions)
        (simple,) = simplify([zeros(value.dim * directions) if tangent is None else tangent])
        return simple

    return scanned(
        body, zeros(parts.start.dim * directions) if start is None else start, recurrence.steps,
        [carries_before(node), *parts.series, *(dot for dot in of_series if dot is not None)],
        [*parts.shared, *(dot for dot in of_shared if dot is not None)],
        recurrence.backwards, recurrence.last,
    )  # fmt: skip


def _stand_ins(node: Expr) -> list[Expr]:
    """Variables for the differentials of the arguments of ``node``. The derivative is linear in them."""
    return [variable(("differential", n), arg.dim, arg.domain) for n, arg in enumerate(node.args)]


__all__ = ["divergence", "grad", "jacobian", "jvp", "laplacian", "trace", "vjp"]

"""Weighted squared norms and distances, and vectors scaled to length 1."""

from __future__ import annotations

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import Edge, spell
from clreduce.ops.arithmetic import square
from clreduce.ops.derived import squared_norm
from clreduce.ops.functions import rsqrt
from clreduce.ops.matrices import matrix_vector
from clreduce.ops.shape import summed


def normalized(f: Expr) -> Expr:
    """f divided by its Euclidean norm."""
    return rsqrt(squared_norm(f)) * f


def isotropic_norm(s: Expr, f: Expr) -> Expr:
    """s times the squared norm of f."""
    if s.dim != 1:
        raise ShapeError(f"SqNormIso needs one weight; got {s.dim} weights for a vector of length {f.dim}")
    return s * squared_norm(f)


def diagonal_norm(s: Expr, f: Expr) -> Expr:
    """Sum over k of s_k f_k squared."""
    if s.dim != f.dim:
        raise ShapeError(
            f"SqNormDiag needs one weight for each component; got {s.dim} weights for a vector of length {f.dim}"
        )
    return summed(s * square(f))


def full_norm(s: Expr, f: Expr) -> Expr:
    """Sum over k and l of s_kl f_k f_l."""
    if s.dim != f.dim * f.dim:
        raise ShapeError(
            f"SymSqNorm needs a {f.dim} x {f.dim} matrix, of length {f.dim**2}, for a vector of length {f.dim}; "
            f"got length {s.dim}"
        )
    return summed(f * matrix_vector(s, f))


def weighted_norm(s: Expr, f: Expr) -> Expr:
    """The squared norm for one weight, a weight per component, or a matrix of weights."""
    if s.dim == 1:
        return isotropic_norm(s, f)
    if s.dim == f.dim:
        return diagonal_norm(s, f)
    if s.dim == f.dim**2:
        return full_norm(s, f)
    raise ShapeError(
        f"WeightedSqNorm needs 1, {f.dim} or {f.dim} * {f.dim} weights for a vector of length {f.dim}; "
        f"got length {s.dim}"
    )


def weighted_distance(s: Expr, f: Expr, g: Expr) -> Expr:
    """The weighted squared norm of f - g."""
    return weighted_norm(s, f - g)


spell(
    "Normalize", normalized, "f / Norm2(f); 0 with slope 0 where f is 0", "f", interval=(0.5, 2.0),
    edges=(Edge(((0.0, 0.0),), (0.0, 0.0), ((0.0, 0.0),)), Edge(((3.0, 4.0),), (0.6, 0.8))),
)  # fmt: skip
spell("SqNormIso", isotropic_norm, "s * sum of f_k^2", "s f", example=(1, 3))
spell("SqNormDiag", diagonal_norm, "sum of s_k f_k^2", "s f")
spell("SymSqNorm", full_norm, "sum over k and l of s_kl f_k f_l, where s holds the matrix row by row; it need not be "
      "symmetric", "s f", example=(9, 3))  # fmt: skip
spell("WeightedSqNorm", weighted_norm, "SqNormIso, SqNormDiag or SymSqNorm of s and f, by the length of s", "s f",
      example=(9, 3))  # fmt: skip
spell("WeightedSqDist", weighted_distance, "WeightedSqNorm(s, f - g)", "s f g", example=(9, 3, 3))

"""Products of matrices and tensors packed in vectors, row by row (the last axis runs fastest).

They are compositions of products and sums of components read in another order, so kernels need nothing new for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from clreduce.errors import ShapeError
from clreduce.ir.expr import Expr
from clreduce.ir.op import INF, NAN, Edge, spell
from clreduce.ops.arithmetic import difference
from clreduce.ops.shape import concat, element, expand, extract, permute, reduce_sum, summed


def _repeat(f: Expr, outer: int, n: int, inner: int) -> Expr:
    return f if n == 1 else expand(f, outer, n, inner)


def _add_up(f: Expr, outer: int, n: int, inner: int) -> Expr:
    return f if n == 1 else reduce_sum(f, outer, n, inner)


def _reorder(f: Expr, shape: Sequence[int], axes: Sequence[int]) -> Expr:
    return f if list(axes) == sorted(axes) else permute(f, tuple(shape), tuple(axes))


def _other_size(name: str, matrix: Expr, vector: Expr) -> int:
    if matrix.dim % vector.dim:
        raise ShapeError(
            f"{name} needs a matrix whose length is a multiple of the vector's; got lengths {matrix.dim}, {vector.dim}"
        )
    return matrix.dim // vector.dim


def matrix_vector(a: Expr, b: Expr) -> Expr:
    """A b for a matrix A with as many columns as b has components."""
    rows = _other_size("MatVecMult", a, b)
    return _add_up(a * _repeat(b, 1, rows, b.dim), rows, b.dim, 1)


def vector_matrix(b: Expr, a: Expr) -> Expr:
    """b^T A for a matrix A with as many rows as b has components."""
    columns = _other_size("VecMatMult", a, b)
    return _add_up(_repeat(b, b.dim, columns, 1) * a, 1, b.dim, columns)


def tensor_product(f: Expr, g: Expr) -> Expr:
    """All products f_k g_l, as a matrix of f's length by g's."""
    return _repeat(f, f.dim, g.dim, 1) * _repeat(g, 1, f.dim, g.dim)


def difference_matrix(f: Expr, g: Expr) -> Expr:
    """All differences f_k - g_l, as a matrix of f's length by g's."""
    return _repeat(f, f.dim, g.dim, 1) - _repeat(g, 1, f.dim, g.dim)


def _check_sizes(name: str, label: str, f: Expr, sizes: Sequence[int]) -> None:
    if any(size < 1 for size in sizes) or prod(sizes) != f.dim:
        raise ShapeError(f"{name}: {label}={list(sizes)} are not the sizes of a vector of length {f.dim}")


def _kept(name: str, label: str, sizes: Sequence[int], axes: Sequence[int]) -> list[int]:
    if len(set(axes)) < len(axes) or not set(axes) <= set(range(len(sizes))):
        raise ShapeError(f"{name}: {label}={list(axes)} must be distinct axes of {list(sizes)}; axes count from 0")
    return [axis for axis in range(len(sizes)) if axis not in axes]


def tensor_dot(
    f: Expr, g: Expr,
    dimf: Sequence[int], dimg: Sequence[int], contf: Sequence[int], contg: Sequence[int],
    perm: Sequence[int] | None = None,
) -> Expr:  # fmt: skip
    """``numpy.tensordot`` of f and g read with the sizes ``dimf`` and ``dimg``, over the pairs of axes given.

    The axes of the result are those kept of f, then those kept of g; ``perm`` moves axis k of them to place perm[k].
    """
    _check_sizes("TensorDot", "dimf", f, dimf)
    _check_sizes("TensorDot", "dimg", g, dimg)
    kept_f, kept_g = _kept("TensorDot", "contf", dimf, contf), _kept("TensorDot", "contg", dimg, contg)
    if [dimf[axis] for axis in contf] != [dimg[axis] for axis in contg]:
        raise ShapeError(
            f"TensorDot can only contract axes of equal sizes; contf has sizes {[dimf[axis] for axis in contf]}, "
            f"contg {[dimg[axis] for axis in contg]}"
        )
    rows, columns = [dimf[axis] for axis in kept_f], [dimg[axis] for axis in kept_g]
    m, n, terms = prod(rows), prod(columns), prod(dimf[axis] for axis in contf)
    left = _repeat(_reorder(f, dimf, [*kept_f, *contf]), m, n, terms)
    right = _repeat(_reorder(g, dimg, [*kept_g, *contg]), 1, m, n * terms)
    result = _add_up(left * right, m * n, terms, 1)
    if perm is None:
        return result
    if sorted(perm) != list(range(len(rows) + len(columns))):
        raise ShapeError(
            f"TensorDot: perm={list(perm)} must be an order of the {len(rows) + len(columns)} axes that remain"
        )  # fmt: skip
    return _reorder(result, [*rows, *columns], [perm.index(place) for place in range(len(perm))])


def kronecker(f: Expr, g: Expr, dimf: Sequence[int], dimg: Sequence[int]) -> Expr:
    """``numpy.kron`` of f and g read with the sizes ``dimf`` and ``dimg``."""
    _check_sizes("Kron", "dimf", f, dimf)
    _check_sizes("Kron", "dimg", g, dimg)
    if len(dimf) != len(dimg):
        raise ShapeError(f"Kron needs the same number of axes on both sides; got {list(dimf)} and {list(dimg)}")
    axes = [axis for n in range(len(dimf)) for axis in (n, len(dimf) + n)]
    return _reorder(tensor_product(f, g), [*dimf, *dimg], axes)


def _turned(f: Expr, by: int) -> Expr:
    return concat(extract(f, by, 3 - by), extract(f, 0, by))


def cross_product(f: Expr, g: Expr) -> Expr:
    """The vector product in three dimensions; of a vector with itself exactly 0."""
    if f.dim != 3 or g.dim != 3:
        raise ShapeError(f"Cross needs two vectors of length 3; got lengths {f.dim}, {g.dim}")
    return difference(_turned(f, 1) * _turned(g, 2), _turned(f, 2) * _turned(g, 1))


def _rows(name: str, f: Expr) -> list[Expr]:
    if f.dim not in (4, 9):
        raise ShapeError(f"{name} needs a 2 x 2 or 3 x 3 matrix, of length 4 or 9; got length {f.dim}")
    n = 2 if f.dim == 4 else 3
    return [extract(f, n * k, n) for k in range(n)]


def determinant(f: Expr) -> Expr:
    """The determinant of a 2 x 2 or 3 x 3 matrix."""
    rows = _rows("Det", f)
    if len(rows) == 2:
        a, b, c, d = (element(f, k) for k in range(4))
        return difference(a * d, b * c)
    return summed(rows[0] * cross_product(rows[1], rows[2]))


def inverse(f: Expr) -> Expr:
    """The inverse of a 2 x 2 or 3 x 3 matrix."""
    rows = _rows("Inverse", f)
    if len(rows) == 2:
        a, b, c, d = (element(f, k) for k in range(4))
        return concat(d, -b, -c, a) / determinant(f)
    columns = concat(*(cross_product(rows[k - 2], rows[k - 1]) for k in range(3)))
    return permute(columns, (3, 3), (1, 0)) / determinant(f)


spell("MatVecMult", matrix_vector, "product of the matrix A (D(A) / D(b) rows, D(b) columns) and the vector b", "A b",
      example=(6, 3))  # fmt: skip
spell("VecMatMult", vector_matrix, "product of the vector b and the matrix A (D(b) rows, D(A) / D(b) columns)", "b A",
      example=(2, 6))  # fmt: skip
spell("TensorProd", tensor_product, "all products f_k g_l, at place k * D(g) + l", "f g", example=(2, 3))
spell("DifferenceMatrix", difference_matrix, "all differences f_k - g_l, at place k * D(g) + l", "f g",
      example=(2, 3))  # fmt: skip
spell("TensorDot", tensor_dot, "numpy.tensordot of f and g read as arrays of sizes dimf and dimg, over the pairs of "
      "axes contf, contg; perm moves axis k of the result to place perm[k]", "f g", "dimf dimg contf contg perm",
      optional=1, example=(6, 12, (2, 3), (3, 2, 2), (1,), (0,), (2, 0, 1)))  # fmt: skip
spell("Kron", kronecker, "numpy.kron of f and g read as arrays of sizes dimf and dimg", "f g", "dimf dimg",
      example=(6, 4, (2, 3), (2, 2)))  # fmt: skip
spell("Cross", cross_product, "vector product in three dimensions; exactly 0 for g = f", "f g")
spell("Det", determinant, "determinant of a 2 x 2 or 3 x 3 matrix", "f", example=(9,))
spell("Inverse", inverse, "inverse of a 2 x 2 or 3 x 3 matrix; inf or nan where it is singular", "f", example=(9,),
      edges=(Edge(((1.0, 1.0, 1.0, 1.0),), (INF, -INF, -INF, INF)), Edge(((0.0,) * 9,), (NAN,) * 9)))  # fmt: skip

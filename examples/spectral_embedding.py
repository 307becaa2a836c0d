r"""
Spectral embedding separates bent shapes, and stores no kernel matrix
=====================================================================

Spectral embedding and clustering: eigenvectors of a kernel matrix that is never stored.

For points x_1 .. x_N, a Gaussian kernel says how well two of them are connected::

    K_ij = exp(-|x_i - x_j|^2 / (2 s^2)),    d_i = sum_j K_ij,    A_ij = K_ij / sqrt(d_i d_j).

L = I - A is the normalised Laplacian of this graph. Its smallest eigenvalues belong to the largest of A, of which the
first is 1. Each further part that hardly connects to the others adds one eigenvalue near 1. Rows of these eigenvectors,
scaled to length 1, are almost the same for all points of a part, even if the part is long and bent.

SciPy's eigsh needs only products of A with vectors, which `A @ v` computes. A dense solver checks the result.

Run it::

    python examples/spectral_embedding.py --output FOLDER
"""

from __future__ import annotations

import numpy as np
import support
from scipy.cluster.vq import kmeans2
from scipy.linalg import eigh
from scipy.sparse.linalg import aslinearoperator, eigsh
from support import Array

import clreduce
from clreduce.numpy import LazyTensor, Vi, Vj

ARMS, WIDTH, EIGENVALUES = 3, 0.07, 8
LIMITS = {"float32": 2e-5, "float64": 1e-12}  # of the error of eigenvalues, which are at most 1
# The angles are errors of the matrix over the gap between eigenvalues; what counts here is half their square.
COSINE_LIMITS = {"float32": 1e-5, "float64": 1e-10}

# -------------------------------------------------------------------------------------------------- with clreduce


def normalised_kernel(x: Array) -> LazyTensor:
    """A, a symbolic matrix (N, N)."""
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1) / (2 * WIDTH**2)).exp()
    scale = 1 / np.sqrt(K.sum(axis=1))
    return Vi(scale) * K * Vj(scale)


def largest(x: Array) -> tuple[Array, Array]:
    """The largest eigenvalues of A in descending order, and their eigenvectors (N, EIGENVALUES)."""
    start = np.random.default_rng(0).normal(size=len(x)).astype(x.dtype)
    values, vectors = eigsh(aslinearoperator(normalised_kernel(x)), k=EIGENVALUES, v0=start)
    return values[::-1], vectors[:, ::-1]


# ----------------------------------------------------------------------------------------------------- with NumPy


def dense_largest(x: Array) -> tuple[Array, Array]:
    norms = (x**2).sum(1)
    K = np.exp(-(norms[:, None] + norms - 2 * x @ x.T) / (2 * WIDTH**2))
    scale = 1 / np.sqrt(K.sum(1))
    values, vectors = eigh(scale[:, None] * K * scale, subset_by_index=(len(x) - EIGENVALUES, len(x) - 1))
    return values[::-1], vectors[:, ::-1]


# ------------------------------------------------------------------------------------------------- the comparison


def spirals(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Points of interleaved spirals, and which spiral each is on."""
    which, turn = rng.integers(ARMS, size=count), np.sqrt(rng.uniform(0.1, 1, count))
    angle = 2 * np.pi * (which / ARMS + 0.8 * turn)
    return np.stack((turn * np.cos(angle), turn * np.sin(angle)), 1) + 0.02 * rng.normal(size=(count, 2)), which


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    dtype = support.precisions()[-1]
    x, which = spirals(np.random.default_rng(0), support.scaled(2000))
    x = x.astype(dtype)
    (values, vectors), seconds = support.timed(largest, x, calls=2)
    (dense_values, dense_vectors), dense_seconds = support.timed(dense_largest, x.astype("float64"), calls=1)
    times = support.milliseconds(seconds), support.milliseconds(dense_seconds)
    print(f"{EIGENVALUES} eigenvalues of a matrix of {len(x)} x {len(x)}: clreduce {times[0]}, dense {times[1]}")
    print("1 - eigenvalues:", *(f"{1 - value:.1e}" for value in values))

    embedded = vectors[:, :ARMS] / np.linalg.norm(vectors[:, :ARMS], axis=1, keepdims=True)
    starts = [0]
    while len(starts) < ARMS:  # the rows of different parts are almost orthogonal
        starts.append(int(np.abs(embedded @ embedded[starts].T).max(1).argmin()))
    _, found = kmeans2(embedded, embedded[starts], minit="matrix")
    # Eigenvalues near each other leave the basis of their eigenvectors open, not the space that it spans.
    angles = np.linalg.svd(dense_vectors[:, :ARMS].T @ vectors[:, :ARMS], compute_uv=False)
    table = np.array([[np.sum((found == a) & (which == b)) for b in range(ARMS)] for a in range(ARMS)])
    limits = support.Limits()
    limits.expect("error of the eigenvalues", float(np.abs(values - dense_values).max()), LIMITS[dtype])
    limits.expect("1 - cosine of the angles to the dense eigenvectors", float(1 - angles.min()), COSINE_LIMITS[dtype])
    limits.expect("points in the wrong part", len(x) - table.max(1).sum(), 0)

    title = f"A spectral embedding of {len(x):,} points separates three spirals"
    with support.figure(folder / "spectral_embedding.png", title, 1, 3, (14, 5)) as (axes,):
        colours = np.array(support.COLOURS)[found]
        support.plane(axes[0], "The points, and the clusters that are found")
        axes[0].scatter(*x.T, s=4, c=colours)
        axes[1].bar(np.arange(1, EIGENVALUES + 1), 1 - values, color=support.LINE)
        axes[1].set(
            title="Smallest eigenvalues of $L$: 0, and two near 0", xlabel="number", yscale="log", ylim=(1e-7, None)
        )
        # seen along the direction in which the embedding is least spread
        flat = embedded @ np.linalg.svd(embedded - embedded.mean(0), full_matrices=False)[2][:2].T
        support.plane(axes[2], "Rows of the three eigenvectors, projected")
        axes[2].scatter(*flat.T, s=14, c=colours)
    limits.check()


if __name__ == "__main__":
    main()

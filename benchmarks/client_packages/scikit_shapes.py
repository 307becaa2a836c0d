"""scikit-shapes, whose own code also computes the dense results: on tables in place of LazyTensors."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch

import clreduce.torch
from client_packages.common import EXACT, Checks, bare, leaf, random, with_gradients


class Table:
    """All pairs as a tensor of shape (M, N, D), with the methods of a LazyTensor that scikit-shapes calls."""

    ranges = None

    def __init__(self, table: Any) -> None:
        self.table = table.table if isinstance(table, Table) else table

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.table.shape[:2] if self.table.shape[-1] == 1 else self.table.shape)

    def _made(self, function: Any, *others: Any) -> Table:
        return Table(function(self.table, *(other.table if isinstance(other, Table) else other for other in others)))

    def __getattr__(self, name: str) -> Any:  # exp, sqrt and other functions of each number
        return lambda *others: self._made(getattr(torch.Tensor, name), *others)

    def sum(self, axis: int = -1, dim: int | None = None) -> Any:
        axis = axis if dim is None else dim
        return Table(self.table.sum(-1, keepdim=True)) if axis in (-1, 2) else self.table.sum(axis)

    def step(self) -> Table:
        return Table((self.table >= 0).to(self.table.dtype))

    def __or__(self, other: Any) -> Table:
        return (self * other).sum(-1)  # type: ignore[no-any-return]

    def matvecmult(self, v: Any) -> Table:
        matrix = self.table.unflatten(-1, (-1, v.table.shape[-1]))
        return Table((matrix * v.table[..., None, :]).sum(-1))

    def tensorprod(self, other: Any) -> Table:
        return Table((self.table[..., :, None] * other.table[..., None, :]).flatten(-2))

    def concat(self, other: Any) -> Table:
        shape = torch.broadcast_shapes(self.table.shape[:2], other.table.shape[:2])
        return Table(torch.cat([part.table.expand(*shape, -1) for part in (self, other)], -1))

    def __getitem__(self, component: int) -> Table:
        return Table(self.table[..., component : component + 1])

    def __matmul__(self, values: torch.Tensor) -> torch.Tensor:
        return self.table[..., 0] @ values

    def argKmin(self, K: int, dim: int) -> torch.Tensor:
        return self.table[..., 0].topk(K, dim, largest=False).indices


for _name in ["add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "neg"]:
    setattr(Table, f"__{_name}__", lambda self, *others, _name=f"__{_name}__": self._made(
        getattr(torch.Tensor, _name), *others))  # fmt: skip


def skshapes() -> Checks:
    os.environ["SKSHAPES_FLOAT_DTYPE"] = "float64"
    parts = "features", "loss", "neighborhoods", "convolutions", "topology"
    bare("skshapes", *(f"skshapes.{part}" for part in parts))
    from skshapes.convolutions import squared_distances as convolution
    from skshapes.features import curvatures, normals, structure_tensors
    from skshapes.loss import nearest_neighbors, varifold
    from skshapes.neighborhoods import kernel_neighborhoods
    from skshapes.topology import knn_graph
    from skshapes.types import polydata_type

    modules = convolution, curvatures, normals, structure_tensors, varifold, kernel_neighborhoods
    directions = torch.nn.functional.normalize(random(90, 3) - 0.5, dim=1)
    points, values = directions * (1 + 0.2 * random(90, 1)), random(90, 2)

    class Mesh(polydata_type):  # type: ignore[misc]
        def __init__(self, points: torch.Tensor) -> None:
            self.triangle_centroids, self.points, self.dim = points, points, 3
            self.triangle_normals, self.triangle_areas = directions, random(90)
            self.n_points, self.device, self.edges = len(points), points.device, None

    def run(lazy: bool, function: Any) -> list[torch.Tensor]:
        for module in modules:
            module.LazyTensor = clreduce.torch.LazyTensor if lazy else Table
        x = leaf(points)
        return with_gradients(function(x), x)

    def window(squares: Any) -> Any:
        return (-squares / 2).exp()

    def convolved(x: torch.Tensor, **options: Any) -> torch.Tensor:
        return convolution.squared_distances(points=x / 0.2, kernel=window, **options) @ values

    for name, function, limit in (
        ("varifold loss", lambda x: varifold.varifold_scalar(Mesh(x), Mesh(points + 0.1), "Gaussian", 0.4,
                                                             "Cauchy-Binet"), EXACT),
        ("Gaussian neighbourhoods",
         lambda x: kernel_neighborhoods.keops_kernel(points=x, window="gaussian kernel", scale=0.3) @ values, EXACT),
        ("convolution", convolved, EXACT),
        # Pairs beyond the cutoff are left out block by block.
        ("convolution, clusters and ranges", partial(convolved, cutoff=60.0), 1e-9),
        ("structure tensors", lambda x: structure_tensors.structure_tensors(points=x, scale=0.4), EXACT),
        ("normals at two scales", lambda x: normals.smooth_normals(vertices=x, normals=directions, scale=[0.2, 0.5]),
         EXACT),
        ("curvatures at two scales",
         lambda x: curvatures.smooth_curvatures(vertices=x, normals=directions, scales=[0.3, 0.6]), EXACT),
        ("quadratic curvatures", lambda x: torch.stack(
            [*curvatures.smooth_curvatures_2(points=x, normals=directions, scale=0.8).values()]), EXACT),
    ):  # fmt: skip
        yield f"{name}, gradients", partial(run, True, function), partial(run, False, function), limit
    other = random(70, 3)
    loss = nearest_neighbors.NearestNeighborsLoss.__call__
    yield (
        "nearest neighbours: loss",
        lambda: [loss(nearest_neighbors.NearestNeighborsLoss(), Mesh(points), Mesh(other))],
        lambda: [torch.cdist(points, other).amin(1).mean()],
        EXACT,
    )
    nearest = torch.cdist(points, points).topk(4, largest=False).indices[:, 1:]
    pairs = torch.stack((torch.arange(90).repeat_interleave(3), nearest.flatten()), 1).sort(1).values
    yield "graph of neighbours", lambda: [knn_graph._knn_graph(Mesh(points), k=3)], lambda: [pairs.unique(dim=0)], 0.0

r"""
A million pixels take the colours of another picture
====================================================

Colours are points in a cube, and a picture is a cloud of them. Optimal transport moves one cloud onto another at the
least cost; applied to each pixel, it gives a picture the colours of another one.

A plan between samples x_i and y_j of both clouds is found by Sinkhorn's algorithm, with logarithms and a blur eps that
shrinks::

    f_i = -eps log( 1/N sum_j exp((g_j - |x_i - y_j|^2 / 2) / eps) ),    and g_j likewise, with a sum over i.

The potential g then says where *any* colour z goes, also one that was not in the sample: to a mean of the y_j, weighed
by a softmax,

::

    T(z) = sum_j w_j y_j,    w_j proportional to exp((g_j - |z - y_j|^2 / 2) / eps).

That is one reduction over 1,000,000 pixels and 4000 colours: 4 * 10^9 pairs. Both pictures are painted here. NumPy in
float64 computes some of the pixels.

Run it::

    python examples/colour_transfer.py --output FOLDER
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

EPS = tuple(np.geomspace(0.3, 5e-4, 24))  # the blur of each step, in squared distances of colours
LIMIT = 1e-3  # of an error of a colour in float32, whose components are up to 1
Colour = tuple[float, float, float]

# -------------------------------------------------------------------------------------------------- with clreduce


def potentials(x: Array, y: Array) -> tuple[Array, Array]:
    """f (M, 1) and g (N, 1) of the plan between the samples."""
    half = Vi(x).sqdist(Vj(y)) / 2
    f, g = np.zeros_like(x[:, :1]), np.zeros_like(y[:, :1])
    for eps in EPS:
        f = -eps * (((Vj(g) - half) / eps).logsumexp(axis=1) - np.log(len(y)))
        g = -eps * (((Vi(f) - half) / eps).logsumexp(axis=0) - np.log(len(x)))
        f, g = f.astype(x.dtype), g.astype(x.dtype)
    return f, g


def moved(z: Array, y: Array, g: Array, eps: float = EPS[-1]) -> Array:
    """Where the plan takes colours z (L, 3)."""
    return ((Vj(g) - Vi(z).sqdist(Vj(y)) / 2) / eps).sumsoftmaxweight(Vj(y), axis=1)


# ----------------------------------------------------------------------------------------------------- with NumPy


def numpy_moved(z: Array, y: Array, g: Array, eps: float = EPS[-1]) -> Array:
    score = (g.T - ((z[:, None] - y) ** 2).sum(-1) / 2) / eps
    weights = np.exp(score - score.max(1, keepdims=True))
    return weights @ y / weights.sum(1, keepdims=True)


# --------------------------------------------------------------------------------------------------- the pictures


class Palette(NamedTuple):
    above: Colour
    horizon: Colour
    sun: Colour
    far: Colour
    near: Colour
    water: Colour


NOON = Palette(
    (0.16, 0.42, 0.80), (0.78, 0.89, 0.96), (1.0, 1.0, 0.92), (0.55, 0.68, 0.74), (0.13, 0.36, 0.16), (0.10, 0.36, 0.48)
)
DUSK = Palette(
    (0.13, 0.08, 0.30),
    (0.98, 0.55, 0.25),
    (1.0, 0.90, 0.55),
    (0.55, 0.27, 0.42),
    (0.10, 0.05, 0.14),
    (0.36, 0.14, 0.28),
)


def painted(rng: np.random.Generator, side: int, colours: Palette, sun: tuple[float, float]) -> Array:
    """A landscape (side, side, 3): a sky, a sun, five ridges and a lake that mirrors them."""
    above, horizon, light, far, near, water = (np.array(colour) for colour in colours)
    u, v = np.meshgrid(np.linspace(0, 1, side), np.linspace(1, 0, side))
    shore = 0.3
    height = np.where(v < shore, 2 * shore - v, v)  # in the lake, what is seen is above it
    picture = horizon + (above - horizon) * np.clip((height - 0.35) / 0.65, 0, 1)[..., None] ** 0.8
    distance = np.hypot(u - sun[0], height - sun[1])[..., None]
    picture += (light - picture) * np.clip(np.exp(-((distance / 0.22) ** 2)) * 0.6 + (distance < 0.05), 0, 1)
    for depth in np.linspace(0, 1, 5):
        waves = sum(rng.normal() / k**1.1 * np.sin(2 * np.pi * (k * u + rng.random())) for k in (1, 2, 3, 5, 8, 13, 21))
        ridge = 0.62 - 0.26 * depth + 0.045 * waves
        shade = far + (near - far) * depth
        inside = np.clip((ridge - height) * side / 3, 0, 1)[..., None]
        picture += (shade + 0.1 * (ridge - height)[..., None] - picture) * inside
    ripples = 0.04 * np.sin(400 * v**0.7 + 3 * np.sin(9 * u))
    mirrored = picture * 0.55 + 0.45 * water + ripples[..., None]
    picture = np.where((v < shore)[..., None], mirrored, picture)
    return np.clip(picture + rng.normal(0, 0.012, picture.shape), 0, 1).astype("float32")


def main() -> None:
    folder = support.output_folder(__doc__)
    print(f"device: {clreduce.current_device()}")
    rng = np.random.default_rng(4)
    side = round(1000 * (support.scaled(1000) / 1000) ** 0.5)
    picture, other = painted(rng, side, NOON, (0.7, 0.85)), painted(rng, side, DUSK, (0.35, 0.62))
    pixels, other_pixels = picture.reshape(-1, 3), other.reshape(-1, 3)
    count = support.scaled(4000)
    x, y = (cloud[rng.choice(len(cloud), count, replace=False)] for cloud in (pixels, other_pixels))

    (_, g), plan_seconds = support.timed(potentials, x, y, calls=2)
    result, seconds = support.timed(moved, pixels, y, g, calls=2)
    print(f"plan between {count} and {count} colours, {len(EPS)} steps: {support.milliseconds(plan_seconds)}")
    speed = len(pixels) * count / seconds
    print(f"{len(pixels)} pixels moved: {support.milliseconds(seconds)}, {speed:.1e} pairs a second")

    limits = support.Limits()
    some = rng.choice(len(pixels), 200, replace=False)
    expected, numpy_seconds = support.timed(
        numpy_moved, *(array.astype("float64") for array in (pixels[some], y, g)), calls=1
    )
    print(f"NumPy: about {numpy_seconds * len(pixels) / len(some):.0f} s")
    limits.expect("error of a colour", np.abs(result[some] - expected).max(), LIMIT)
    for name, statistic in (("mean", np.mean), ("standard deviation", np.std)):
        wrong = np.abs(statistic(result, axis=0) - statistic(other_pixels, axis=0)).max()
        print(f"{name} of the colours: within {wrong:.3f} of that of the other picture")
        limits.expect(f"difference of the {name} of the colours", wrong, 0.05)

    title = f"{len(pixels):,} pixels of a noon take the colours of a dusk"
    with support.figure(folder / "colour_transfer.png", title, 1, 4, (16, 4.7)) as (axes,):
        shown = (
            ("The picture", picture),
            ("The colours", other),
            ("Moved", np.clip(result, 0, 1).reshape(picture.shape)),
        )
        for axis, (name, image) in zip(axes, shown, strict=False):
            support.plane(axis, name)
            axis.imshow(image)
            axis.set(xticks=(), yticks=())
        support.plane(axes[3], "Samples: the picture's (o) go to the others (+)")
        every = slice(0, None, max(1, count // 250))
        target = np.clip(moved(x, y, g), 0, 1)
        for start, end in zip(x[every], target[every], strict=True):
            axes[3].plot(*zip(start[[0, 2]], end[[0, 2]], strict=True), color=support.FAINT, linewidth=0.6, zorder=1)
        axes[3].scatter(x[every, 0], x[every, 2], s=16, c=np.clip(x[every], 0, 1), zorder=2)
        axes[3].scatter(target[every, 0], target[every, 2], s=22, c=target[every], marker="P", zorder=2)
        axes[3].set(xlabel="red", ylabel="blue", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    limits.check()


if __name__ == "__main__":
    main()

r"""
Several devices share one call, and the result is that of one
=============================================================

The potential of N charges q_j at points x_j of the plane, on a fine mesh of M points z_i::

    V_i = -sum_j q_j log(|z_i - x_j|^2 + h^2) / 2.

In the block of ``with clreduce.use_devices("all")`` all OpenCL devices of the machine share each call: a GPU and a CPU,
several GPUs, or two drivers of one CPU. Each takes blocks of rows while there are any, and the blocks become shorter
towards the end, so that all end at about the same time. A row has the bits that its device alone would give it.

The picture shows the potential, and what the host and each device did when. Calls of a few milliseconds are not
shared, so this one has at least 4 * 10^8 pairs.

Run it::

    python examples/several_devices.py --output FOLDER
"""

from __future__ import annotations

import textwrap

import numpy as np
import support
from support import Array

import clreduce
from clreduce.numpy import Vi, Vj

SOFTENING = 0.01  # h
LIMIT = 1e-5  # of |V - exact| / |exact| in float32


def potential(z: Array, x: Array, q: Array) -> Array:
    """The potential (M, 1) at z of charges q (N, 1) at x."""
    return ((Vi(z).sqdist(Vj(x)) + SOFTENING**2).log() @ q) / -2


def numpy_potential(z: Array, x: Array, q: Array) -> Array:
    return np.array([np.log(((x - one) ** 2).sum(-1) + SOFTENING**2) @ q for one in z]) / -2


def charges(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Two spirals of charges of opposite signs, of which both arms are a little uneven."""
    along = rng.uniform(0.4, 3.2, count)
    arm = rng.integers(2, size=count)
    angle = 2.2 * along + np.pi * arm
    x = 0.3 * along[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1) + rng.normal(0, 0.02, (count, 2))
    return x.astype("float32"), (np.where(arm == 0, 1.0, -1.0)[:, None] * rng.random((count, 1))).astype("float32")


def main() -> None:
    folder = support.output_folder(__doc__)
    rng = np.random.default_rng(0)
    x, q = charges(rng, max(10_000, support.scaled(30_000)))
    side = max(200, support.scaled(400))
    z = support.mesh(-1.15, 1.15, side).astype("float32")
    table = support.Table(("device", "time of a call"))
    alone = []
    with clreduce.use_devices("all") as devices:
        for device in devices:
            with clreduce.use_device(device):
                v, seconds = support.timed(potential, z, x, q, calls=2)
            table.add(str(device), support.milliseconds(seconds))
            alone.append(v)
        together, seconds = support.timed(potential, z, x, q, calls=3)
        with clreduce.profile() as profile:
            potential(z, x, q)
    table.add("all together", support.milliseconds(seconds))
    print(table)

    limits = support.Limits()
    limits.expect("number of devices that had no part of the call", len(devices) - len(profile.busy), 0)
    some = rng.choice(len(z), 50, replace=False)
    expected = numpy_potential(z[some].astype("float64"), x.astype("float64"), q.astype("float64"))
    limits.expect("error of all devices together", support.norm_ratio(together[some], expected), LIMIT)
    for device, v in zip(devices, alone, strict=True):
        limits.expect(f"error of {device}", support.norm_ratio(v[some], expected), LIMIT)

    shared_by = f"{len(devices)} devices share it" if len(devices) > 1 else "this machine has one device"
    title = f"The potential of {len(x):,} charges at {len(z):,} points: {shared_by}"
    with support.figure(folder / "several_devices.png", title, 1, 2, (14, 5.6)) as (axes,):
        support.plane(axes[0], "The potential")
        most = float(np.abs(together).max())
        axes[0].imshow(
            together.reshape(side, side), extent=(-1.15, 1.15) * 2, origin="lower", cmap="RdBu_r", vmin=-most, vmax=most
        )
        axes[0].contour(
            together.reshape(side, side), 14, extent=(-1.15, 1.15) * 2, colors=support.INK, linewidths=0.5, alpha=0.5
        )
        profile.plot(axes[1])
        names = [textwrap.fill(label.get_text(), 20) for label in axes[1].get_yticklabels()]
        axes[1].set_yticks(axes[1].get_yticks(), names, fontsize=8)
    limits.check()


if __name__ == "__main__":
    main()

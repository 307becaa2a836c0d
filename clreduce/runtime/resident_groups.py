"""Means of groups of rows of an array that stays on its device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clreduce.runtime.resident import TYPES, copied, place_of_array
from clreduce.runtime.resident_kernels import Order, buffer_with, kernel_of_text
from clreduce.typing import Array

if TYPE_CHECKING:
    from pyopencl.array import Array as DeviceArray

_TEXT = """\
__kernel void means(__global REAL* means, __global REAL* sums, __global const REAL* points,
                    __global const REAL* weights, __global const REAL* totals, __global const REAL* least,
                    __global const long* order, __global const long* ends, long groups, long dim, long weighted,
                    long has_totals)
{
    const long n = get_global_id(0), group = n / dim, k = n % dim;
    if (group >= groups) return;
    REAL plain = 0, sum = 0, total = 0;
    const long begin = group ? ends[group - 1] : 0, end = ends[group];
    for (long place = begin; place < end; ++place) {
        const long row = order[place];
        const REAL x = points[row * dim + k];
        plain += x;
        if (weighted) {
            const REAL weight = fmax(weights[row], least[0]);
            sum += weight * x;
            total += weight;
        }
    }
    const REAL count = end - begin;
    if (has_totals) total = totals[group];
    means[n] = weighted && total != 0 ? sum / total : plain / fmax(count, (REAL)1);
    if (k == 0) sums[group] = weighted ? total : count;
}
"""


def group_means(
    points: DeviceArray,
    order: Array,
    ends: Array,
    weights: DeviceArray | None = None,
    totals: DeviceArray | None = None,
    least: float = -np.inf,
) -> tuple[DeviceArray, DeviceArray]:
    """The weighted mean of the rows of each group, (C, D), and the sums of weights, (C,), computed on the device.

    ``points`` are reals (M, D) with D >= 1. ``order`` has the rows of the first group, of the second group and so on,
    and ``ends`` the end of each group in it. ``weights`` (M,) are 1 by default, and each counts as at least ``least``.
    ``totals`` (C,) are the sums of weights, if the caller knows them. A group whose weights add up to 0 has the plain
    mean of its rows, and a group without rows has zeros. Both results are float64 if the device has float64.
    """
    place = place_of_array(points)
    device, real = place.device, np.dtype("float64" if place.device.facts.has_double else "float32")
    groups, dim = len(ends), points.shape[1]
    launches = Order(place)
    with device.at(place):
        means, sums = device.new_array((groups, dim), real), device.new_array((groups,), real)
        if groups == 0:
            return means, sums
        vectors = [points if each is None else each for each in (points, weights, totals)]
        read = [each if each.dtype == real else copied(each, real) for each in vectors]
    for array in read:
        launches.after(array)
    tables = (np.array([least], real), order.astype(np.int64), ends.astype(np.int64))
    buffers = [each.base_data for each in (means, sums, *read)] + [buffer_with(place, table) for table in tables]
    numbers = (groups, dim, int(weights is not None), int(totals is not None))
    kernel = kernel_of_text(f"#define REAL {TYPES[real.name]}\n{_TEXT}", "means", len(buffers), device)
    launches.launched(kernel(place.queue, (groups * dim,), None, *buffers, *numbers, wait_for=launches.before))
    launches.became([means, sums], read)
    return means, sums

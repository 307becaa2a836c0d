"""Kernels of conjugate gradients on vectors on a device: all of a step but its product is one kernel.

Launches are what small systems wait for, so a kernel does as much as it can. A product takes N^2 steps and all the rest
some N, which one work-group for each index of a batch has done long before the next product would have ended. It adds
up in its local memory, and keeps each system's coefficients in a table on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from clreduce.codegen.facts import DeviceFacts
from clreduce.memo import memoised
from clreduce.runtime.kernel_object import KernelObject
from clreduce.runtime.lent import LentQueue
from clreduce.runtime.resident import TYPES
from clreduce.runtime.resident_kernels import Order, kernel_of_text

THRESHOLD, ALPHA, RZ, STATUS, STEPS = range(5)
"""Rows of the table of coefficients, each with a number for every system. STEPS counts those of a descent."""
START, SYMMETRY, STEP = 0, 1, 7
"""The first records: <r, M r> at the start, or <r, r>; six sums of the second product; three sums of each step."""
RING = 24
"""The number of steps whose records exist at a time."""
RECORDS = STEP + 3 * RING
OFF, ACTIVE, FAILING = range(3)
"""The possible states of a system. A system that fails keeps its direction, so that the host can find the reason."""
_MOST_COLUMNS = 32
"""The most columns of a work-group if columns are separate systems."""
_MOST_COUPLED = 256
"""The most columns whose systems are coupled; they are all in one work-group."""
_GROUP, _SIDE_BY_SIDE = 256, 8


Buffers = tuple[Any, ...]


@dataclass(frozen=True)
class Layout:
    """The distribution of the numbers of vectors (batch.., n, E) to work-items."""

    width: int
    """The number E of columns."""
    chunk: int
    """The columns of a work-group."""
    group: int
    """The work-items of a work-group."""
    lanes: int
    """The numbers that a work-item has at a time."""
    rows: int
    """The rows that a work-group has at a time."""
    coupled: tuple[int, ...] | None
    """The number of the system of each column if systems have several columns, and then ``chunk`` is ``width``; else
    None."""
    real: str
    """The NumPy dtype of vectors."""
    data: str
    """The precision of directions and products."""
    preconditioned: bool
    """Whether residuals are multiplied by the inverse of a diagonal."""
    weighted: bool
    """Whether inner products have weights."""

    @property
    def chunks(self) -> int:
        """Work-groups of an index of the batch."""
        return -(-self.width // self.chunk)


def layout_of(
    facts: DeviceFacts, width: int, coupled: tuple[int, ...] | None, real: str, data: str, preconditioned: bool,
    weighted: bool,
) -> Layout | None:  # fmt: skip
    """The layout for vectors of ``width`` columns; None where too many of them are coupled."""
    if coupled is not None and width > _MOST_COUPLED:
        return None
    chunk = width if coupled is not None else min(width, _MOST_COLUMNS)
    if facts.kind == "cpu":
        group, rows = 1, max(1, _SIDE_BY_SIDE // chunk)
        lanes = rows * chunk
    else:
        group = min(_GROUP, facts.max_group)
        lanes = -(-chunk // group)
        rows = group * lanes // chunk
    return Layout(width, chunk, group, lanes, rows, coupled, real, data, preconditioned, weighted)


class Descent:
    """The kernels for vectors of one shape, on one queue. What they take are buffers, and the vectors begin there.

    ``tables`` are four of them: the inverse of a diagonal, M, and the weights of inner products, as vectors, or any
    buffer where the layout says that there are none; the table of coefficients; and the records that kernels leave.
    """

    def __init__(self, place: LentQueue, layout: Layout, shape: tuple[int, ...]) -> None:
        """``shape`` is the shape (batch.., n, E) of the vectors."""
        self._place, self._source, self._rows = place, _source(layout), shape[-2]
        self._size = (prod(shape[:-2]) * layout.chunks * layout.group,)
        self._group = (layout.group,)

    def begin(self, order: Order, start: object, residual: object, vectors: Buffers, tables: Buffers) -> None:
        """Compute x = ``start``, r = ``residual``, p = M r and the record <r, M r>.

        ``vectors`` are the buffers of x, r and p. A ``start`` of None is zero.
        """
        read = (residual if start is None else start, residual)
        self._run("begin", order, (*read, *vectors, *tables), int(start is None))

    def step(self, order: Order, buffers: Buffers) -> None:
        """Take a step after a product with p.

        ``buffers`` are x, r, p and q (the product of p without alpha p), two more vectors, and the tables. The step
        leaves three records: <p, A p>, and <r, r> and <r, M r> of the new residual. The first step of a descent copies
        p and q to the two vectors.
        """
        self._run("descend", order, buffers)

    def symmetry(self, order: Order, vectors: Buffers, first: Buffers, tables: Buffers) -> None:
        """Six records of directions u in ``first`` and v in ``vectors``, with their products.

        They are <u, A v>, <A u, v>, <u, u>, <A v, A v>, <A u, A u> and <v, v>.
        """
        self._run("symmetry", order, (*first, *vectors, *tables))

    def residual(self, order: Order, b: object, vectors: Buffers, tables: Buffers) -> None:
        """Compute x = p, r = b - A x and the record <r, r>.

        ``vectors`` are the buffers of x, r, p and q, the product of p without alpha p.
        """
        self._run("residual", order, (b, *vectors, *tables))

    def rounded(self, order: Order, x: object, p: object) -> None:
        """Let p be x in the precision of data."""
        self._run("rounded", order, (x, p))

    def _run(self, name: str, order: Order, buffers: Buffers, *numbers: int) -> None:
        kernel = self._kernel(name, len(buffers))
        arguments = (*buffers, self._rows, *numbers)
        order.launched(kernel(self._place.queue, self._size, self._group, *arguments, wait_for=order.before))

    def _kernel(self, name: str, buffers: int) -> KernelObject:
        return kernel_of_text(self._source, name, buffers, self._place.device)


@memoised(64)
def _source(layout: Layout) -> str:
    groups = ", ".join(map(str, layout.coupled or (0,)))
    defines = {
        "REAL": TYPES[layout.real], "DATA": TYPES[layout.data], "WIDTH": layout.width, "CHUNK": layout.chunk,
        "CHUNKS": layout.chunks, "GROUP": layout.group, "LANES": layout.lanes, "ROWS": layout.rows,
        "HALF": 1 << max(layout.rows - 1, 0).bit_length() >> 1,
        "ITEM": 0 if layout.group == 1 else "((int)get_local_id(0))",
        "BARRIER": "" if layout.group == 1 else "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);",
        "WEIGHTED(value)": "((value) * weights[k])" if layout.weighted else "(value)",
        "PRECONDITIONED(value)": "((value) * inverse[k])" if layout.preconditioned else "(value)",
    }  # fmt: skip
    switches = {
        "COUPLED": layout.coupled is not None, "PLAIN": not (layout.preconditioned or layout.weighted),
        "THRESHOLD": THRESHOLD, "ALPHA": ALPHA, "RZ": RZ, "STATUS": STATUS, "OFF": OFF, "ACTIVE": ACTIVE,
        "FAILING": FAILING, "STEPS": STEPS, "START": START, "SYMMETRY": SYMMETRY, "FIRST_STEP": STEP, "RING": RING,
    }  # fmt: skip
    lines = [f"#define {name} {value}" for name, value in defines.items()]
    lines += [f"#define {name} {int(value)}" for name, value in switches.items()]
    return "\n".join(lines) + "\n" + _TEXT.replace("SYSTEM_OF_COLUMN", groups)


_TEXT = """\
#define FOR_LANES for (int l = 0; l < LANES; ++l)
#define LANE (ITEM * LANES + l)
#define COLUMN (LANE % CHUNK < width ? LANE % CHUNK : 0)
#define EACH_NUMBER for (long row = 0; row < n; row += ROWS) FOR_LANES \\
    if (LANE < ROWS * CHUNK && LANE % CHUNK < width && row + LANE / CHUNK < n)
#define PLACE (at + (row + LANE / CHUNK) * WIDTH + LANE % CHUNK)
#define OF_SYSTEM(which) ((which) * systems + number_of_index * WIDTH + first_column + COLUMN)
#define EACH_SYSTEM FOR_LANES if (LANE < width)
#define WORK_GROUP \\
    __local REAL shared[GROUP * LANES]; \\
    const long number_of_index = get_group_id(0) / CHUNKS; \\
    const int first_column = (int)(get_group_id(0) % CHUNKS) * CHUNK; \\
    const int width = min(CHUNK, WIDTH - first_column); \\
    const long at = number_of_index * n * WIDTH + first_column; \\
    const long systems = (long)(get_num_groups(0) / CHUNKS) * WIDTH;
#define TABLES __global const REAL* inverse, __global const REAL* weights, __global REAL* table, __global REAL* records

#if COUPLED
__constant int SYSTEM[WIDTH] = {SYSTEM_OF_COLUMN};
#endif

/* Each lane's number becomes the sum over the rows of its column, or over all columns of its system. */
void add_up(REAL* own, __local REAL* shared, int width)
{
    BARRIER
    FOR_LANES shared[LANE] = own[l];
    for (int half_ = HALF; half_ > 0; half_ >>= 1) {
        BARRIER
        FOR_LANES if (LANE < half_ * CHUNK && LANE + half_ * CHUNK < ROWS * CHUNK)
            shared[LANE] += shared[LANE + half_ * CHUNK];
    }
    BARRIER
    FOR_LANES {
#if COUPLED
        REAL total = 0;
        for (int column = 0; column < WIDTH; ++column)
            if (SYSTEM[column] == SYSTEM[COLUMN]) total += shared[column];
        own[l] = total;
#else
        own[l] = shared[COLUMN];
#endif
    }
}

__kernel void begin(__global const REAL* start, __global const REAL* residual, __global REAL* x, __global REAL* r,
                    __global DATA* p, TABLES, long n, long from_zero)
{
    WORK_GROUP
    REAL rz[LANES];
    int active[LANES];
    FOR_LANES { rz[l] = 0; active[l] = table[OF_SYSTEM(STATUS)] == ACTIVE; }
    EACH_NUMBER {
        const long k = PLACE;
        const REAL rest = residual[k], z = PRECONDITIONED(rest);
        x[k] = from_zero ? 0 : start[k];
        r[k] = rest;
        p[k] = (DATA)(active[l] ? z : 0);
        rz[l] += WEIGHTED(rest * z);
    }
    add_up(rz, shared, width);
    EACH_SYSTEM table[OF_SYSTEM(RZ)] = records[OF_SYSTEM(START)] = rz[l];
}

__kernel void descend(__global REAL* x, __global REAL* r, __global DATA* p, __global const DATA* q,
                      __global DATA* first_p, __global DATA* first_q, TABLES, long n)
{
    WORK_GROUP
    REAL pq[LANES], rr[LANES], rz[LANES], alpha[LANES], length[LANES], turn[LANES], status[LANES];
    const long steps = (long)table[STEPS * systems + number_of_index * WIDTH + first_column];
    FOR_LANES { pq[l] = rr[l] = rz[l] = 0; alpha[l] = table[OF_SYSTEM(ALPHA)]; }
    EACH_NUMBER {
        const long k = PLACE;
        const REAL direction = p[k];
        pq[l] += WEIGHTED(direction * (q[k] + alpha[l] * direction));
    }
    add_up(pq, shared, width);
    FOR_LANES {
        status[l] = table[OF_SYSTEM(STATUS)];
        if (status[l] == ACTIVE && !(pq[l] > 0)) status[l] = FAILING;
        length[l] = status[l] == ACTIVE ? table[OF_SYSTEM(RZ)] / pq[l] : 0;
    }
    EACH_NUMBER {
        const long k = PLACE;
        const REAL direction = p[k];
        const REAL image = q[k] + alpha[l] * direction;
        REAL rest = r[k];
        if (steps == 0) { first_p[k] = p[k]; first_q[k] = q[k]; }
        if (status[l] == ACTIVE) {
            x[k] += length[l] * direction;
            r[k] = rest = rest - length[l] * image;
        }
        rr[l] += rest * rest;
#if !PLAIN
        rz[l] += WEIGHTED(rest * PRECONDITIONED(rest));
#endif
    }
    add_up(rr, shared, width);
#if PLAIN
    FOR_LANES rz[l] = rr[l];
#else
    add_up(rz, shared, width);
#endif
    FOR_LANES {
        if (status[l] == ACTIVE && !(rr[l] > table[OF_SYSTEM(THRESHOLD)])) status[l] = OFF;
        turn[l] = status[l] == ACTIVE ? rz[l] / table[OF_SYSTEM(RZ)] : 0;
    }
    EACH_NUMBER {
        const long k = PLACE;
        if (status[l] == ACTIVE) p[k] = (DATA)(PRECONDITIONED(r[k]) + turn[l] * p[k]);
        else if (status[l] == OFF) p[k] = 0;
    }
    BARRIER
    const long record = FIRST_STEP + 3 * (steps % RING);
    EACH_SYSTEM {
        if (status[l] == ACTIVE) table[OF_SYSTEM(RZ)] = rz[l];
        table[OF_SYSTEM(STATUS)] = status[l];
        table[OF_SYSTEM(STEPS)] = steps + 1;
        records[OF_SYSTEM(record)] = pq[l];
        records[OF_SYSTEM(record + 1)] = rr[l];
        records[OF_SYSTEM(record + 2)] = rz[l];
    }
}

__kernel void symmetry(__global const DATA* first_p, __global const DATA* first_q, __global const DATA* p,
                       __global const DATA* q, TABLES, long n)
{
    WORK_GROUP
    REAL straight[LANES], turned[LANES], u_u[LANES], Au_Au[LANES], v_v[LANES], Av_Av[LANES], alpha[LANES];
    FOR_LANES {
        straight[l] = turned[l] = u_u[l] = Au_Au[l] = v_v[l] = Av_Av[l] = 0;
        alpha[l] = table[OF_SYSTEM(ALPHA)];
    }
    EACH_NUMBER {
        const long k = PLACE;
        const REAL u = first_p[k], v = p[k];
        const REAL Au = first_q[k] + alpha[l] * u, Av = q[k] + alpha[l] * v;
        straight[l] += WEIGHTED(u * Av);
        turned[l] += WEIGHTED(Au * v);
        u_u[l] += WEIGHTED(u * u);
        Av_Av[l] += WEIGHTED(Av * Av);
        Au_Au[l] += WEIGHTED(Au * Au);
        v_v[l] += WEIGHTED(v * v);
    }
    add_up(straight, shared, width);
    add_up(turned, shared, width);
    add_up(u_u, shared, width);
    add_up(Av_Av, shared, width);
    add_up(Au_Au, shared, width);
    add_up(v_v, shared, width);
    EACH_SYSTEM {
        records[OF_SYSTEM(SYMMETRY + 0)] = straight[l];
        records[OF_SYSTEM(SYMMETRY + 1)] = turned[l];
        records[OF_SYSTEM(SYMMETRY + 2)] = u_u[l];
        records[OF_SYSTEM(SYMMETRY + 3)] = Av_Av[l];
        records[OF_SYSTEM(SYMMETRY + 4)] = Au_Au[l];
        records[OF_SYSTEM(SYMMETRY + 5)] = v_v[l];
    }
}

__kernel void rounded(__global const REAL* x, __global DATA* p, long n)
{
    WORK_GROUP
    EACH_NUMBER { const long k = PLACE; p[k] = (DATA)x[k]; }
}

__kernel void residual(__global const REAL* b, __global REAL* x, __global REAL* r, __global const DATA* p,
                       __global const DATA* q, TABLES, long n)
{
    WORK_GROUP
    REAL rr[LANES], alpha[LANES];
    FOR_LANES { rr[l] = 0; alpha[l] = table[OF_SYSTEM(ALPHA)]; }
    EACH_NUMBER {
        const long k = PLACE;
        const REAL exact = p[k], rest = b[k] - (q[k] + alpha[l] * exact);
        x[k] = exact;
        r[k] = rest;
        rr[l] += rest * rest;
    }
    add_up(rr, shared, width);
    EACH_SYSTEM records[OF_SYSTEM(START)] = rr[l];
}
"""

"""A check of a kernel's statements: every name is declared, every type is right, and every index is in its array.

`check_kernel` finds the errors that compilers of drivers would find, and some that they would not find: mixed
precisions, and loops that leave their arrays. It runs on all kernels in the tests, and on all kernels of a program that
shows messages of level DEBUG.
"""

from __future__ import annotations

from collections.abc import Sequence

from clreduce.codegen.check_expressions import INT, NOTHING, Declared, Expressions, KernelTextError, Type
from clreduce.codegen.frame import (
    AT,
    BATCH,
    COLUMNS,
    END_PIECE,
    END_ROW,
    FIRST_COLUMN,
    FIRST_PIECE,
    FIRST_ROW,
    IN_TILE,
    PARTS,
    RESUMES,
    ROOTS,
    ROWS,
    TASK,
    TILE_BEGIN,
    TILE_END,
    J,
    count,
    out_row,
    row,
    wanted,
)
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.printing import text
from clreduce.codegen.schedule import LOCAL
from clreduce.codegen.tree import (
    Array,
    Assign,
    Declare,
    Expression,
    If,
    Let,
    Literal,
    Loop,
    Name,
    Run,
    Statement,
    Subscript,
)


def check_kernel(kernel: Kernel) -> None:
    """Raise `KernelTextError` unless all statements of ``kernel`` are consistent."""
    _Check(kernel).stages()


class _Check(Expressions):
    """The checks of the stages of a kernel, in the order and with the names of its template."""

    def stages(self) -> None:
        kernel = self.kernel
        for argument in kernel.arguments:
            self.declare(argument.name, Declared(self.pointer(argument.type), assigned=True))
        self.framed(ROWS)
        if kernel.template == "merge":
            self.framed(RESUMES if kernel.joined else FIRST_COLUMN, PARTS)
        elif kernel.template != "map" and not kernel.task:
            self.framed(COLUMNS)
        if kernel.batch:
            self.framed(BATCH)
        self.framed(*(Name(name, "long") for name in kernel.origin))
        self.block(kernel.batch)
        if kernel.task:
            self.framed(TASK, FIRST_ROW, END_ROW)
            if kernel.template != "map":
                self.framed(FIRST_PIECE, END_PIECE)
        if kernel.reads_roots:
            if kernel.template != LOCAL:
                self.fail("a table in local memory, which this loop shape does not have")
            self.framed(ROOTS)
        for r in range(kernel.rows):
            self.framed(wanted(r), row(r), count(r))
        for stage in (kernel.once, kernel.per_i, kernel.state):
            self.block(stage)
        if kernel.template == "merge":
            self.scopes.append({})
            for n, argument in enumerate(kernel.arguments[: kernel.joined]):
                self.declare(f"state{n}", Declared(self.pointer(argument.type)))
            self.inner(kernel.body, AT)
            self.scopes.pop()
        elif kernel.template != "map":
            self._visit_columns()
        for r, stage in enumerate(kernel.finish):
            self.inner(stage, out_row(r))

    def _visit_columns(self) -> None:
        kernel = self.kernel
        self.scopes.append({})
        self.framed(TILE_BEGIN)
        self.declare(TILE_END.name, Declared(self.meaning(TILE_END.type), assigned=bool(kernel.tile_start)))
        staged = [column for column in kernel.column_inputs if column.staged]
        for column in staged:
            self.declare(f"{column.name}_tile", Declared(self.pointer(column.type), length=kernel.tile * column.dim))
        self.block_columns = kernel.cols
        self.block(kernel.tile_start)
        self.block(kernel.reset)
        self.type_of(kernel.first_column)
        in_block = (J, IN_TILE) if kernel.template == LOCAL else (J,)
        self.inner(kernel.body, *in_block)
        self.block_columns = 1
        self.inner(kernel.tail, *in_block)
        self.block(kernel.flush)
        self.scopes.pop()
        self.block(kernel.drain)

    def inner(self, statements: Sequence[Statement], *framed: Name) -> None:
        """Check statements in a separate scope, in which the template declares the names ``framed``."""
        self.scopes.append({})
        self.framed(*framed)
        self.block(statements)
        self.scopes.pop()

    def block(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            self.statement = statement
            match statement:
                case Let(name, value) | Declare(name, value):
                    self.must_fit(self.type_of(value), self.meaning(name.type))
                    length = self.column_lengths.get(name.name)
                    self.declare(
                        name.name,
                        Declared(
                            self.meaning(name.type),
                            assigned=isinstance(statement, Declare),
                            length=length and length * self.block_columns,
                        ),
                    )
                case Array(name, size, fill, values):
                    for entry in values if fill is None else (fill, *values):
                        self.must_fit(self.type_of(entry), self.meaning(name.type))
                    if size < 1 or (values and len(values) != size):
                        self.fail(f"{name.name} has {size} entries, and {len(values)} values")
                    self.declare(name.name, Declared(self.pointer(name.type), not values, size))
                case Assign(target, value):
                    self.must_fit(self.type_of(value), self.type_of(target))
                    root = target.array if isinstance(target, Subscript) else target
                    if isinstance(root, Name) and not self.lookup(root.name).assigned:
                        self.fail(f"{root.name} is a constant")
                case Run(call):
                    if self.type_of(call) != NOTHING:
                        self.fail(f"the result of {call.function} is not used")
                case Loop(variable, start, stop, body):
                    self._loop(variable, start, stop, body)
                case If(condition, body):
                    if self.type_of(condition) not in (INT, Type("long")):
                        self.fail(f"{text(condition)} is no condition")
                    self.inner(body)
            self.statement = statement

    def _loop(self, variable: Name, start: Expression, stop: Expression, body: Sequence[Statement]) -> None:
        self.must_fit(self.type_of(start), INT)
        self.must_fit(self.type_of(stop), INT)
        within = None
        if isinstance(start, Literal) and isinstance(stop, Literal):
            within = (int(start.text), int(stop.text) - 1)
            if within[0] > within[1]:
                self.fail("the loop has no turn")
        self.scopes.append({})
        self.declare(variable.name, Declared(INT, range=within))
        self.block(body)
        self.scopes.pop()


__all__ = ["KernelTextError", "check_kernel"]

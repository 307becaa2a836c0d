"""The prefilter of K nearest lists: it finds the first term (in the list's order) of each block of columns of a tile
before any term enters a list.

Without it, an empty list takes K (1 + log(N / K)) of N terms in random order, and drops all but K of them; it takes all
terms in falling order. But if K chunks of columns have a first term up to some limit, the K first terms are up to that
limit, too. No other term needs to enter, and a block whose first term lies beyond the limit need not be visited. For
short formulas, computing the terms of the remaining blocks again costs less than the saved insertions. The limit is
searched among chunks of several blocks, because there are fewer chunks.

Once the lists have settled, columns in random order hardly have a term that enters, and a prefilter would cost more
than it saves. So it is left out after a tile in which few chunks begin with such a term. If many terms enter a tile
without prefilter, as with terms in falling order, the tile ends there, and the next one is filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clreduce.codegen.frame import TILE_BEGIN, TILE_END, J
from clreduce.codegen.queue import Queue
from clreduce.codegen.schedule import PREFILTERED, VISITED
from clreduce.codegen.sorting import LimitFacts
from clreduce.codegen.tree import (
    Array,
    Assign,
    Binary,
    Comment,
    Declare,
    Expression,
    FunctionCall,
    If,
    Let,
    Loop,
    Name,
    Select,
    Statement,
    Subscript,
    Unary,
    cast,
    joined,
    number,
    plus,
    times,
)
from clreduce.domain import Domain
from clreduce.ir.expr import REAL, Expr
from clreduce.ir.op import variable

_WORTHWHILE = 2
"""The prefilter pays if there are this many chunks per term of a list: a lane then needs at most half of them."""
_MANY = 2
"""If this many terms per term of a list enter in a tile, a prefilter would have paid."""
_PLENTY = 8
"""With this many chunks per term of a list, few more terms than needed are up to the limit: 7 in 100 for columns in
random order. In ordered data, where the first terms are adjacent, longer chunks let more unneeded terms pass."""
_TOGETHER = 64
"""The number of blocks whose numbers are collected together."""

_FILTERS, _FILTERED = Name("filters", "int"), Name("filtered", "int")
"""Whether the next tile is filtered, and whether this one is."""
_CHUNKS, _BLOCKS = Name("chunks", "int"), Name("blocks", "int")
"""The numbers of chunks and of blocks in the filtered part of the tile."""
FILTERED_END = Name("filtered_end", "long")
"""The column after the filtered part. From here on, columns are visited block by block."""
_MANY_ENTER, _ENTERED = Name("many", "int"), Name("entered", "int")
_CHUNK, _BLOCK, _VISIT = Name("chunk", "int"), Name("block", "int"), Name("visit", "int")
_WANTED, _COUNT = Name("wanted", "int"), Name("passing", "int")
"""The numbers of the blocks to visit, and how many there are."""
_COLLECTED, _TAKEN, _VISITED = Name("collected", "int"), Name("taken", "int"), Name("visited", "int")

Columns = Callable[[Expression], "tuple[Statement, ...]"]
"""A function that declares the columns of the block with a given number in the tile."""


class Prefilter:
    """The names and statements of the prefilter, for each row of the register tile.

    ``last`` has the last term of the list of each row. A chunk consists of ``blocks`` blocks of ``cols`` columns.
    """

    stem = "limit"

    def __init__(self, neutral: float, count: int, blocks: int, cols: int, last: Sequence[Expression]) -> None:
        self.rising, self.count, self.blocks, self.cols, self.last = neutral > 0, count, blocks, cols, tuple(last)
        self.rows = range(len(last))
        self._before = "<" if self.rising else ">"

    @property
    def tile(self) -> int:
        """The number of columns of a tile."""
        return self.blocks * self.cols * PREFILTERED

    @property
    def facts(self) -> LimitFacts:
        return LimitFacts(self.count, _MANY * self.count, _PLENTY * self.count, self.rising)

    @classmethod
    def limit(cls, r: int) -> Name:
        """The limit of row r: only terms before it may enter the list."""
        return Name(f"{cls.stem}_{r}", "realv")

    def stands_for(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        """A state with the limit in place of the list, for the reduction's guard, which reads the last term only."""
        return variable((self.stem, version), state[0].dim, Domain.IJ, REAL), *state[1:]

    def lowered(self, r: int) -> Statement:
        """The statement that lowers the limit to the last term of the list, if that comes before the limit."""
        return self._first_of_two(self.last[r], self.limit(r))

    def entered(self, together: int, cols: int) -> Statement:
        """The statement after up to ``together`` terms of a block of ``cols`` columns have entered a list.

        If too many terms have entered in a tile without prefilter, the tile ends and the next one is filtered.
        """
        most = -(-_MANY * self.count // together)
        ended = Assign(_FILTERS, number(1)), Assign(TILE_END, plus(J, number(cols)))
        counted = Assign(_ENTERED, plus(_ENTERED, number(1))), If(Binary("==", _ENTERED, number(most)), ended)
        return If(Binary("==", _CHUNKS, number(0)), counted)

    def declarations(self, queue: Queue | None) -> tuple[Statement, ...]:
        """The arrays of the first terms of blocks and chunks, and of the terms and marks of blocks that are visited
        together."""
        statements: list[Statement] = []
        for r in self.rows:
            statements += [Array(self._firsts(r), self.blocks * PREFILTERED), Array(self._heads(r), PREFILTERED)]
            if queue is not None:
                statements.append(Array(self._terms(r), VISITED * self.cols))
                statements.append(Array(self._marks(r), VISITED * queue.words(self.cols)))
        return (*statements, Declare(_FILTERS, number(1)))

    def first_terms(
        self, columns: Columns, terms: Sequence[tuple[Expression, int]], computed: Sequence[Statement]
    ) -> tuple[Statement, ...]:  # fmt: skip
        """The statements that find the first terms of blocks and chunks, and the limits that follow from them.

        ``computed`` are the statements that compute the ``terms`` of a block; each term has the number of its row.
        """
        chunk, cols = self.blocks * self.cols, self.cols
        length = Binary("-", TILE_END, TILE_BEGIN)
        worthwhile = Binary(">=", length, number(chunk * self.count * _WORTHWHILE))
        all_chunks = cast("int", Binary("/", length, number(chunk)))
        block: tuple[Statement, ...] = (
            *columns(_BLOCK),
            *(Declare(self._first(r), self.last[r]) for r in self.rows),
            *computed,
            *(self._first_of_two(term, self._first(r)) for term, r in terms),
            *(Assign(Subscript(self._firsts(r), _BLOCK), self._first(r)) for r in self.rows),
            *(self._first_of_two(self._first(r), self._head(r)) for r in self.rows),
        )
        start = times(_CHUNK, number(self.blocks))
        of_chunk: tuple[Statement, ...] = (
            *(Declare(self._head(r), self.last[r]) for r in self.rows),
            Loop(_BLOCK, start, plus(start, number(self.blocks)), block),
            *(Assign(Subscript(self._heads(r), _CHUNK), self._head(r)) for r in self.rows),
        )
        return (
            Comment(
                f"Of each block of {cols} columns the first term, and of each chunk of {chunk}; the last that is kept,"
                " if that comes before. Not infinity: compilers see in `x < infinity ? x : infinity` no minimum, and"
                " take two instructions for it."
            ),
            Let(_FILTERED, Binary("&&", _FILTERS, worthwhile)),
            Let(_CHUNKS, Select(_FILTERED, all_chunks, number(0))),
            Let(_BLOCKS, times(_CHUNKS, number(self.blocks))),
            Let(FILTERED_END, plus(TILE_BEGIN, times(_CHUNKS, number(chunk)))),
            Loop(_CHUNK, number(0), _CHUNKS, of_chunk),
            Declare(_MANY_ENTER, number(0)),
            Declare(_ENTERED, number(0)),
            *(Declare(self.limit(r), self._limit_of_firsts(r)) for r in self.rows),
            Assign(_FILTERS, Select(_FILTERED, _MANY_ENTER, _FILTERS)),
        )

    def _limit_of_firsts(self, r: int) -> Expression:
        return FunctionCall("limit_of", (self._heads(r), _CHUNKS, self.last[r], Unary("&", _MANY_ENTER)), "realv")

    def visits(self, columns: Columns, visit: Sequence[Statement], enter: Sequence[Statement]) -> tuple[Statement, ...]:
        """Visits to the blocks of the filtered part whose first term comes before a limit.

        ``visit`` are the statements for a block of columns. ``enter``, if any, moves the terms of a visited block to
        the queue without reading its columns; it runs after some blocks have been visited.
        """
        in_row = [Binary(self._before, Subscript(self._firsts(r), _BLOCK), self.limit(r)) for r in self.rows]
        any_row = [FunctionCall("ANY", (mask,), "int") for mask in in_row]
        end = Name("end", "int")
        collect = (
            Assign(Subscript(_WANTED, _COUNT), _BLOCK),
            Assign(_COUNT, plus(_COUNT, joined("||", any_row))),
        )
        numbers = (
            Declare(_COUNT, number(0)),
            Let(end, _least(plus(_COLLECTED, number(_TOGETHER)), _BLOCKS)),
            Loop(_BLOCK, _COLLECTED, end, collect),
        )
        if enter:
            taken = columns(Subscript(_WANTED, plus(_TAKEN, _VISIT)))
            some = (
                Let(_VISITED, _least(Binary("-", _COUNT, _TAKEN), number(VISITED))),
                Loop(_VISIT, number(0), _VISITED, (*taken, *visit)),
                Loop(_VISIT, number(0), _VISITED, (taken[0], *enter)),
            )
            visits = Loop(_TAKEN, number(0), _COUNT, some, step=VISITED)
        else:
            visits = Loop(_TAKEN, number(0), _COUNT, (*columns(Subscript(_WANTED, _TAKEN)), *visit))
        return (
            Comment(
                "Blocks of the filtered part, some at a time: their numbers are collected without a branch for each."
            ),
            Array(_WANTED, _TOGETHER),
            Loop(_COLLECTED, number(0), _BLOCKS, (*numbers, visits), step=_TOGETHER),
        )

    def term(self, r: int, c: int) -> Subscript:
        """The term of column c of the current visit."""
        return Subscript(self._terms(r), self._of_visit(self.cols, c))

    def terms_from(self, r: int, start: int) -> Expression:
        """The terms of the current visit from column ``start`` on."""
        return plus(plus(self._terms(r), times(_VISIT, number(self.cols))), number(start))

    def marks(self, r: int, words: int, word: int) -> Subscript:
        """The word number ``word`` of the marks of the current visit."""
        return Subscript(self._marks(r), self._of_visit(words, word))

    @staticmethod
    def _of_visit(count: int, n: int) -> Expression:
        return plus(times(_VISIT, number(count)), number(n))

    def _first_of_two(self, term: Expression, first: Name) -> Statement:
        """The statement that sets ``first`` to ``term`` if the term comes before it; nan is ignored."""
        return Assign(first, Select(Binary(self._before, term, first), term, first))

    def _first(self, r: int) -> Name:
        return Name(f"first_{r}", "realv")

    def _head(self, r: int) -> Name:
        return Name(f"head_{r}", "realv")

    def _firsts(self, r: int) -> Name:
        return Name(f"firsts_{r}", "realv")

    def _heads(self, r: int) -> Name:
        return Name(f"heads_{r}", "realv")

    def _terms(self, r: int) -> Name:
        return Name(f"terms_{r}", "realv")

    def _marks(self, r: int) -> Name:
        return Name(f"marks_{r}", "marks")


def _least(left: Expression, right: Expression) -> FunctionCall:
    return FunctionCall("min", (left, right), "int")

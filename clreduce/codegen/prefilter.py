"""The prefilter of K nearest lists. Before any term of a tile enters a list, the first term (in the list's order) of
each block of columns is found.

A list that begins empty takes in K (1 + log(N / K)) of N terms in random order, and loses all but K of them; of terms
in falling order, all. But if K chunks of columns have a first term up to some limit, then so have the K first terms: no
other need enter, and a block whose first term lies beyond need not be visited. Computing terms of short formulas again,
in the few blocks that are left, costs less than what the lists would have taken in. The limit is searched among chunks
of several blocks, for there are fewer of those.

Once the lists have settled, columns in random order hold hardly a term that enters, and a prefilter would cost more
than it saves: it is left out after a tile where few chunks begin with one. Where many terms enter all the same, as if
they are in falling order, the tile ends there, and the next one is filtered again.
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
    Call,
    Comment,
    Declare,
    Expression,
    If,
    Index,
    Let,
    Loop,
    Name,
    Select,
    Statement,
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
"""Chunks per term of a list from which on a prefilter is worth it: a lane needs no more than half of them then."""
_MANY = 2
"""Terms that enter in a tile, per term of a list, from which on a prefilter would have been worth it."""
_PLENTY = 8
"""Chunks per term of a list that leave a limit few terms beyond those that are kept: of columns in random order, 7 in
100. Where the first terms stand side by side, as in ordered data, longer chunks have more that are not among them."""
_TOGETHER = 64
"""Blocks whose numbers are collected together."""

_FILTERS, _FILTERED = Name("filters", "int"), Name("filtered", "int")
"""Whether the next tile is filtered, and whether this one is."""
_CHUNKS, _BLOCKS = Name("chunks", "int"), Name("blocks", "int")
"""Of the part of the tile that is filtered."""
FILTERED_END = Name("filtered_end", "long")
"""The column after that part: from here on, columns are visited one block after the other."""
_MANY_ENTER, _ENTERED = Name("many", "int"), Name("entered", "int")
_CHUNK, _BLOCK, _VISIT = Name("chunk", "int"), Name("block", "int"), Name("visit", "int")
_WANTED, _COUNT = Name("wanted", "int"), Name("passing", "int")
"""The numbers of the blocks that are visited, and how many there are."""
_COLLECTED, _TAKEN, _VISITED = Name("collected", "int"), Name("taken", "int"), Name("visited", "int")

Columns = Callable[[Expression], "tuple[Statement, ...]"]
"""What declares the columns of the block that has a given number within the tile."""


class Prefilter:
    """Names and statements of the prefilter, for each row of the register tile.

    ``last``: the last term of the list of each of them; ``blocks``: blocks of ``cols`` columns in a chunk.
    """

    stem = "limit"

    def __init__(self, neutral: float, count: int, blocks: int, cols: int, last: Sequence[Expression]) -> None:
        self.rising, self.count, self.blocks, self.cols, self.last = neutral > 0, count, blocks, cols, tuple(last)
        self.rows = range(len(last))
        self._before = "<" if self.rising else ">"

    @property
    def tile(self) -> int:
        """Columns in a tile."""
        return self.blocks * self.cols * PREFILTERED

    @property
    def facts(self) -> LimitFacts:
        return LimitFacts(self.count, _MANY * self.count, _PLENTY * self.count, self.rising)

    @classmethod
    def limit(cls, r: int) -> Name:
        """What terms of row r must come before to enter its list."""
        return Name(f"{cls.stem}_{r}", "realv")

    def stands_for(self, state: tuple[Expr, ...], version: int) -> tuple[Expr, ...]:
        """A state for the reduction's guard, which reads the last term of its list only: here the limit."""
        return variable((self.stem, version), state[0].dim, Domain.IJ, REAL), *state[1:]

    def lowered(self, r: int) -> Statement:
        """The limit after terms have entered a list: its last one, if that comes before."""
        return self._first_of_two(self.last[r], self.limit(r))

    def entered(self, together: int, cols: int) -> Statement:
        """After up to ``together`` terms of a block of ``cols`` columns have entered a list of a tile that was not
        filtered: if they are too many for that, the tile ends, and the next one is."""
        most = -(-_MANY * self.count // together)
        ended = Assign(_FILTERS, number(1)), Assign(TILE_END, plus(J, number(cols)))
        counted = Assign(_ENTERED, plus(_ENTERED, number(1))), If(Binary("==", _ENTERED, number(most)), ended)
        return If(Binary("==", _CHUNKS, number(0)), counted)

    def declarations(self, queue: Queue | None) -> tuple[Statement, ...]:
        """First terms of blocks and of chunks; the terms of the blocks that are visited together, with their marks."""
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
        """The first terms of blocks and chunks, and the limits that follow from them.

        ``computed``: the statements that compute the ``terms`` of a block, each of a row.
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
            *(Assign(Index(self._firsts(r), _BLOCK), self._first(r)) for r in self.rows),
            *(self._first_of_two(self._first(r), self._head(r)) for r in self.rows),
        )
        start = times(_CHUNK, number(self.blocks))
        of_chunk: tuple[Statement, ...] = (
            *(Declare(self._head(r), self.last[r]) for r in self.rows),
            Loop(_BLOCK, start, plus(start, number(self.blocks)), block),
            *(Assign(Index(self._heads(r), _CHUNK), self._head(r)) for r in self.rows),
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
        return Call("limit_of", (self._heads(r), _CHUNKS, self.last[r], Unary("&", _MANY_ENTER)), "realv")

    def visits(self, columns: Columns, visit: Sequence[Statement], enter: Sequence[Statement]) -> tuple[Statement, ...]:
        """Visits to the blocks of the part that was filtered whose first term comes before a limit.

        ``visit``: what is done with a block of columns. With ``enter``, which does not read the columns, some blocks
        are visited first, and what they hold enters then.
        """
        in_row = [Binary(self._before, Index(self._firsts(r), _BLOCK), self.limit(r)) for r in self.rows]
        any_row = [Call("ANY", (mask,), "int") for mask in in_row]
        end = Name("end", "int")
        collect = (
            Assign(Index(_WANTED, _COUNT), _BLOCK),
            Assign(_COUNT, plus(_COUNT, joined("||", any_row))),
        )
        numbers = (
            Declare(_COUNT, number(0)),
            Let(end, _least(plus(_COLLECTED, number(_TOGETHER)), _BLOCKS)),
            Loop(_BLOCK, _COLLECTED, end, collect),
        )
        if enter:
            taken = columns(Index(_WANTED, plus(_TAKEN, _VISIT)))
            some = (
                Let(_VISITED, _least(Binary("-", _COUNT, _TAKEN), number(VISITED))),
                Loop(_VISIT, number(0), _VISITED, (*taken, *visit)),
                Loop(_VISIT, number(0), _VISITED, (taken[0], *enter)),
            )
            visits = Loop(_TAKEN, number(0), _COUNT, some, step=VISITED)
        else:
            visits = Loop(_TAKEN, number(0), _COUNT, (*columns(Index(_WANTED, _TAKEN)), *visit))
        return (
            Comment(
                "Blocks of the filtered part, some at a time: their numbers are collected without a branch for each."
            ),
            Array(_WANTED, _TOGETHER),
            Loop(_COLLECTED, number(0), _BLOCKS, (*numbers, visits), step=_TOGETHER),
        )

    def term(self, r: int, c: int) -> Index:
        """The term of column c of the visit that is under way."""
        return Index(self._terms(r), self._of_visit(self.cols, c))

    def terms_from(self, r: int, start: int) -> Expression:
        """The terms of that visit from its column ``start`` on."""
        return plus(plus(self._terms(r), times(_VISIT, number(self.cols))), number(start))

    def marks(self, r: int, words: int, word: int) -> Index:
        """The marks number ``word`` of that visit."""
        return Index(self._marks(r), self._of_visit(words, word))

    @staticmethod
    def _of_visit(count: int, n: int) -> Expression:
        return plus(times(_VISIT, number(count)), number(n))

    def _first_of_two(self, term: Expression, first: Name) -> Statement:
        """``first`` is the term, if that comes before; nan is passed over."""
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


def _least(left: Expression, right: Expression) -> Call:
    return Call("min", (left, right), "int")

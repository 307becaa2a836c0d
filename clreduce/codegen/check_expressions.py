"""The types of a kernel's expressions for its precision and its lanes; a part of `check_kernel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clreduce.codegen.frame import ROOTS
from clreduce.codegen.kernel import Kernel
from clreduce.codegen.printing import text
from clreduce.codegen.sorting import Sorting
from clreduce.codegen.tree import (
    COMPARISONS,
    LOGICAL,
    Binary,
    Cast,
    Expression,
    FunctionCall,
    Literal,
    Load,
    Name,
    Place,
    Select,
    Statement,
    Subscript,
    Unary,
)
from clreduce.errors import ClreduceError
from clreduce.ir.index import Index as RangedIndex
from clreduce.ir.index import Position, bounds

_WHOLE = {"int": 1, "long": 2}
"""The integer types, in order of their sizes."""
_BITS_OF_LANES = {"float": "int", "double": "long", "int": "int", "long": "long"}
"""The integer type that a comparison of lanes gives, by the base type of the lanes."""
_OF_OPENCL = {"sqrt": 1, "fabs": 1, "fmin": 2, "fmax": 2} | {
    f"native_{name}": 1 for name in ("exp2", "recip", "sqrt", "rsqrt")
}
"""Functions of OpenCL C that operations call, with the number of arguments. Arguments and results have one type."""


class KernelTextError(ClreduceError, RuntimeError):
    """Raised for inconsistent statements in a kernel, which are a bug in clreduce."""


@dataclass(frozen=True)
class Type:
    """The meaning of a type name of a tree in one kernel."""

    base: str
    """``float``, ``double``, ``int``, ``long``, ``marks``; "" for no value."""
    lanes: int = 1
    pointers: int = 0

    def __str__(self) -> str:
        return self.base + (str(self.lanes) if self.lanes > 1 else "") + "*" * self.pointers

    @property
    def whole(self) -> bool:
        return self.base in _WHOLE and not self.pointers


INT, NOTHING = Type("int"), Type("")


@dataclass(frozen=True)
class Declared:
    """The properties of a declared name."""

    type: Type
    """The type; for an array, a pointer to the type of its entries."""
    assigned: bool = False
    """Whether statements may assign it."""
    length: int | None = None
    """The number of entries of an array or behind a pointer, if it is known."""
    range: tuple[int, int] | None = None
    """The lowest and highest value of a loop variable, if they are known."""


class Expressions:
    """The names that are declared at the current statement, innermost scope last, and the types of expressions."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        inum = {"float": "int", "double": "long"}[kernel.dtype]
        self.named = {
            "real": Type(kernel.dtype), "realv": Type(kernel.dtype, kernel.lanes),
            "inum": Type(inum), "inumv": Type(inum, kernel.lanes),
            "wide": Type("double"), "widev": Type("double", kernel.lanes),
            "wnum": Type("long"), "wnumv": Type("long", kernel.lanes),
            "int": INT, "long": Type("long"), "marks": Type("marks"), "": NOTHING,
            "uint2": Type("uint2"),
        }  # fmt: skip
        self.scopes: list[dict[str, Declared]] = [{}]
        self.statement: Statement | None = None
        self.column_lengths = {f"{column.name}_j": column.dim for column in kernel.column_inputs}
        """The numbers per column behind each pointer to a block of columns."""
        self.block_columns = kernel.cols
        self.signatures = self._signatures()

    def framed(self, *names: Name) -> None:
        """Declare names that the template declares."""
        for name in names:
            self.declare(name.name, Declared(self.meaning(name.type)))

    def declare(self, name: str, declared: Declared) -> None:
        if any(name in scope for scope in self.scopes):
            self.fail(f"{name} is declared already")
        self.scopes[-1][name] = declared

    def lookup(self, name: str) -> Declared:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        raise self.fault(f"{name} is not declared here")

    def fail(self, what: str) -> None:
        raise self.fault(what)

    def fault(self, what: str) -> KernelTextError:
        at = "" if self.statement is None else f", in {self.statement!r}"
        return KernelTextError(f"the kernel {self.kernel.name} is put together wrongly: {what}{at}")

    def meaning(self, kind: str) -> Type:
        """The type that a type name of the tree means in this kernel."""
        pointers = kind.count("*")
        name = kind.replace("*", "").replace("const ", "").replace("__global ", "").replace("__local ", "").strip()
        if name not in self.named:
            self.fail(f"{kind} is no type")
        plain = self.named[name]
        return Type(plain.base, plain.lanes, pointers)

    def pointer(self, kind: str) -> Type:
        plain = self.meaning(kind)
        return Type(plain.base, plain.lanes, plain.pointers + 1)

    def must_fit(self, value: Type, wanted: Type) -> None:
        """Fail unless a value has the ``wanted`` type, or is an integer that fits into it."""
        if value == wanted:
            return
        whole = value.whole and wanted.whole and value.lanes == wanted.lanes == 1
        if not whole or _WHOLE[value.base] > _WHOLE[wanted.base]:
            self.fail(f"{value} is given where {wanted} is needed")

    def type_of(self, expression: Expression) -> Type:
        """The type of an expression in this kernel; fails if any of its parts is inconsistent."""
        match expression:
            case Name(name, kind):
                declared = self.lookup(name)
                meant = self.meaning(kind)
                if meant != declared.type and Type(meant.base, meant.lanes, meant.pointers + 1) != declared.type:
                    self.fail(f"{name} is read as {meant} and declared as {declared.type}")
                return declared.type
            case Literal(_, kind):
                return self.meaning(kind)
            case Place(position):
                self._check_position(position)
                return INT
            case Unary(operator, argument):
                return self._unary(operator, argument)
            case Binary():
                return self._binary(expression)
            case Select(condition, positive, negative):
                mask, result = self.type_of(condition), self.together(positive, negative)
                if not mask.whole or (mask.lanes > 1 and mask != self._mask_of(result)):
                    self.fail(f"{text(condition)} of type {mask} does not choose between values of type {result}")
                return result
            case Cast(kind, arguments):
                return self._cast(self.meaning(kind), arguments)
            case Subscript(array, at):
                return self._index(array, at)
            case Load(pointer, _, count, kind):
                loaded = self.meaning(kind)
                element = Type("long", 1, 1) if loaded.whole else Type(loaded.base, 1, 1)
                self.must_fit(self.type_of(pointer), element)
                self.must_fit(self.type_of(count), INT)
                return loaded
            case FunctionCall(function, arguments, kind):
                return self._call(function, [self.type_of(argument) for argument in arguments], self.meaning(kind))

    def together(self, left: Expression, right: Expression) -> Type:
        """The common type of two operands; fails if there is none."""
        return self._common(left, self.type_of(left), right, self.type_of(right))

    def _common(self, left: Expression, a: Type, right: Expression, b: Type) -> Type:
        if a.pointers or b.pointers:
            self.fail(f"{text(left)} of type {a} and {text(right)} of type {b} are no numbers")
        if a == b:
            return a
        if a.lanes == 1 and b.lanes == 1 and a.whole:
            return b if b.base != "int" else a
        if a.lanes == 1 and b.lanes == 1 and b.whole:
            return a
        if 1 in (a.lanes, b.lanes) and a.base == b.base:
            return a if b.lanes == 1 else b
        if (a.lanes == 1 and isinstance(left, Literal) and a == INT) or (
            b.lanes == 1 and isinstance(right, Literal) and b == INT
        ):
            return b if a == INT else a
        raise self.fault(f"{text(left)} is of type {a}, and {text(right)} of type {b}")

    def _unary(self, operator: str, argument: Expression) -> Type:
        kind = self.type_of(argument)
        if operator == "&":
            return Type(kind.base, kind.lanes, kind.pointers + 1)
        if operator == "*" and kind.pointers:
            return Type(kind.base, kind.lanes, kind.pointers - 1)
        if kind.pointers or operator == "*" or (operator == "~" and not kind.whole):
            self.fail(f"{operator} of {text(argument)}, which is of type {kind}")
        return self._mask_of(kind) if operator == "!" else kind

    @staticmethod
    def _mask_of(kind: Type) -> Type:
        return INT if kind.lanes == 1 else Type(_BITS_OF_LANES[kind.base], kind.lanes)

    def _binary(self, expression: Binary) -> Type:
        operator, left, right = expression.operator, expression.left, expression.right
        a, b = self.type_of(left), self.type_of(right)
        if operator in ("+", "-") and a.pointers:
            if not b.whole:
                self.fail(f"{text(right)} is no offset")
            return a
        kind = self._common(left, a, right, b)
        if operator in COMPARISONS:
            return self._mask_of(kind)
        if operator in LOGICAL:
            if not kind.whole:
                self.fail(f"{text(expression)} is no condition")
            return self._mask_of(kind)
        if operator in ("&", "|", "^", "<<", ">>", "%") and not kind.whole:
            self.fail(f"{text(expression)} is of type {kind}")
        return kind

    def _cast(self, kind: Type, arguments: Sequence[Expression]) -> Type:
        sources = [self.type_of(argument) for argument in arguments]
        if kind.pointers:
            if len(sources) != 1 or sources[0].pointers != kind.pointers or sources[0].base != kind.base:
                self.fail(f"a pointer to {kind} made of {', '.join(map(str, sources))}")
        elif any(source.pointers for source in sources):
            self.fail("a pointer as a number")
        elif sources != [kind] and (any(source.lanes > 1 for source in sources) or len(sources) not in (1, kind.lanes)):
            self.fail(f"{kind} made of {', '.join(map(str, sources))}")
        return kind

    def _index(self, array: Expression, at: Expression) -> Type:
        kind, index = self.type_of(array), self.type_of(at)
        if not kind.pointers or not index.whole or index.lanes > 1:
            self.fail(f"an entry {text(at)} of {text(array)}")
        length = self.lookup(array.name).length if isinstance(array, Name) else None
        within = self._range_of(at)
        if length is not None and within is not None and not 0 <= within[0] <= within[1] < length:
            self.fail(f"{text(array)} has {length} entries, and {text(at)} is from {within[0]} to {within[1]}")
        return Type(kind.base, kind.lanes, kind.pointers - 1)

    def _range_of(self, at: Expression) -> tuple[int, int] | None:
        match at:
            case Place(position):
                return bounds(position)
            case Literal(written):
                return int(written), int(written)
            case Name(name):
                return self.lookup(name).range
        return None

    def _check_position(self, position: Position) -> None:
        """Fail unless the variables of a position are integers in the ranges with which it was made."""
        if not isinstance(position, RangedIndex):
            return
        for part in [position] if not position.summands else [part for part, _ in position.summands]:
            if part.source is not None:
                self._check_position(part.source)
                continue
            declared = self.lookup(part.text)
            if declared.type != INT:
                self.fail(f"{part.text} is no position")
            if declared.range and not part.low <= declared.range[0] <= declared.range[1] <= part.high:
                self.fail(f"{part.text} has values outside of {part.low} to {part.high}")

    def _signatures(self) -> dict[str, tuple[list[Type], Type]]:
        """The argument and result types of the functions that templates define, except the mathematics."""

        def line(result: str, *arguments: str) -> tuple[list[Type], Type]:
            return [self.meaning(kind) for kind in arguments], self.meaning(result)

        mask = "int" if self.kernel.lanes == 1 else "inumv"
        helpers = {helper.name: helper.facts for helper in self.kernel.helpers}
        signatures = {
            "ANY": line("int", mask),
            "MASKV": line("inumv", "int"),
            "WIDE_MASKV": line("wnumv", "int"),
            "narrow_index": line("inum", "long", "long"),
            "store_lanes": line("", "real*", "long", "realv", "int"),
            "store_index": line("", "long*", "long", "inumv", "int", "long"),
            "store_wide": line("", "wide*", "long", "widev", "int"),
            "store_wide_index": line("", "long*", "long", "wnumv", "int", "long"),
            "get_global_size": line("long", "int"),
            "min": line("int", "int", "int"),
        }
        if "append_terms" in helpers:
            signatures["marks_of"] = line("marks", "inumv")
            signatures["append_terms"] = line("", "real*", "inum*", "inum*", "int*", "marks", "realv*", "inum")
        if "limit_of" in helpers:
            signatures["limit_of"] = line("realv", "realv*", "int", "realv", "int*")
        if isinstance(sorting := helpers.get("enter_terms"), Sorting):
            lists = ("realv*", "inumv*") if sorting.indexed else ("realv*",)
            signatures["enter_terms"] = line("", *lists, *lists)
        return signatures

    def _call(self, function: str, arguments: Sequence[Type], kind: Type) -> Type:
        if function in self.signatures:
            wanted, result = self.signatures[function]
        elif function.startswith("convert_"):
            wanted, result = [self.meaning(function.removeprefix("convert_"))], self.meaning(function[8:])
            arguments = [Type(wanted[0].base, argument.lanes, argument.pointers) for argument in arguments]
        elif function in _OF_OPENCL:
            wanted, result = [kind] * _OF_OPENCL[function], kind
        else:
            wanted, result = self._own(function, len(arguments))
        if len(arguments) != len(wanted):
            self.fail(f"{function} takes {len(wanted)} arguments, not {len(arguments)}")
        for argument, parameter in zip(arguments, wanted, strict=True):
            self.must_fit(argument, parameter)
        if result != kind:
            self.fail(f"{function} gives {result}, and is said to give {kind}")
        return result

    def _own(self, function: str, count: int) -> tuple[list[Type], Type]:
        """The argument and result types of clreduce's own functions. Most of them take numbers of one type."""
        name, _, form = function.rpartition("_")
        types = {"s": ("real", "inum"), "v": ("realv", "inumv"), "ws": ("wide", "wnum"), "wv": ("widev", "wnumv")}
        called = self.kernel.wide if form.startswith("w") else self.kernel.functions
        if form not in types or called is None or name not in called:
            self.fail(f"the kernel does not say that it calls {function}")
        real, whole = map(self.meaning, types[form])
        match name:
            case "to_real":
                return [whole], real
            case "to_index":
                return [real], whole
            case "lookup":
                return [Type(real.base, 1, 1), whole, INT, INT], real
            case "load_four":
                return [Type(real.base, 1, 1), INT, INT], real
            case "exp_by_roots" | "exp_by_roots_never_above_1":
                return [real, self.meaning(ROOTS.type)], real
        return [real] * count, real

"""Instructions of a GPU's machine code: parsed from a disassembly, classified, and counted along the way of a loop.

The loop is found by markers. `marked` puts one at the head of the loop over columns, and one into each loop over
components inside it; a marker is an instruction of its own on NVIDIA, which is not counted, and a comment on AMD.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

COLUMNS = 0
"""Number of the marker of a block of columns; those of loops over components follow."""
_MOST_MARKERS = 16
"""Events that NVIDIA's instruction has numbers for."""
_COLUMN_LOOP = re.compile(
    r"^ *for \(; (jt?) \+ (\d+) <= tile_\w+; \1 \+= \2\) \{\n|^ *for \(; jt? < tile_\w+; \+\+jt?\) \{\n", re.M
)
_COMPONENT_LOOP = re.compile(r"^ *for \(int k\d+ = (\d+); k\d+ < (\d+); \+\+k\d+\) \{\n", re.M)
_MARKERS = """
#if defined(__NVPTX__)
#define MARKER(n) __asm__ volatile("pmevent " #n ";")
#else
#define MARKER(n) __asm__ volatile("; marker " #n)
#endif
"""


class CountError(Exception):
    """A source or machine code in which there is no loop to be counted."""


@dataclass(frozen=True)
class Instruction:
    """One instruction, or a marker."""

    name: str
    """The mnemonic in capitals, with its modifiers."""
    text: str
    target: str = ""
    """The label that it may branch to."""
    conditional: bool = False
    """Of a branch: whether it may go on instead."""
    marker: int | None = None

    @property
    def ends(self) -> bool:
        """Whether nothing after it follows it."""
        return not self.conditional and (bool(self.target) or self.name.split(".")[0] in ("EXIT", "S_ENDPGM", "RET"))


@dataclass(frozen=True)
class Code:
    """The instructions of one kernel, and which one each label stands before."""

    instructions: tuple[Instruction, ...]
    labels: dict[str, int]


@dataclass(frozen=True)
class Marked:
    """A source with markers."""

    source: str
    turns: dict[int, int]
    """By marker: how often it is met in one block of columns."""


def marked(source: str) -> Marked:
    """``source`` with a marker in its first loop over columns, that of whole blocks, and in the loops inside."""
    match = _COLUMN_LOOP.search(source)
    if match is None:
        raise CountError("there is no loop over columns in the source")
    start = match.end()
    depth, end = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(source[end], 0)
        end += 1
    turns = {COLUMNS: 1}

    def mark(loop: re.Match[str]) -> str:
        number = len(turns)
        if number == _MOST_MARKERS:
            return loop.group(0)
        turns[number] = int(loop.group(2)) - int(loop.group(1))
        return f"{loop.group(0)}MARKER({number});\n"

    body = _COMPONENT_LOOP.sub(mark, source[start:end])
    kernel = source.index("__kernel")
    before = source[:kernel] + _MARKERS + source[kernel:start]
    return Marked(f"{before}MARKER({COLUMNS});\n{body}{source[end:]}", turns)


# ------------------------------------------------------------------------------------------------- reading assembly


def nvidia_code(disassembly: str, kernel: str) -> Code:
    """The instructions of ``kernel`` in what ``nvdisasm -c`` prints."""
    text = disassembly.partition(f".text.{kernel}:\n")[2].partition("\n//----")[0]
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label.group(1)] = len(instructions)
        match = re.match(r"\s+/\*[0-9a-f]{4,}\*/\s+(@!?U?P\w+ )?\s*([A-Z][\w.]*)(.*?);", line)
        if match is None:
            continue
        predicate, name, rest = match.groups()
        branch = re.search(r"`\((\.L_x_\d+)\)", rest) if name.split(".")[0] in ("BRA", "JMP", "BRX") else None
        event = re.match(r"\s*(0x[0-9a-f]+|\d+)", rest) if name.startswith("PMTRIG") else None
        # The operand of PMTRIG has one bit for each event.
        marker = int(event.group(1), 0).bit_length() - 1 if event else None
        condition = bool(predicate) or bool(re.match(r"\s*!?U?P\d", rest))
        instructions.append(Instruction(name, line.strip(), branch.group(1) if branch else "", condition, marker))
    return Code(tuple(instructions), labels)


def amd_code(assembly: str, kernel: str) -> Code:
    """The instructions of ``kernel`` in the assembly of clang."""
    text = assembly.partition(f"\n{kernel}:")[2].partition("\n\t.section")[0]
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if label := re.match(r"(\.LBB\d+_\d+):", line):
            labels[label.group(1)] = len(instructions)
        if marker := re.match(r"\s*; marker (\d+)", line):
            instructions.append(Instruction("MARKER", line.strip(), marker=int(marker.group(1))))
        match = re.match(r"\t([a-z]\w+)(.*)", line)
        if match is None:
            continue
        name, rest = match.group(1).upper(), match.group(2)
        branch = re.search(r"(\.LBB\d+_\d+)", rest) if name.startswith(("S_CBRANCH", "S_BRANCH")) else None
        target = branch.group(1) if branch else ""
        instructions.append(Instruction(name, line.strip(), target, name.startswith("S_CBRANCH")))
    return Code(tuple(instructions), labels)


# ------------------------------------------------------------------------------------------------------ classes

UNCOUNTED = "uncounted"
"""Markers, and instructions that only say to wait."""
_NVIDIA = {
    "FP32": "FADD FMUL FFMA FMNMX FSET FSETP FSEL FCHK FADD32I FMUL32I FFMA32I FSWZADD HFMA2 HADD2 HMUL2 FMNMX3",
    "FP64": "DADD DMUL DFMA DSETP DMNMX",
    "special": "MUFU F2I I2F F2F FRND F2FP I2FP",
    "local": "LDS STS LDSM ATOMS",
    "global": "LDG STG LD ST LDL STL LDC ULDC LDCU",
    "control": "BRA BSSY BSYNC BAR EXIT CALL RET WARPSYNC BREAK NOP BRX JMP YIELD DEPBAR S2R S2UR CS2R VOTE VOTEU",
}
_OF_NVIDIA = {name: kind for kind, names in _NVIDIA.items() for name in names.split()}
_AMD = (
    (UNCOUNTED, r"S_WAITCNT|S_NOP|S_CLAUSE|S_INST_PREFETCH|S_DELAY|S_SETPRIO"),
    ("control", r"S_C?BRANCH|S_BARRIER|S_ENDPGM"),
    ("special", r"V_(EXP|LOG|RCP|RSQ|SQRT|SIN|COS)_F(32|16)|V_(RCP|RSQ|SQRT)_F64"),
    ("FP64", r"V_\w+_F64"),
    ("packed", r"V_PK_\w+_F32|V_DUAL_"),
    ("FP32", r"V_\w+_F32"),
    ("local", r"DS_"),
    ("global", r"GLOBAL_|FLAT_|BUFFER_|SCRATCH_|S_LOAD|S_BUFFER"),
    ("scalar", r"S_"),
)
CLASSES = ("FP32", "packed", "FP64", "special", "local", "global", "integer", "scalar", "control")


def class_of(instruction: Instruction, vendor: str) -> str:
    """To which of `CLASSES` an instruction belongs, or `UNCOUNTED`."""
    if instruction.marker is not None:
        return UNCOUNTED
    if vendor == "nvidia":
        return _OF_NVIDIA.get(instruction.name.split(".")[0], "integer")
    return next((kind for kind, names in _AMD if re.match(names, instruction.name)), "integer")


# ----------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class _Way:
    """The shortest way through a loop and back to its head."""

    order: tuple[int, ...]
    """The instructions that it meets, one after the other; those of inner loops as often as they turn."""
    length: float


@dataclass(frozen=True)
class _Step:
    """The last step of a way from the head of a loop to some instruction."""

    length: float
    before: int | None
    """The instruction, or the head of the inner loop, from which it comes."""


@dataclass(frozen=True)
class LoopCount:
    """What one turn of the loop over columns issues."""

    blocks: int
    """Blocks of columns in one turn: compilers unroll."""
    classes: Counter[str]
    """Instructions of the turn by class, on the shortest way: where no guard holds, such as that of a list of terms."""
    order: tuple[Instruction, ...] = ()
    """These instructions, one after the other."""

    @property
    def issued(self) -> float:
        return sum(self.classes.values())


class _Flow:
    """Ways through the loops of a kernel."""

    def __init__(self, code: Code, turns: dict[int, int], vendor: str) -> None:
        self.code, self.turns, self.vendor = code, turns, vendor

    @cached_property
    def loops(self) -> list[tuple[int, int]]:
        """First and last instruction of each loop, the longest first."""
        ends: dict[int, int] = {}
        for last, instruction in enumerate(self.code.instructions):
            first = self.code.labels.get(instruction.target, last + 1)
            if first <= last and not (first == last and not instruction.conditional):
                ends[first] = max(last, ends.get(first, last))
        return sorted(ends.items(), key=lambda loop: loop[0] - loop[1])

    def markers(self, loop: tuple[int, int]) -> Counter[int]:
        first, last = loop
        inside = self.code.instructions[first : last + 1]
        return Counter(one.marker for one in inside if one.marker is not None)

    def children(self, loop: tuple[int, int]) -> list[tuple[int, int]]:
        """Loops directly inside a loop."""
        inside = [other for other in self.loops if other != loop and loop[0] <= other[0] and other[1] <= loop[1]]
        return [a for a in inside if not any(b != a and b[0] <= a[0] and a[1] <= b[1] for b in inside)]

    def turns_of(self, loop: tuple[int, int], siblings: Sequence[tuple[int, int]]) -> int:
        """Turns of a loop over components: what its marker says, by the markers that it meets in one turn.

        Compilers unroll a loop and add another one for the rest.
        """
        own = self.markers(loop)
        if not own:
            return 1
        marker, met = own.most_common(1)[0]
        most = max(self.markers(sibling)[marker] for sibling in siblings)
        total = self.turns[marker]
        return total // met if met == most else total % most // met

    def way(self, loop: tuple[int, int]) -> _Way:
        """The shortest way from the head of a loop back to it; inner loops are one step."""
        first, last = loop
        inner = self.children(loop)
        inside = {head: (end, self.turns_of((head, end), inner), self.way((head, end))) for head, end in inner}
        inside.pop(first, None)
        steps = {first: _Step(0, None)}
        ways: list[_Step] = []

        def reach(at: int, step: _Step) -> None:
            if at not in steps or step.length < steps[at].length:
                steps[at] = step

        for at in range(first, last + 1):
            if at not in steps:
                continue
            length = steps[at].length
            if at in inside:
                end, times, way = inside[at]
                reach(end + 1, _Step(length + times * way.length, at))
                continue
            instruction = self.code.instructions[at]
            then = _Step(length + (class_of(instruction, self.vendor) != UNCOUNTED), at)
            if instruction.target:
                to = self.code.labels[instruction.target]
                if to == first:
                    ways.append(then)
                elif at < to <= last:
                    reach(to, then)
            if not instruction.ends:
                reach(at + 1, then)
        if not ways:
            raise CountError(f"no way leads back to instruction {first}")
        shortest = min(ways, key=lambda way: way.length)
        backwards: list[tuple[int, ...]] = []
        at_before = shortest.before
        while at_before is not None:
            if at_before in inside:
                _, times, way = inside[at_before]
                backwards.append(times * way.order)
            else:
                backwards.append((at_before,))
            at_before = steps[at_before].before
        return _Way(tuple(at for part in reversed(backwards) for at in part), shortest.length)


def count(code: Code, turns: dict[int, int], vendor: str) -> LoopCount:
    """What a turn of the loop over whole blocks of columns issues, for code of a source that is `marked`."""
    flow = _Flow(code, turns, vendor)
    with_columns = [loop for loop in flow.loops if flow.markers(loop)[COLUMNS]]
    innermost = [a for a in with_columns if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in with_columns)]
    if not innermost:
        raise CountError("the loop over columns is not in the machine code")
    loop = max(innermost, key=lambda one: flow.markers(one)[COLUMNS])
    blocks = flow.markers(loop)[COLUMNS]
    instructions = [code.instructions[at] for at in flow.way(loop).order]
    order = tuple(one for one in instructions if class_of(one, vendor) != UNCOUNTED)
    return LoopCount(blocks, Counter(class_of(one, vendor) for one in order), order)

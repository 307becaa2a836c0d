"""Counting of instructions in machine code (`benchmarks/isa.py`): loops, unrolling, guards, records; no GPU is needed.

Assembly made by hand shows that each rule counts what it says. Where the compilers are there, so does a real kernel.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
import isa
import offline
from chips import CHIPS
from latencies import LATENCY, cycles_of, step_of, waiting, waves_for_tiles
from machine_code import COLUMNS, Code, CountError, Instruction, amd_code, count, marked, nvidia_code

SOURCE = """
__kernel void f(long columns) {
    for (; j + 4 <= tile_end; j += 4) {
      const real t1 = v1_j[0];
      for (int k5 = 0; k5 < 100; ++k5) {
        a1 = a1 + t1;
      }
    }
    for (; j < tile_end; ++j) {
      for (int k9 = 0; k9 < 100; ++k9) {
      }
    }
}
"""


def code_of(*lines: str) -> Code:
    """Code of NVIDIA's processors from lines such as ``".L_x_1:"`` and ``"@P0 BRA `(.L_x_1)"``."""
    body = "\n".join(
        line if line.endswith(":") else f"        /*{16 * n:04x}*/    {line} ;" for n, line in enumerate(lines)
    )
    return nvidia_code(f".text.f:\n{body}\n//---- next", "f")


LOOP = (
    "MOV R1, RZ",
    ".L_x_1:",
    "PMTRIG 0x1",
    "LDS R2, [R8]",
    "FFMA R1, R2, R2, R1",
    "MUFU.EX2 R3, R2",
    "@!P0 BRA `(.L_x_1)",
    "EXIT",
)


def test_a_marker_stands_in_the_first_loop_over_columns_and_in_its_loops_over_components() -> None:
    source = marked(SOURCE)
    assert source.turns == {COLUMNS: 1, 1: 100}
    assert re.findall(r"\{\n(MARKER\(\d\));", source.source) == ["MARKER(0)", "MARKER(1)"]
    assert source.source.index("MARKER(1)") < source.source.index("++j) {")


def test_a_source_without_a_loop_over_columns_is_refused() -> None:
    with pytest.raises(CountError, match="no loop over columns"):
        marked("__kernel void f() {}")


def test_instructions_of_a_turn_are_counted_by_class_and_markers_are_not() -> None:
    counted = count(code_of(*LOOP), {COLUMNS: 1}, "nvidia")
    assert counted.blocks == 1
    assert counted.classes == {"local": 1, "FP32": 1, "special": 1, "control": 1}


def test_an_unrolled_turn_has_as_many_blocks_as_markers() -> None:
    unrolled = (*LOOP[:6], *LOOP[2:6], *LOOP[6:])
    counted = count(code_of(*unrolled), {COLUMNS: 1}, "nvidia")
    assert counted.blocks == 2
    assert counted.issued == 7


def test_what_a_guard_skips_is_not_counted() -> None:
    guarded = (*LOOP[:6], "@P1 BRA `(.L_x_2)", "FADD R9, R9, R9", "FADD R9, R9, R9", ".L_x_2:", *LOOP[6:])
    assert count(code_of(*guarded), {COLUMNS: 1}, "nvidia").issued == 5


def test_a_loop_over_components_counts_as_often_as_it_turns() -> None:
    """A loop that takes four components in a turn, and one for the two that are left of 102."""
    inner = (".L_x_2:", *["PMTRIG 0x2"] * 4, "FADD R4, R4, R4", "FADD R5, R5, R5", "@P2 BRA `(.L_x_2)")
    rest = (".L_x_3:", "PMTRIG 0x2", "FADD R4, R4, R4", "@P3 BRA `(.L_x_3)")
    counted = count(code_of(*LOOP[:6], *inner, *rest, *LOOP[6:]), {COLUMNS: 1, 1: 102}, "nvidia")
    assert counted.classes == {"local": 1, "FP32": 1 + 25 * 2 + 2, "special": 1, "control": 1 + 25 + 2}


def test_the_loop_with_most_blocks_is_the_one_that_counts() -> None:
    """Compilers add a loop for what the unrolled one leaves."""
    rest = (".L_x_7:", "PMTRIG 0x1", *["FADD R4, R4, R4"] * 9, "@P0 BRA `(.L_x_7)")
    unrolled = (*LOOP[:6], *LOOP[2:6], LOOP[6])
    assert count(code_of(*unrolled, *rest, "EXIT"), {COLUMNS: 1}, "nvidia").issued == 7


def test_assembly_of_amd_is_read() -> None:
    assembly = """
f:
	v_mov_b32_e32 v0, 0
.LBB0_1:
	;;#ASMSTART
	; marker 0
	;;#ASMEND
	ds_read_b128 v[2:5], v1
	s_waitcnt lgkmcnt(0)
	v_pk_fma_f32 v[6:7], v[2:3], v[4:5], v[6:7]
	v_exp_f32_e32 v8, v6
	v_fma_f64 v[2:3], v[2:3], v[2:3], v[2:3]
	s_add_i32 s1, s1, 1
	s_cbranch_scc1 .LBB0_1
	s_endpgm
	.section	.rodata
"""
    counted = count(amd_code(assembly, "f"), {COLUMNS: 1}, "amd")
    assert counted.classes == {"local": 1, "packed": 1, "special": 1, "FP64": 1, "scalar": 1, "control": 1}


def test_occupancy_is_what_registers_groups_and_local_memory_allow() -> None:
    chip = CHIPS["sm_90"]
    assert chip.occupancy(registers=32, local=0, group=128) == 1
    assert chip.occupancy(registers=65, local=0, group=128) == 7 / 16  # 72 registers for each
    assert chip.occupancy(registers=32, local=114 << 10, group=128) == 2 * 4 / 64
    assert chip.occupancy(registers=32, local=0, group=32) == 0.5  # 32 groups


def test_the_unit_that_is_busy_longest_is_the_bound() -> None:
    """Exponentials go through a unit that takes eight cycles for each."""
    busy = CHIPS["sm_90"].busy({"FP32": 4.0, "special": 1.0, "local": 0.5})
    assert max(busy, key=busy.__getitem__) == "special"
    assert busy["issue"] == 5.5
    assert CHIPS["gfx90a"].busy({"packed": 3.0, "special": 1.0, "local": 1.0})["arithmetic"] == 28.0


@pytest.mark.parametrize(("text", "writes", "reads"), [
    ("FFMA R1, R2, -R3, R1", "R1", "R2 R3 R1"),
    ("DFMA R4, R8, R10, c[0x2][0x8]", "R4 R5", "R8 R9 R10 R11"),
    ("LDS.128 R16, [R57+0x10]", "R16 R17 R18 R19", "R57"),
    ("STS.64 [R8], R4", "", "R8 R4 R5"),
    ("@!P2 MUFU.EX2 R30, R30", "R30", "P2 R30"),
    ("IADD3 R24, P2, R16, 0x800, RZ", "R24 P2", "R16"),
    ("FSETP.GT.AND P0, PT, R1, R2, PT", "P0", "R1 R2"),
    ("IMAD.WIDE R2, R4, R5, R6", "R2 R3", "R4 R5 R6"),
])  # fmt: skip
def test_registers_of_an_instruction_are_read_from_its_text(text: str, writes: str, reads: str) -> None:
    name = re.sub(r"@!?\w+ ", "", text).split()[0]
    step = step_of(Instruction(name, f"{text} ;"))
    assert (" ".join(step.writes), " ".join(step.reads)) == (writes, reads)


def steps_of(*texts: str) -> list[Instruction]:
    return [Instruction(text.split()[0], f"{text} ;") for text in texts]


CHAIN = steps_of(*["FFMA R1, R1, R2, R1"] * 12)
INDEPENDENT = steps_of(*[f"FFMA R{n}, R{n}, R40, R{n}" for n in range(12)])


def test_a_chain_needs_as_many_waves_as_its_latency_and_independent_instructions_need_one() -> None:
    chip = CHIPS["sm_90"]
    assert waiting(CHAIN, chip, 4).enough == LATENCY["FP32"]
    assert waiting(INDEPENDENT, chip, 4).enough == 1
    assert waiting(CHAIN, chip, 1).cycles == pytest.approx(12 * LATENCY["FP32"], rel=0.1)
    assert waiting(CHAIN, chip, 4).cycles == waiting(INDEPENDENT, chip, 1).cycles == pytest.approx(12, rel=0.1)


def test_a_unit_that_is_busy_holds_all_waves_up() -> None:
    special = [step_of(one) for one in steps_of("MUFU.EX2 R1, R2", "FADD R3, R4, R5")]
    assert cycles_of(special, 16, CHIPS["sm_90"]) == pytest.approx(8, rel=0.05)


def test_a_second_group_has_work_while_one_waits_for_its_tile_and_short_tiles_need_more() -> None:
    assert waves_for_tiles(turn=300, turns=16, waves_of_group=1) == 2
    assert waves_for_tiles(turn=30, turns=10, waves_of_group=2) == 6


@pytest.fixture
def tools() -> None:
    target = offline.TARGETS["sm_90"]
    try:
        problem = offline.missing(target)
        offline.nvdisasm(target.name)
    except offline.OfflineError as error:
        problem = str(error)
    if problem:
        if os.environ.get("CLREDUCE_REQUIRE_GPU_COMPILERS"):
            pytest.fail(problem)
        pytest.skip(problem)


@pytest.mark.usefixtures("tools")
def test_a_sum_of_products_issues_one_instruction_for_each() -> None:
    """Per pair: three differences, three products of them and one with b; what else there is, tiles share."""
    counted = isa.count_program("gaussian-d3", "float32", offline.TARGETS["sm_90"])
    assert counted.classes["FP32"] >= 7
    assert counted.spilled == 0
    wider = isa.count_program("gaussian-d3", "float32", offline.TARGETS["sm_90"], {"rows": 1, "cols": 1})
    assert wider.classes["local"] >= counted.classes["local"] * 2  # each column is read for one row


@pytest.mark.usefixtures("tools")
def test_less_than_half_of_the_waves_hide_all_latencies_of_a_large_register_tile() -> None:
    """So fewer registers, for more waves, would only issue more."""
    chip = CHIPS["sm_90"]
    counted = isa.count_program("gaussian-d10", "float32", offline.TARGETS["sm_90"])
    assert counted.occupancy < 0.5
    hidden = counted.waiting(chip)
    assert hidden.enough <= hidden.waves
    assert hidden.cycles == pytest.approx(counted.issued, rel=0.03)
    smaller = isa.count_program("gaussian-d10", "float32", offline.TARGETS["sm_90"], {"rows": 1})
    assert smaller.occupancy > 0.5
    assert smaller.waiting(chip).cycles > hidden.cycles


@pytest.mark.usefixtures("tools")
def test_more_instructions_than_recorded_and_spills_are_faults() -> None:
    counted = isa.count_program("gaussian-d3", "float32", offline.TARGETS["sm_90"])
    record = isa.Record("gaussian-d3", "float32", "sm_90", counted.issued, counted.registers)
    assert isa.fault(record, counted) == ""
    assert "were recorded" in isa.fault(replace(record, issued=0.9 * counted.issued), counted)
    assert "spilled" in isa.fault(record, replace(counted, spilled=4))


def test_every_record_is_of_a_program_and_a_target() -> None:
    records = isa.read_records()
    assert {one.program for one in records} == set(isa.PROGRAMS)
    assert {one.target for one in records} <= set(offline.TARGETS)
    assert all(one.issued > 1 for one in records)

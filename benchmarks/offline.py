"""OpenCL C compiled for GPUs that this machine does not have: whether it compiles, registers, spills, machine code.

clang makes PTX or AMD's assembly of a source, with libclc in place of the driver's own functions; for NVIDIA, ptxas
makes machine code of the PTX. Nothing runs.

The tools: clang and libclc of LLVM 15 (Debian, Ubuntu: ``apt install clang-15 libclc-15``), a ptxas that still knows
the oldest target, and nvdisasm (``pip install "clreduce[isa]"``).

    python benchmarks/offline.py sm_90 gfx90a < kernel.cl
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

from clreduce.codegen.facts import DeviceFacts
from clreduce.ops.hardware import NATIVE

CLANG = ("clang-15",)
LIBRARIES = {"nvidia": Path("/usr/lib/clc/nvptx64--nvidiacl.bc"), "amd": Path("/usr/lib/clc/amdgcn--amdhsa.bc")}
_WHEELS = {"ptxas": "nvidia-cuda-nvcc-cu12", "nvdisasm": "nvidia-cuda-nvdisasm"}
_VIRTUAL = "sm_70"
"""The processor that PTX is made for: clang 15 knows none newer than sm_86, and ptxas takes it for all that follow."""
_COMMON = (
    "-x", "cl", "-cl-std=CL1.2", "-cl-mad-enable", "-ffp-contract=fast", "-O3", "-Werror", "-Wno-linker-warnings",
    "-Xclang", "-finclude-default-header", "-Xclang", "-fdeclare-opencl-builtins", "-Xclang", "-mlink-builtin-bitcode",
    "-Xclang",
)  # fmt: skip
_NATIVE_OF_NVIDIA = "\n".join(
    f"""static inline float hardware_{name}(float x) {{
    float y;
    __asm__("{instruction}.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}}
#define native_{name} hardware_{name}"""
    for name, instruction in (
        ("exp2", "ex2"), ("log2", "lg2"), ("sqrt", "sqrt"), ("rsqrt", "rsqrt"), ("recip", "rcp"), ("sin", "sin"),
        ("cos", "cos"),
    )
) + "\n#line 1\n"  # fmt: skip
"""libclc has no native functions for NVIDIA's processors: each is the instruction of that name."""
_AS_OPENCL_ALLOWS = ("-mllvm", "-nvptx-prec-divf32=1")
"""OpenCL lets a quotient have an error of 2.5 ulp: NVIDIA's driver makes use of it, and clang has to be told."""


class OfflineError(Exception):
    """A source that does not compile, with the compiler's words, or a tool that is missing."""


@dataclass(frozen=True)
class Target:
    """A GPU to compile for."""

    name: str
    vendor: str
    """``"nvidia"`` or ``"amd"``."""

    @property
    def facts(self) -> DeviceFacts:
        """What a driver would say of such a device."""
        return FACTS[self.vendor]


FACTS = {
    "nvidia": DeviceFacts(
        kind="gpu", driver="nvidia", driver_version=(550,), max_group=1024, local_memory=49152,
        native_float_lanes=1, native_double_lanes=1, shares_host_memory=False, native_functions=tuple(NATIVE),
    ),
    "amd": DeviceFacts(
        kind="gpu", driver="amd", driver_version=(3614,), max_group=256, local_memory=65536,
        native_float_lanes=1, native_double_lanes=1, shares_host_memory=False, native_functions=tuple(NATIVE),
    ),
}  # fmt: skip


TARGETS = {
    target.name: target
    for target in (
        Target("sm_70", "nvidia"),
        Target("sm_80", "nvidia"),
        Target("sm_90", "nvidia"),
        Target("gfx90a", "amd"),
        Target("gfx1030", "amd"),
        Target("gfx1100", "amd"),
    )
}


@dataclass(frozen=True)
class Compiled:
    """What became of one kernel. Sizes are in bytes."""

    kernel: str
    registers: int
    """Vector registers of a work-item, of 4 bytes."""
    spilled: int
    """Written to memory because registers ran out, by a work-item."""
    stack: int
    """Private memory of a work-item: arrays that are indexed by variables, and what is spilled."""
    local: int
    """Local memory of a work-group."""
    assembly: str = field(repr=False)
    """PTX, or the assembly of AMD's processor."""
    machine_code: bytes | None = field(default=None, repr=False)
    """NVIDIA: the ELF file, for a disassembler."""


@cache
def clang() -> str:
    """The path of the compiler; `OfflineError` if there is none."""
    for name in CLANG:
        if path := shutil.which(name):
            return path
    raise OfflineError(f"none of {', '.join(CLANG)} is on PATH (Debian, Ubuntu: apt install clang-15 libclc-15)")


@cache
def ptxas(target: str) -> str:
    """The path of a ptxas that knows ``target``, pip's first; `OfflineError` if there is none."""
    return _tool_for(target, "ptxas", rf"'{target}'")


@cache
def nvdisasm(target: str) -> str:
    """The path of an nvdisasm that knows ``target``, pip's first; `OfflineError` if there is none."""
    return _tool_for(target, "nvdisasm", rf"'{target.upper().replace('_', '')}'")


def _tool_for(target: str, tool: str, pattern: str) -> str:
    """The path of a program whose help names ``target``."""
    paths = []
    try:
        files = importlib.metadata.files(_WHEELS[tool]) or []
        paths = [str(file.locate()) for file in files if file.stem == tool]
    except importlib.metadata.PackageNotFoundError:
        pass
    paths += filter(None, [shutil.which(tool)])
    for path in paths:
        if re.search(pattern, _run([path, "--help"])):
            return path
    older = f"; not one that has dropped {target}: {', '.join(paths)}" if paths else ""
    raise OfflineError(f'{tool} for {target} is missing (pip install "clreduce[isa]"){older}')


def missing(target: Target) -> str:
    """Which tool is missing to compile for ``target``, and how to get it; "" if none is."""
    try:
        clang()
        if target.vendor == "nvidia":
            ptxas(target.name)
    except OfflineError as error:
        return str(error)
    library = LIBRARIES[target.vendor]
    return "" if library.exists() else f"{library} is missing (Debian, Ubuntu: apt install libclc-15)"


def compile_for(target: Target, source: str) -> dict[str, Compiled]:
    """The kernels of an OpenCL C source, by name.

    Options are those that clreduce gives to drivers. A warning is an error. Raises `OfflineError` if the source does
    not compile or a tool is missing.
    """
    if problem := missing(target):
        raise OfflineError(problem)
    if target.vendor == "amd":
        return _kernels_of_amd(_assembly(source, "amdgcn--amdhsa", f"-mcpu={target.name}", LIBRARIES["amd"]))
    ptx = _assembly(
        _NATIVE_OF_NVIDIA + source, "nvptx64-nvidia-nvcl", f"-march={_VIRTUAL}", LIBRARIES["nvidia"], _AS_OPENCL_ALLOWS
    )
    with tempfile.TemporaryDirectory() as folder:
        text, code = Path(folder, "source.ptx"), Path(folder, "code")
        text.write_text(ptx, encoding="utf-8")
        log = _run([ptxas(target.name), f"-arch={target.name}", "-v", str(text), "-o", str(code)])
        return _kernels_of_ptxas(log, ptx, code.read_bytes())


@lru_cache(maxsize=16)
def _assembly(source: str, triple: str, processor: str, library: Path, options: tuple[str, ...] = ()) -> str:
    """What clang makes of a source; kept, for PTX of one source is wanted for several processors."""
    with tempfile.TemporaryDirectory() as folder:
        text, assembly = Path(folder, "source.cl"), Path(folder, "assembly")
        text.write_text(source, encoding="utf-8")
        target = ["-target", triple, processor, "-nogpulib"]
        _run([clang(), *_COMMON, str(library), *target, *options, "-S", str(text), "-o", str(assembly)])
        return assembly.read_text(encoding="utf-8")


def disassembled(target: Target, kernel: Compiled) -> str:
    """The machine code of a kernel as text; `OfflineError` if the tool for it is missing."""
    if kernel.machine_code is None:
        return kernel.assembly
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        code.write_bytes(kernel.machine_code)
        return _run([nvdisasm(target.name), "-c", str(code)])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OfflineError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def _number(pattern: str, text: str, default: int | None = None) -> int:
    match = re.search(pattern, text)
    if match is None and default is None:
        raise OfflineError(f"the compiler's report has nothing like {pattern!r}:\n{text}")
    return int(match.group(1)) if match else int(default or 0)


def _kernels_of_ptxas(log: str, ptx: str, code: bytes) -> dict[str, Compiled]:
    kernels = {}
    for report in log.split("Compiling entry function")[1:]:
        name = re.match(r" '(\w+)'", report).group(1)  # type: ignore[union-attr]
        kernels[name] = Compiled(
            kernel=name,
            registers=_number(r"Used (\d+) registers", report),
            spilled=_number(r"(\d+) bytes spill stores", report),
            stack=_number(r"(\d+) bytes stack frame", report),
            local=_number(r"(\d+) bytes smem", report, 0),
            assembly=ptx,
            machine_code=code,
        )
    return kernels


def _kernels_of_amd(assembly: str) -> dict[str, Compiled]:
    """From the metadata at the end of the assembly: a list with an entry for each kernel."""
    metadata = assembly.partition("amdhsa.kernels:")[2].partition("amdhsa.target")[0]
    kernels = {}
    for report in re.split(r"^  - ", metadata, flags=re.M)[1:]:
        match = re.search(r"^    \.name: +(\w+)$", report, re.M)
        assert match is not None
        spilled = _number(r"\.vgpr_spill_count: (\d+)", report) + _number(r"\.sgpr_spill_count: (\d+)", report)
        kernels[match.group(1)] = Compiled(
            kernel=match.group(1),
            registers=_number(r"\.vgpr_count: +(\d+)", report),
            spilled=4 * spilled,
            stack=_number(r"\.private_segment_fixed_size: (\d+)", report),
            local=_number(r"\.group_segment_fixed_size: (\d+)", report),
            assembly=assembly,
        )
    return kernels


def main() -> None:
    source = sys.stdin.read()
    for name in sys.argv[1:] or list(TARGETS):
        for kernel in compile_for(TARGETS[name], source).values():
            print(
                f"{name:8} {kernel.kernel}: {kernel.registers} registers, {kernel.spilled} bytes spilled, "
                f"{kernel.stack} bytes of private and {kernel.local} of local memory"
            )


if __name__ == "__main__":
    main()

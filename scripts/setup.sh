#!/usr/bin/env bash
# Sets up .venv in this checkout with the pinned packages; does nothing when it is up to date.
#
# PYTHON=... chooses the interpreter; without it the one of an earlier set-up, else the first fitting of python3, python3.13 to python3.10.
# The wheels are kept in ${XDG_CACHE_HOME:-~/.cache}/trtbench/wheels, a directory per set of pins and Python version; once one is
# complete, no network is used, whichever checkout asks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

home=~ # also where HOME is not set
wheelhouses="${XDG_CACHE_HOME:-$home/.cache}/trtbench/wheels"
stamp=.venv/.set-up
pip_flags=(--quiet --quiet --disable-pip-version-check)
[ ! -t 1 ] || pip_flags=(--disable-pip-version-check)

say() { echo "set-up: $*"; }
fail() { echo "set-up: $*" >&2; exit 2; }
lock() { flock -n "$1" || { say "waiting: $2"; flock "$1"; }; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; }

# Prints the path of the interpreter to use; inside a virtual environment, of the one that it was made from.
find_python() {
    local candidates=(.venv/bin/python python3 python3.13 python3.12 python3.11 python3.10) candidate
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if fits "$candidate"; then
            "$candidate" -c 'import sys; print(sys._base_executable)'
            return
        fi
    done
    fail "no Python 3.10 to 3.13 among: ${candidates[*]}. On Debian: apt-get install python3 python3-venv; or name one with PYTHON=/path/to/python3"
}

# What the interpreter lacks, a Debian package a line: `venv` needs ensurepip, and Triton's Python backend loads the shared library.
missing_packages() {
    "$1" - <<'PYTHON'
import sys, sysconfig
from importlib.util import find_spec
from pathlib import Path

version = "%d.%d" % sys.version_info[:2]
multiarch = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "")
libraries = [Path(sysconfig.get_config_var("LIBDIR") or "/"), multiarch]
if not (find_spec("venv") and find_spec("ensurepip")):
    print(f"python{version}-venv")
if not any((library / f"libpython{version}.so.1.0").is_file() for library in libraries):
    print(f"libpython{version}")
PYTHON
}

complete_python() {
    local python=$1 packages
    mapfile -t packages < <(missing_packages "$python")
    [ ${#packages[@]} -gt 0 ] || return 0
    [ "$("$python" -c 'import sys; print(sys.base_prefix)')" = /usr ] ||
        fail "$python lacks ${packages[*]}: choose another with PYTHON=..., or build it with ensurepip and --enable-shared"
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null || fail "$python lacks ${packages[*]}. Run: sudo apt-get install ${packages[*]}"
    say "installing ${packages[*]} with apt-get"
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}" >/dev/null ||
        fail "apt-get could not install ${packages[*]}"
}

make_venv() {
    rm -rf .venv
    "$1" -m venv .venv || fail "$1 -m venv .venv failed"
}

# Wheels of every pin, fetched into a temporary directory and renamed, so that a complete directory is all there is to be seen.
fetch_wheels() {
    local wheels=$1 temporary
    mkdir -p "$wheelhouses" || fail "$wheelhouses cannot be made: set XDG_CACHE_HOME to a directory that can be written"
    exec 8<"$wheelhouses"
    lock 8 "another set-up fetches wheels"
    if [ ! -d "$wheels" ]; then
        rm -rf "$wheelhouses"/.fetching-* # of set-ups that were killed
        temporary=$(mktemp -d "$wheelhouses/.fetching-XXXXXX")
        say "fetching wheels into $wheels (once; about 0.6 GB, or 3 GB where torch comes with CUDA)"
        pip download "${pip_flags[@]}" --only-binary=:all: --dest "$temporary" --constraint constraints.txt '.[cpu,dev]' &&
            pip download "${pip_flags[@]}" --only-binary=:all: --dest "$temporary" --no-deps --requirement requirements-nodeps.txt &&
            mv -T "$temporary" "$wheels" || { rm -rf "$temporary"; fail "the wheels could not be fetched; set-up needs the package index once"; }
    fi
    exec 8<&-
}

install_wheels() {
    local offline=("${pip_flags[@]}" --no-index --find-links "$1")
    say "installing into .venv"
    pip install "${offline[@]}" --constraint constraints.txt --editable '.[cpu,dev]' &&
        pip install "${offline[@]}" --no-deps --requirement requirements-nodeps.txt ||
        fail "the wheels in $1 could not be installed; remove that directory to fetch them again"
}

# For tests alone: a NumPy beside the pinned one, for the Python stub of Triton 24.10, which holds no string tensors under NumPy 2
# (tests/support/triton/numpy1.py). Python 3.13 has no wheel of it. Without it those tests are skipped, nothing else.
add_numpy1() {
    local python=$1 wheels temporary
    "$python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || return 0
    wheels=$wheelhouses/numpy-1.26.4-$(uname -m)-$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    if [ ! -d "$wheels" ]; then
        temporary=$(mktemp -d "$wheelhouses/.numpy1-XXXXXX")
        pip download "${pip_flags[@]}" --only-binary=:all: --no-deps --dest "$temporary" numpy==1.26.4 && mv -T "$temporary" "$wheels" ||
            { rm -rf "$temporary"; say "no NumPy 1.26: the tests of string tensors are skipped"; return 0; }
    fi
    pip install "${pip_flags[@]}" --no-index --find-links "$wheels" --no-deps --target .venv/numpy1 numpy==1.26.4
}

pip() { .venv/bin/python -m pip "$@"; }

# What decides the wheels: the head of pyproject.toml up to the tools' settings, the pins, the Python version, the processor.
wheels_key() {
    {
        sed '/^\[tool\./,$d' pyproject.toml
        cat constraints.txt requirements-nodeps.txt
        uname -m
        "$1" -c 'import sys; print(sys.version_info[:2])'
    } | sha256sum | cut -c1-16
}

main() {
    local python key state
    exec 9<pyproject.toml
    lock 9 "another set-up of this checkout is at work" # `make bench` and `make test` may start at once
    python=$(find_python)
    key=$(wheels_key "$python")
    state="$key $("$python" -c 'import sys; print(sys.base_prefix, sys.version.split()[0])') $PWD numpy1"
    if [ "$(cat "$stamp" 2>/dev/null)" != "$state" ]; then
        complete_python "$python"
        say "$("$python" -V) ($python)"
        make_venv "$python"
        fetch_wheels "$wheelhouses/$key"
        install_wheels "$wheelhouses/$key"
        add_numpy1 "$python"
        echo "$state" >"$stamp"
        say "done"
    fi
}

main

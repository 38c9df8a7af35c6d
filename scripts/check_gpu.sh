#!/usr/bin/env bash
# What works on this GPU: the first thing to run on a GPU node, before any container. About four minutes.
#
# It reads, samples and allocates memory; it changes NO setting of the GPU (no clocks, power limits, modes, MIG), so it can run on a machine
# of somebody else. It needs a driver and a Python that can import trtbench: after `make setup`, in an image of ours, or with PY=...
# No Triton, no TensorRT, no network. With torch for CUDA it also loads the GPU; without, it says that it did not.
#
#   bash scripts/check_gpu.sh
#
# OUT=DIRECTORY   where the findings go; default ./gpu-check. summary.txt has a line for each section, log.txt all of their output
# PY=...          the Python; default .venv/bin/python, /opt/trtbench/bin/python or python3, the first that can import trtbench
# SECTIONS="..."  some of: status doctor nvml cuda ballast sampler cost tests
#
# Ends with 0 when every section is ok or skipped, with 1 when one is not, with 2 when there is nothing to check.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
fail() { echo "check_gpu: $*" >&2; exit 2; }

OUT=$(realpath -m "${OUT:-gpu-check}")
mkdir -p "$OUT" 2>/dev/null && [ -w "$OUT" ] || fail "$OUT cannot be written: name another directory with OUT=..."
scratch=$(mktemp -d) || fail "no temporary directory can be made: name a writable one with TMPDIR=..."
trap 'rm -rf "$scratch"' EXIT
export OUT PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 XDG_STATE_HOME="$scratch/state" PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
seconds=${SECONDS_OF_LOAD:-15}
sections=${SECTIONS:-status doctor nvml cuda ballast sampler cost tests}
bad=0

find_python() {
    local candidate problem=
    for candidate in ${PY:-.venv/bin/python /opt/trtbench/bin/python python3}; do
        command -v "$candidate" >/dev/null || continue
        problem=$("$candidate" -c 'import trtbench.cli.main' 2>&1) && { command -v "$candidate"; return; }
    done
    fail "no Python here can import trtbench (${problem##*$'\n'}). Run \`make setup\` (x86-64), or in a container" \
        "\`python3 scripts/install_beside.py /opt/trtbench\`; or name one with PY=..."
}
py=$(find_python) || exit 2
reason=$("$py" -c 'from trtbench.gpu import inventory; import sys; print(inventory.probe()); sys.exit(not inventory.describe())') || fail "nothing to check: $reason"

say() { echo "$*" | tee -a "$OUT/summary.txt"; }
asked() { case " $sections " in *" $1 "*) ;; *) return 1 ;; esac; }

# NAME SECONDS COMMAND...: its output goes to log.txt, its exit status and last line to the summary.
check() {
    local name=$1 limit=$2 began=$SECONDS rc=0 word
    shift 2
    asked "$name" || return 0
    echo "=== $name: $*" >>"$OUT/log.txt"
    timeout "$limit" "$@" >"$scratch/step" 2>&1 </dev/null || rc=$?
    cat "$scratch/step" >>"$OUT/log.txt"
    case $rc in
        0) word=ok ;;
        124) word="NOT OK (over $limit s)" bad=1 ;;
        *) word="NOT OK (exit code $rc)" bad=1 ;;
    esac
    say "$word $name, $((SECONDS - began)) s: $(grep -v '^ *$' "$scratch/step" | tail -1 | cut -c1-300)"
}

settings() { "$py" -m trtbench.cli.main gpu status --json 2>/dev/null | "$py" -c 'import json, sys
kept = ("uuid", "persistence_mode", "compute_mode", "power_limit_w", "mig", "held")
print(*[[gpu.get(key) for key in kept] for gpu in json.load(sys.stdin)["gpus"]])'; }

# shellcheck disable=SC2329 # through `check`, in a shell of its own
doctor() {
    "$py" -m trtbench.cli.main doctor
    [ $? -le 1 ] # 1: there is no Triton, or it cannot build
}

# shellcheck disable=SC2329
marked_tests() {
    "$py" -c 'import pytest' 2>/dev/null || { echo "skipped: pytest is not installed"; return; }
    "$py" -m pytest -p no:cacheprovider -q -rs -m "gpu and not settings" tests/telemetry/test_nvml_gpu.py tests/gpu/test_gpu.py
}

: >"$OUT/summary.txt"
: >"$OUT/log.txt"
{ nvidia-smi -q; uname -a; "$py" -V; "$py" -m pip list; } >"$OUT/machine.txt" 2>/dev/null
before=$(settings)
say "$("$py" -m trtbench.cli.main --version), $reason"
check status 60 "$py" -m trtbench.cli.main gpu status
export -f doctor marked_tests
export py
check doctor 120 bash -c doctor
check nvml 90 "$py" scripts/check_gpu/nvml_calls.py
check cuda 120 "$py" scripts/check_gpu/cuda_driver.py
check ballast 300 "$py" scripts/check_gpu/ballast.py
check sampler 150 "$py" scripts/check_gpu/sampler.py
check cost 90 "$py" benchmarks/gpu_sampler.py --real --seconds "$seconds"
check tests 300 bash -c marked_tests
if [ "$(settings)" = "$before" ]; then
    say "ok settings are as they were: $before"
else
    say "NOT OK settings were $before and are $(settings)"
    bad=1
fi
exit "$bad"

#!/usr/bin/env bash
# For tests alone: NVIDIA's TensorRT builder and ONNX parser, which need no driver to load. Prints the directory that holds them: py/ for
# PYTHONPATH, lib/ for LD_LIBRARY_PATH. Exits with 3 and the reason where they cannot be had; the tests of marker `tensorrt` are skipped then.
#
# The Python bindings of TensorRT 11.4 lie over the libraries of TensorRT-RTX 1.7, which one package of the index carries (146 MB). The
# parser and the graph compiler are real; no plan that they make can run, or be read back, without a driver.
# They are kept in ${XDG_CACHE_HOME:-~/.cache}/trtbench/tensorrt; once they are complete, no network is used.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bindings=11.4.0.106 rtx=0.5.0
python=${PYTHON:-$PWD/.venv/bin/python}
cache=${XDG_CACHE_HOME:-${HOME:-}/.cache}/trtbench/tensorrt
temporary=
trap 'rm -rf "$temporary"' EXIT

missing() { echo "$*" >&2; exit 3; }

fetch() {
    "$python" -m pip download --quiet --disable-pip-version-check --retries 1 --no-deps --only-binary=:all: --dest "$1/wheels" "${@:2}" >&2 ||
        missing "the package index has no ${*: -1} for this machine"
}

unpack() {
    "$python" - "$1" <<'PYTHON'
import sys, zipfile
from pathlib import Path

place = Path(sys.argv[1])
for wheel in (place / "wheels").glob("tensorrt_cu13_bindings-*.whl"):
    zipfile.ZipFile(wheel).extractall(place / "py")
(rtx,) = (place / "wheels").glob("onnxruntime_ep_nv_*.whl")
(place / "lib").mkdir()
with zipfile.ZipFile(rtx) as wheel:
    for ours, theirs in (("libnvinfer.so.11", "libtensorrt_rtx.so"), ("libnvonnxparser.so.11", "libtensorrt_onnxparser_rtx.so")):
        (member,) = (name for name in wheel.namelist() if theirs in name)
        (place / "lib" / ours).write_bytes(wheel.read(member))
PYTHON
    echo 'int initLibNvInferPlugins(void *a, char const *b) { return a == b; }' |
        cc -shared -fPIC -xc - -Wl,-soname,libnvinfer_plugin.so.11 -o "$1/lib/libnvinfer_plugin.so.11"
    rm -r "$1/wheels"
}

main() {
    local place
    [ "$(uname -m)" = x86_64 ] || missing "TensorRT's builder without a driver is to be had for x86-64 alone, this is $(uname -m)"
    place=$cache/$bindings-$rtx-$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])') || missing "$python does not run"
    if [ ! -d "$place" ]; then
        command -v cc >/dev/null || missing "cc is not on PATH"
        mkdir -p "$cache" && temporary=$(mktemp -d "$cache/.fetching-XXXXXX") || missing "$cache cannot be written"
        fetch "$temporary" "tensorrt-cu13-bindings==$bindings"
        fetch "$temporary" --python-version 3.11 --platform manylinux_2_28_x86_64 "onnxruntime-ep-nv-tensorrt-rtx-cu13==$rtx"
        unpack "$temporary" || missing "the wheels of TensorRT do not hold what is expected"
        chmod 755 "$temporary"
        mv -T "$temporary" "$place" 2>/dev/null || [ -d "$place" ] || missing "$place cannot be written"
    fi
    echo "$place"
}

main

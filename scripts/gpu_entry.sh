#!/usr/bin/env bash
# Entry point of the GPU images: trtbench with its arguments, on the newer of two CUDA driver libraries.
#
# CUDA 13 needs a driver of release 580 or later. On data-centre GPUs an older one serves too, when the image's own libcuda is loaded
# in place of the node's ("forward compatibility"). NVIDIA's entry point arranges that, and ours replaces it: theirs keeps its finding in
# /tmp, which is a mount here and outlives the container, and older ones make a link that a read-only root forbids.
set -euo pipefail

trtbench=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
say() { echo "trtbench: $*" >&2; }

# The first dotted number of the kernel module's line, as 580.95.05; nothing without a driver.
node_version() { { grep -m1 NVRM "${NVIDIA_VERSION_FILE:-/proc/driver/nvidia/version}" 2>/dev/null || true; } | grep -oEm1 '[0-9]+(\.[0-9]+)+' | head -1; }

# Directory and version of the image's own library, as libcuda.so.590.44.01.
image_library() {
    local directory file
    for directory in "${CUDA_COMPAT:-/usr/local/cuda/compat}"/{lib.real,.}; do
        for file in "$directory"/libcuda.so.[0-9]*.[0-9]*; do
            [ ! -f "$file" ] || { echo "$directory ${file##*/libcuda.so.}"; return; }
        done
    done
}

newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -1)" = "$1" ]; }

# CUDA's own word on whether the library works with this GPU and this driver; prints its error.
starts() {
    LD_LIBRARY_PATH=$1 timeout 60 "$trtbench/python" -c '
import ctypes
error = ctypes.CDLL("libcuda.so.1").cuInit(0)
raise SystemExit(f"CUDA error {error}" if error else 0)' 2>&1 | tail -1
    return "${PIPESTATUS[0]}"
}

node=$(node_version) || node=
read -r directory image < <(image_library) || image=
if [ -n "$node" ] && [ -n "$image" ] && newer "$image" "$node"; then
    path=$directory${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    if problem=$(starts "$path"); then
        export LD_LIBRARY_PATH=$path
        say "the node's driver is $node; using the image's CUDA driver library $image (forward compatibility)"
    else
        say "the node's driver is $node, older than the image's CUDA driver library $image, which does not start here ($problem);" \
            "the driver's own is used, so CUDA may call the driver insufficient: take a newer driver or an older image"
    fi
fi
exec "$trtbench/trtbench" "$@"

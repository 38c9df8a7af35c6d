#!/usr/bin/env bash
# The tests marked `gpu`. In NVIDIA's containers they run in .venv-gpu, which sees the image's packages and changes none of them
# (install_beside.py); elsewhere in .venv. What a test needs and does not find, it names and skips.
#
# SETTINGS=0   leave out the tests that write settings of the GPU (clocks, power limit), which root may; with them the tests
#              marked `gpu` as root lock clocks for seconds and put them back
# PYTHON=...   the image's Python; default python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "test_gpu: $*" >&2; exit 2; }

has() { "${PYTHON:-python3}" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)' "$1" 2>/dev/null; }

python=.venv/bin/python
beside=()
if has tensorrt_llm; then
    beside=(tensorrt_llm)
elif [ -n "${TRT_VERSION:-}" ] && [ -e "${TRITON_ROOT:-/opt/tritonserver}/backends/tensorrt" ]; then
    beside=(sys --extra tensorrt) # a -py3 image: TensorRT's Python in the version of its Triton
fi
if [ ${#beside[@]} -gt 0 ]; then
    python=.venv-gpu/bin/python
    # Of another image, other pins or another TensorRT-LLM it is made anew.
    made_of=$({
        echo "${TRT_VERSION:-}" "${beside[@]}"
        cat constraints.txt pyproject.toml scripts/install_beside.py
        "${PYTHON:-python3}" -c '
import importlib.util, os, sys
origin = importlib.util.find_spec(sys.argv[1]).origin
print(sys.executable, sys.version, origin, os.path.exists(origin) and os.stat(origin).st_mtime_ns)' "${beside[0]}"
    } | sha256sum)
    if [ "$(cat .venv-gpu/.made-of 2>/dev/null)" != "$made_of" ]; then
        rm -rf .venv-gpu || fail "$PWD/.venv-gpu cannot be removed; the checkout must be writable"
        "${PYTHON:-python3}" scripts/install_beside.py .venv-gpu "${beside[@]:1}" --with pytest pytest-timeout hypothesis trustme h2 jsonschema
        echo "$made_of" >.venv-gpu/.made-of
    fi
else
    scripts/setup.sh
fi
marked=gpu
[ "${SETTINGS:-1}" != 0 ] || marked="gpu and not settings"
mapfile -t places < <(grep -rlE 'mark\.gpu\b' --include='test_*.py' --include=conftest.py tests | sed 's:/conftest.py$::' | sort -u)
exec "$python" -m pytest -m "$marked" -rs "$@" "${places[@]}"

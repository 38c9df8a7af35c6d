#!/usr/bin/env bash
# The tests marked `gpu`. Where the system's Python has TensorRT-LLM, as in NVIDIA's container, they run in .venv-gpu, which sees that
# Python's packages and changes none of them (install_beside.py); elsewhere in .venv. What a test needs and does not find, it names and skips.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
if "${PYTHON:-python3}" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("tensorrt_llm") is None)' 2>/dev/null; then
    python=.venv-gpu/bin/python
    # Of another image, other pins or another TensorRT-LLM it is made anew.
    made_of=$({
        cat constraints.txt pyproject.toml scripts/install_beside.py
        "${PYTHON:-python3}" -c '
import importlib.util, os, sys
origin = importlib.util.find_spec("tensorrt_llm").origin
print(sys._base_executable, sys.version, origin, os.stat(origin).st_mtime_ns)'
    } | sha256sum)
    if [ "$(cat .venv-gpu/.made-of 2>/dev/null)" != "$made_of" ]; then
        rm -rf .venv-gpu
        "${PYTHON:-python3}" scripts/install_beside.py .venv-gpu --with pytest pytest-timeout hypothesis trustme h2 jsonschema
        echo "$made_of" >.venv-gpu/.made-of
    fi
else
    scripts/setup.sh
fi
mapfile -t places < <(grep -rlE 'mark\.gpu\b' --include='test_*.py' --include=conftest.py tests | sed 's:/conftest.py$::' | sort -u)
exec "$python" -m pytest -m gpu -rs "$@" "${places[@]}"

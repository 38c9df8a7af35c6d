#!/usr/bin/env bash
# Builds the wheel of the last commit, installs it into an empty virtual environment and tries it there (docs/releasing.md).
#
# Packages come from the wheels that set-up has fetched, so that no network is used; from the package index where there are none.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/trtbench-release-XXXXXX")
trap 'rm -rf "$work"' EXIT
home=~ # also where HOME is not set
read -r key _ <.venv/.set-up
wheels=${XDG_CACHE_HOME:-$home/.cache}/trtbench/wheels/$key
pip_flags=(--quiet --disable-pip-version-check)

say() { echo "release-check: $*"; }
fail() { echo "release-check: $*" >&2; exit 1; }

say "building the wheel of $(git rev-parse --short HEAD)"
[ -z "$(git status --porcelain)" ] || say "there are changes that are not committed: they are not in the wheel"
mkdir "$work/source" "$work/empty"
git archive HEAD | tar -x -C "$work/source"
.venv/bin/python -m pip wheel "${pip_flags[@]}" --no-deps --no-build-isolation --no-index --wheel-dir "$work" "$work/source"
wheel=$(echo "$work"/trtbench-*-py3-none-any.whl)

say "installing $(basename "$wheel") into an empty environment"
.venv/bin/python -c 'import sys, venv; venv.create(sys.argv[1], with_pip=True)' "$work/venv"
if [ -d "$wheels" ]; then
    source=(--no-index --find-links "$wheels")
else
    say "$wheels is not there: the package index is asked"
    source=()
fi
"$work/venv/bin/python" -m pip install "${pip_flags[@]}" "${source[@]}" --constraint constraints.txt "$wheel"
"$work/venv/bin/python" -m pip "${pip_flags[@]}" check >/dev/null || fail "packages do not fit together: $("$work/venv/bin/python" -m pip check || true)"

cp -r "$work/source/examples/precision" "$work/run"
cd "$work/empty" # where no checkout can be found by accident
trtbench=$work/venv/bin/trtbench
version=$("$trtbench" --version)
version=${version##* }
say "version $version"
grep -q "^## $version " "$work/source/CHANGELOG.md" || fail "CHANGELOG.md has no section \`## $version - DATE\`"
"$trtbench" scenarios >listed
grep -q quickstart listed || fail "\`trtbench scenarios\` does not list quickstart"
rm -r "$work"/run/report.* "$work"/run/summary.json "$work"/run/plots
for language in en zh; do
    "$trtbench" report "$work/run" --lang "$language" >/dev/null
    [ -s "$work/run/report.html" ] && [ -s "$work/run/report.md" ] || fail "\`trtbench report --lang $language\` wrote no report"
done
"$work/venv/bin/python" - "$work/run" <<'PYTHON' || fail "the Python interface does not work"
import importlib.resources
import sys

import trtbench

run = trtbench.load_run(sys.argv[1])
assert len(run.requests) and len(run.samples) and run.summary.deployments
assert (importlib.resources.files(trtbench) / "py.typed").is_file()
assert all(hasattr(trtbench, name) for name in trtbench.__all__)
PYTHON
say "the wheel of $version works"

#!/usr/bin/env bash
# scripts/picture.sh REPORT.html PICTURE.png [WIDTH] [HEIGHT]: a picture of a report, as README.md shows, by headless Chromium.
set -euo pipefail
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update \
    --disable-sync --hide-scrollbars --user-data-dir="$profile" --window-size="${3:-1280},${4:-1500}" --screenshot="$2" \
    "file://$(realpath "$1")" 2>/dev/null

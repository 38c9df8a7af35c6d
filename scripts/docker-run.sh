#!/usr/bin/env bash
# Runs trtbench in the image that the Dockerfile makes.
#
#   scripts/docker-run.sh gpu|encoder|cpu [--gpu-control] COMMAND...   as: scripts/docker-run.sh cpu serve-and-bench quickstart
#   scripts/docker-run.sh fetch REPOSITORY                     a checkpoint of the Hugging Face hub, into $MODELS/<last part of its name>
#
# --gpu-control  as root with CAP_SYS_ADMIN, which holding clocks and power limits takes (`trtbench gpu lock`, `gpu:` in a scenario)
# IMAGE          the image; default trtbench:gpu, with encoder or cpu the one of that name
# DATA           directory of this machine for runs/, engines/, cache/, tmp/; default ./trtbench-data
# MODELS         directory of checkpoints, /models inside, read-only but for fetch; default $DATA/models
# GPUS           docker's --gpus, as all, '"device=0,1"' or '"device=MIG-<uuid>"'; default all
# CPUS           docker's --cpuset-cpus, as 0-15; default every core
# SHM_SIZE       /dev/shm, for Triton's Python models and NCCL; default 2g
# HF_TOKEN_FILE  file with a token of the hub; mounted for fetch alone, never in the environment
# DRY_RUN=1      print the docker command, run nothing
set -euo pipefail

fail() { echo "docker-run: $*" >&2; exit 2; }

usage() { sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

# What every run has: PID 1 that reaps and hands on SIGTERM, no new rights, and nothing to write to but the mounts.
common() {
    data=$(realpath -m "${DATA:-trtbench-data}")
    models=$(realpath -m "${MODELS:-$data/models}")
    case $data$models in *:*) fail "$data, $models: docker's mounts take no colon in a path" ;; esac
    writable=("$data"/{runs,engines,cache,tmp})
    options+=(--rm --init --read-only --cap-drop ALL --security-opt no-new-privileges --stop-timeout 120
        --shm-size "${SHM_SIZE:-2g}" --ulimit stack=67108864
        --volume "$data/runs:/work/runs" --volume "$data/engines:/work/engines/built"
        --volume "$data/cache:/cache" --volume "$data/tmp:/tmp")
    if ! rootless || [ "$(ulimit -H -l)" = unlimited ]; then
        options+=(--ulimit memlock=-1)
    fi
    [ -z "${CPUS:-}" ] || options+=(--cpuset-cpus "$CPUS")
    [ ! -t 0 ] || [ ! -t 1 ] || options+=(--interactive --tty)
}

# Whether the daemon runs as the caller, as Docker's rootless mode and Podman's do. Such a daemon cannot raise a limit over the caller's.
asked() { timeout 20 docker info --format "$1" 2>/dev/null; }
rootless() {
    [ -n "${known:-}" ] || known=$(asked '{{.SecurityOptions}}' || asked 'rootless={{.Host.Security.Rootless}}' || echo no)
    [[ $known =~ name=rootless|rootless=true ]]
}

# The caller's own user, so that what a run writes is theirs: under a rootless daemon that is the container's root. For root it is the
# image's user, to whom the directories are then given.
unprivileged() {
    user=$(id -u):$(id -g)
    if rootless; then
        user=0:0
    elif [ "$(id -u)" -eq 0 ]; then
        user=10001:10001
    fi
    options+=(--user "$user")
}

fetch() {
    local repository=$1 name=${1##*/}
    [[ $repository =~ ^[A-Za-z0-9._-]+/[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || fail "$repository is no name on the hub: write OWNER/MODEL"
    unprivileged
    writable+=("$models/$name")
    options+=(--volume "$models/$name:/models/$name" --entrypoint /opt/trtbench/bin/python)
    if [ -n "${HF_TOKEN_FILE:-}" ]; then
        [ -r "$HF_TOKEN_FILE" ] || fail "HF_TOKEN_FILE: $HF_TOKEN_FILE cannot be read"
        options+=(--mount "type=bind,source=$(realpath "$HF_TOKEN_FILE"),target=/run/secrets/hf_token,readonly"
            --env HF_TOKEN_PATH=/run/secrets/hf_token)
    fi
    # The ignored are the same weights once more.
    command=("${IMAGE:-trtbench:gpu}" -c 'import sys
from huggingface_hub import snapshot_download
snapshot_download(sys.argv[1], local_dir=sys.argv[2], ignore_patterns=["original/*", "*.pth", "*.gguf", "*.h5", "*.msgpack", "*.ot", "onnx/*", "openvino/*", "coreml/*"])' "$repository" "/models/$name")
}

bench() {
    local target=$1
    shift
    if [ "${1:-}" = --gpu-control ]; then
        ! rootless || fail "--gpu-control: clocks and power limits need root on the node, which a rootless daemon has not"
        options+=(--user 0:0 --cap-add SYS_ADMIN --cap-add DAC_OVERRIDE) # the second: to write into directories of the caller's
        shift
    else
        unprivileged
    fi
    [ "$target" = cpu ] || options+=(--gpus "${GPUS:-all}")
    options+=(--volume "$models:/models:ro")
    command=("${IMAGE:-trtbench:$target}" "$@")
}

options=()
command=()
user=
case ${1:-} in
    gpu | encoder | cpu)
        common
        bench "$@"
        ;;
    fetch)
        [ $# -eq 2 ] || fail "fetch takes one repository, as OWNER/MODEL"
        common
        fetch "$2"
        ;;
    -h | --help)
        usage
        exit
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac
if [ -n "${DRY_RUN:-}" ]; then
    printf '%q ' docker run "${options[@]}" "${command[@]}"
    echo
    exit
fi
mkdir -p "${writable[@]}" "$models"
[ "$user" != 10001:10001 ] || chown "$user" "${writable[@]}"
exec docker run "${options[@]}" "${command[@]}"

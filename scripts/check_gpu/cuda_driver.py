"""The CUDA driver, as trtbench asks it by ctypes, against NVML: the same GPU by UUID, name and memory. Ends with 1 where they differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from trtbench.gpu import inventory


def ask(**more: str) -> list[dict[str, Any]]:
    """The GPUs that CUDA shows a process with these variables."""
    command = [sys.executable, "-m", "trtbench.system.cuda"]
    done = subprocess.run(command, env=os.environ | more, stdout=subprocess.PIPE, text=True, check=True)
    return list(json.loads(done.stdout))


def main() -> int:
    told = {gpu["uuid"]: gpu for gpu in inventory.describe()}
    with inventory.session() as gpus:
        instances = {instance.uuid.removeprefix("MIG-") for gpu in gpus for instance in inventory.mig_instances(gpu)}
    seen = {f"GPU-{gpu['uuid']}": gpu for gpu in ask()}
    problems = []
    for uuid, gpu in seen.items():
        if uuid.removeprefix("GPU-") in instances:
            print(f"{uuid} is a MIG instance; NVML has it too")
            continue
        if uuid not in told:
            problems.append(f"CUDA shows {uuid}, NVML does not")
            continue
        if gpu["name"] != told[uuid]["name"]:
            problems.append(f"{uuid} is {gpu['name']} by CUDA, {told[uuid]['name']} by NVML")
        memory = f"total by CUDA {gpu['total_bytes']}, by NVML {told[uuid]['memory_bytes']}; free by CUDA {gpu['free_bytes']}"
        print(f"{uuid}: SM {gpu['sm']}; {memory}")
        if [f"GPU-{one['uuid']}" for one in ask(CUDA_VISIBLE_DEVICES=uuid)] != [uuid]:
            problems.append(f"CUDA_VISIBLE_DEVICES={uuid} does not choose that GPU")
    if not seen:
        problems.append("CUDA shows no GPU, NVML does: check CUDA_VISIBLE_DEVICES")
    if ask(CUDA_VISIBLE_DEVICES=""):
        problems.append("CUDA_VISIBLE_DEVICES= (empty) does not hide the GPUs")
    print("; ".join(problems) or f"{len(seen)} GPUs are the same by CUDA and by NVML, and each can be chosen by its UUID")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

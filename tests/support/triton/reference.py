"""`python reference.py ENGINE_DIR`: OpenVINO GenAI without a server; JSON [[input ids, output tokens], ...] in, generated ids out.

In a process of its own: the engine's memory and threads go with it.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import openvino as ov
import openvino_genai as genai


def generate(pipeline: genai.ContinuousBatchingPipeline, number: int, input_ids: list[int], output_tokens: int) -> list[int]:
    config = genai.GenerationConfig()
    config.max_new_tokens = output_tokens
    config.ignore_eos = True
    handle = pipeline.add_request(number, ov.Tensor(np.array([input_ids], np.int64)), config)
    ids: list[int] = []
    while pipeline.has_non_finished_requests():
        pipeline.step()
        while handle.can_read():
            ids += next(iter(handle.read().values())).generated_ids
    return ids


def main(engine: str) -> None:
    scheduler = genai.SchedulerConfig()
    scheduler.num_kv_blocks = 24
    scheduler.max_num_batched_tokens = 256
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"  # as in the model
    properties = {"KV_CACHE_PRECISION": "f16", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    pipeline = genai.ContinuousBatchingPipeline(engine, scheduler, "CPU", properties)
    print(json.dumps([generate(pipeline, number, *asked) for number, asked in enumerate(json.load(sys.stdin))]))


if __name__ == "__main__":
    main(sys.argv[1])

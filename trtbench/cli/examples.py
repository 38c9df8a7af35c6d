"""Examples that `--help` shows; a test runs each of them with `--dry-run`."""

BENCH_EXAMPLES = """\b
Examples:
  trtbench bench -u localhost:8001 -m tensorrt_llm --concurrency 1,4,16 --request-count 64
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 2,4 --isl 512 --osl 64:256
  trtbench bench -u localhost:8001 -m tensorrt_llm --request-rate 8 --max-concurrency 16 --request-count 200
  trtbench bench -u localhost:8001 -m tensorrt_llm --goodput ttft:500 tpot:50 --benchmark-duration 60
  trtbench bench -u localhost:8001 -m tensorrt_llm --metrics-url localhost:8002/metrics --random-seed 7

\b
Flags of perf_analyzer, genai-perf, aiperf, vllm bench serve, trtllm-bench, Locust, wrk and hey
are understood where they mean the same: docs/coming-from.md.
"""

RUN_EXAMPLES = """\b
Examples:
  trtbench serve-and-bench quickstart
  trtbench serve-and-bench quickstart --set load.0.requests=20 --set engines=[int8]
"""

BUILD_EXAMPLES = """\b
Examples:
  trtbench build smollm2-135m --dtype int8
"""

"""Flags of other tools and their equivalents here, for the hints of the command line and for docs/coming-from.md."""

from __future__ import annotations

from typing import Literal, NamedTuple

Reads = Literal["value", "duration", "range", "rates", "only", "unless"]
"""Translations of the value. value: as it is. duration: seconds, or 30s, 2m, 1h. range, rates: START:END:STEP becomes a list of levels.
only: one of `words` changes nothing here and is left out, any other ends in the sentence. unless: one of `words` is left out, any other
is our flag's value.
"""


class Foreign(NamedTuple):
    """`ours` is what `theirs` becomes, {} standing for the value; empty: no flag here means the same, and `says` names what to do."""

    theirs: str
    tools: str
    ours: str = ""
    says: str = ""
    reads: Reads = "value"
    words: tuple[str, ...] = ()


_P, _G, _A, _V, _T = "perf_analyzer", "genai-perf", "aiperf", "vllm bench serve", "trtllm-bench"
_PG, _PGA, _GA = f"{_P}, {_G}", f"{_P}, {_G}, {_A}", f"{_G}, {_A}"
_FILES = "leave it out: every run writes its figures and its requests into a run directory; --artifact-dir says where"
_LATENCIES = "leave it out: the report has p50, p90, p95, p99 and p99.9 of every latency that has enough requests"
_WINDOWS = "windows are of time: give --measurement-interval MS, or --request-count, the requests of a stage"
_SAMPLING = "requests are decoded greedily; over HTTP --extra-input temperature:0.7 changes that, else workload.sampling of a scenario"
_INPUTS = "give each key as --extra-input KEY:VALUE over HTTP; over gRPC --isl, --osl and --eos-id set what a request asks"
_ENDPOINT = "give --endpoint-type: kserve (gRPC, the default), openai-completions, openai-chat or generate"
_PATH = "leave it out: --endpoint-type decides the path, and --url has the prefix before it"
_SESSIONS = "sessions are part of a scenario: workload.sessions with trtbench serve-and-bench"
_TOKENIZER = "leave it out: --tokenizer DIR reads tokenizer.json and runs no code"
_ADDRESS = "give --url HOST:PORT, the gRPC endpoint (8001 by default)"
_SHM = "requests carry their tensors over gRPC; shared memory is not used"

BENCH: tuple[Foreign, ...] = (
    Foreign("-H", _PGA, "--header={}"),
    Foreign("-m", _PGA, "--model={}"),
    Foreign("--model-name", "many", "--model={}"),
    Foreign("--model-names", _A, "--model={}"),
    Foreign("--served-model-name", _V, says="give it as --model, the name by which the server knows the model"),
    Foreign("-x", _P, "--model-version={}"),
    Foreign("-u", _PGA, "--url={}"),
    Foreign("--base-url", _V, "--url={}"),
    Foreign("--host", f"{_V}, Locust", says=_ADDRESS),
    Foreign("--port", _V, says=_ADDRESS),
    Foreign("-i", _P, says="give --endpoint-type generate for Triton's HTTP endpoint", reads="only", words=("grpc",)),
    Foreign("--service-kind", _PG, says=_ENDPOINT, reads="only", words=("triton", "tensorrtllm_engine")),
    Foreign("--backend", f"{_G}, {_V}, {_T}", "--endpoint-type={}", reads="unless", words=("tensorrtllm", "tensorrt_llm", "trtllm")),
    Foreign("--endpoint", f"{_GA}, {_V}", says=_PATH, reads="only", words=("/v1/completions", "/v1/chat/completions")),
    Foreign("--custom-endpoint", _A, says=_PATH),
    Foreign("--api-key", _A, says="give the name of a variable that has the key: --api-key-env VARIABLE"),
    Foreign("-a", _P, says="leave it out: requests are always asynchronous"),
    Foreign("--async", _P, says="leave it out: requests are always asynchronous"),
    Foreign("--sync", _P, says="leave it out: requests are always asynchronous; --concurrency says how many are in flight"),
    Foreign("--ssl-grpc-use-ssl", _P, "--tls"),
    Foreign("--ssl-grpc-root-certifications-file", _P, "--tls-ca={}"),
    Foreign("--ssl-grpc-private-key-file", _P, "--tls-key={}"),
    Foreign("--ssl-grpc-certificate-chain-file", _P, "--tls-cert={}"),
    Foreign("--ssl-https-ca-certificates-file", _P, says="give --tls-ca FILE"),
    Foreign("--grpc-compression-algorithm", _P, says="messages are sent uncompressed; leave it out"),
    Foreign("--triton-server-directory", _P, says="trtbench bench measures a server that runs; trtbench serve-and-bench starts one"),
    Foreign("--model-repository", _P, says="trtbench bench measures a server that runs; trtbench serve-and-bench starts one"),
    Foreign("-c", f"{_P}, hey, wrk", "--concurrency={}"),
    Foreign("--users", "Locust", "--concurrency={}"),
    Foreign("--connections", "wrk", "--concurrency={}"),
    Foreign("--vus", "k6", "--concurrency={}"),
    Foreign("--concurrency-range", _P, "--concurrency={}", reads="range"),
    Foreign("--periodic-concurrency-range", _P, says="users enter one by one by --concurrency N --concurrency-ramp-duration SECONDS"),
    Foreign("--request-rate-range", _P, "--request-rate={}", reads="rates"),
    Foreign("--rate", "wrk2", "--request-rate={}"),
    Foreign("-R", "wrk2", "--request-rate={}"),
    Foreign("--qps", "many", "--request-rate={}"),
    Foreign("--rps", "many", "--request-rate={}"),
    Foreign("-q", "hey", says="give --request-rate, the requests per second of all users together"),
    Foreign("--request-distribution", _P, "--arrival-pattern={}"),
    Foreign("--request-intervals", _P, says="give a trace: --input-file TRACE.jsonl --fixed-schedule"),
    Foreign("--ramp-up-strategy", _V, says="ramps are linear: --ramp-up-start-rps and --ramp-up-end-rps", reads="only", words=("linear",)),
    Foreign("--spawn-rate", "Locust", says="users enter one by one by --concurrency N --concurrency-ramp-duration SECONDS"),
    Foreign(
        "-r",
        f"{_P}, Locust",
        says="give --max-trials, the most windows of a stage, or --concurrency-ramp-duration SECONDS, in which users enter",
    ),
    Foreign("--max-threads", _P, says="leave it out, or give --workers: processes that send the load"),
    Foreign("--threads", "wrk", says="leave it out, or give --workers: processes that send the load"),
    Foreign("--workers-max", _A, says="leave it out, or give --workers: processes that send the load"),
    Foreign("-n", "hey", "--request-count={}"),
    Foreign("--num-requests", _T, "--request-count={}"),
    Foreign("--iterations", "k6", "--request-count={}"),
    Foreign("-d", "wrk", "--benchmark-duration={}", reads="duration"),
    Foreign("-z", "hey", "--benchmark-duration={}", reads="duration"),
    Foreign("--duration", "wrk, k6", "--benchmark-duration={}", reads="duration"),
    Foreign("--run-time", "Locust", "--benchmark-duration={}", reads="duration"),
    Foreign(
        "-t", f"{_P}, wrk, hey, Locust", says="give --concurrency (users), --benchmark-duration (seconds) or --request-timeout (seconds)"
    ),
    Foreign("--timeout", "wrk", "--request-timeout={}", reads="duration"),
    Foreign("--request-timeout-seconds", _A, "--request-timeout={}"),
    Foreign("--benchmark-grace-period", _A, says="leave it out: what is in flight at the end is waited for, up to --request-timeout"),
    Foreign("--num-warmups", _V, "--warmup-request-count={}"),
    Foreign("--num-warmup-requests", "many", "--warmup-request-count={}"),
    Foreign("--warmup-requests", "many", "--warmup-request-count={}"),
    Foreign("--warmup", _T, "--warmup-request-count={}"),
    Foreign("--warmup-duration", _A, says="give --warmup-request-count, the requests before each stage that are not counted"),
    Foreign("--seed", _V, "--random-seed={}"),
    Foreign("-p", _PG, "--measurement-interval={}"),
    Foreign("--measurement-mode", _P, says=_WINDOWS, reads="only", words=("time_windows",)),
    Foreign("--measurement-request-count", _P, says=_WINDOWS),
    Foreign("-s", _PG, "--stability-percentage={}"),
    Foreign("-l", _P, says="give --goodput e2e:MS: the report says how many requests kept the limit"),
    Foreign("--latency-threshold", _P, says="give --goodput e2e:MS: the report says how many requests kept the limit"),
    Foreign("--binary-search", _P, says="give the levels: --concurrency 1,2,4,8; the report finds where throughput stops growing"),
    Foreign("-g", _G, "--goodput={}"),
    Foreign("--percentile", _P, says=_LATENCIES),
    Foreign("--metric-percentiles", _V, says=_LATENCIES),
    Foreign("--percentile-metrics", _V, says=_LATENCIES),
    Foreign("--latency", "wrk", says=_LATENCIES),
    Foreign("--random-input-len", _V, "--isl={}"),
    Foreign("--input-len", _V, "--isl={}"),
    Foreign("--prompt-input-tokens-mean", _A, "--isl={}"),
    Foreign("--prompt-input-tokens-stddev", _A, "--isl-stddev={}"),
    Foreign("--random-output-len", _V, "--osl={}"),
    Foreign("--output-len", _V, "--osl={}"),
    Foreign("--prompt-output-tokens-mean", _A, "--osl={}"),
    Foreign("--prompt-output-tokens-stddev", _A, "--osl-stddev={}"),
    Foreign("--max-tokens", "many", "--osl={}"),
    Foreign("--output-tokens-mean-deterministic", _G, says="leave it out: outputs have exactly --osl tokens unless --eos-id is given"),
    Foreign("--random-range-ratio", _V, says="give the ranges: --isl 64:256 and --osl 16:64 are uniform"),
    Foreign("--random-prefix-len", _V, "--num-prefix-prompts=1 --prefix-prompt-length={}"),
    Foreign("--shared-system-prompt-length", _A, "--num-prefix-prompts=1 --prefix-prompt-length={}"),
    Foreign("--num-system-prompts", _G, "--num-prefix-prompts={}"),
    Foreign("--system-prompt-length", _G, "--prefix-prompt-length={}"),
    Foreign("--prompt-prefix-pool-size", _A, "--num-prefix-prompts={}"),
    Foreign("--prefix-prompt-pool-size", _A, "--num-prefix-prompts={}"),
    Foreign("--prompt-prefix-length", _A, "--prefix-prompt-length={}"),
    Foreign("--num-dataset-entries", _GA, says="leave it out: with --request-count every request has a prompt of its own"),
    Foreign("--conversation-num", _A, says=_SESSIONS),
    Foreign("--num-sessions", _A, says=_SESSIONS),
    Foreign("--session-turns-mean", _A, says=_SESSIONS),
    Foreign("--num-of-sequences", _P, says="give --concurrency: each user sends one sequence at a time"),
    Foreign("--request-cancellation-rate", _A, says="cancelled requests are part of a scenario: workload.cancel"),
    Foreign("--dataset-name", _V, says="give the file as --input-file: ShareGPT JSON, or JSON lines", reads="only", words=("random",)),
    Foreign("--dataset-path", _V, "--input-file={}"),
    Foreign("--dataset", _T, "--input-file={}"),
    Foreign("--public-dataset", _A, says="download the file and give it as --input-file: ShareGPT JSON, or JSON lines"),
    Foreign("--custom-dataset-type", _A, says="leave it out: the format is found by the file; a trace is replayed by --fixed-schedule"),
    Foreign("--sequence-length-variation", _P, says="sequences have the same length, or that of their data (--input-data)"),
    Foreign("--sequence-id-range", _P, says="leave it out: every sequence has its own id"),
    Foreign("--serial-sequences", _P, says="leave it out: one request of a sequence is in flight at a time"),
    Foreign("--bls-composing-models", _P, says="leave it out: the statistics are those of the model"),
    Foreign("--data-directory", _P, "--input-data={}"),
    Foreign("--string-data", _P, says="give the texts as --input-data FILE.txt, or prompts as --input-file: JSON lines"),
    Foreign("-b", _PGA, "--batch-size={}"),
    Foreign("--max-batch-size", _T, says="the server has its own; --concurrency says how many requests are in flight"),
    Foreign("--sharegpt-output-len", _V, says="give the file as --input-file: its rows have their own lengths, --osl is for rows without"),
    Foreign("--hf-split", _V, says="download the data set and give one file as --input-file: ShareGPT JSON, or JSON lines"),
    Foreign("--lora-modules", _V, says="requests name no LoRA adapter: adapters are not measured"),
    Foreign("--extra-inputs", _GA, "--extra-input={}"),
    Foreign("--extra-body", _V, says=_INPUTS),
    Foreign("--request-parameter", _P, says=_INPUTS),
    Foreign("--shared-memory", _P, says=_SHM, reads="only", words=("none",)),
    Foreign("--output-shared-memory-size", _P, says=_SHM),
    Foreign("--ignore-eos", _V, "--eos-id=-1"),
    Foreign("--temperature", _V, says=_SAMPLING),
    Foreign("--logprobs", _V, says="log probabilities are not asked for: leave it out"),
    Foreign("--top-p", _V, says=_SAMPLING),
    Foreign("--top-k", _V, says=_SAMPLING),
    Foreign("--use-beam-search", _V, says=_SAMPLING),
    Foreign("--beam-width", _T, says=_SAMPLING),
    Foreign("--trust-remote-code", _V, says=_TOKENIZER),
    Foreign("--tokenizer-trust-remote-code", _GA, says=_TOKENIZER),
    Foreign("--tokenizer-mode", _V, says=_TOKENIZER),
    Foreign("--tokenizer-revision", _GA, says=_TOKENIZER),
    Foreign("--collect-metrics", _P, says="give --metrics-url http://HOST:8002/metrics; the page is read through the whole run"),
    Foreign("--metrics-interval", _P, says="leave it out: the page of --metrics-url is read every 250 ms"),
    Foreign("--server-metrics-url", _G, "--metrics-url={}"),
    Foreign("--server-metrics", _A, "--metrics-url={}"),
    Foreign("--gpu-telemetry", _A, says="give --metrics-url http://HOST:8002/metrics: Triton's page has the GPUs of its machine"),
    Foreign("-f", f"{_P}, {_A}, Locust", says=_FILES),
    Foreign("-o", "hey", says=_FILES),
    Foreign("--csv", "Locust", says=_FILES),
    Foreign("--profile-export-file", _PG, says=_FILES),
    Foreign("--profile-export-prefix", _A, says=_FILES),
    Foreign("--export-level", _A, says=_FILES),
    Foreign("--verbose-csv", _P, says=_FILES),
    Foreign("--save-result", _V, says=_FILES),
    Foreign("--save-detailed", _V, says=_FILES),
    Foreign("--append-result", _V, says=_FILES),
    Foreign("--result-filename", _V, says=_FILES),
    Foreign("--report-json", _T, says=_FILES),
    Foreign("--result-dir", _V, "--artifact-dir={}"),
    Foreign("--output-artifact-dir", _A, "--artifact-dir={}"),
    Foreign("--generate-plots", _G, says="leave it out: report.html has the plots"),
    Foreign("--label", _V, says=_FILES),
    Foreign("--metadata", _V, says=_FILES),
    Foreign("-v", _PGA, says="leave it out: progress is shown unless --quiet is given"),
    Foreign("--verbose", _GA, says="leave it out: progress is shown unless --quiet is given"),
    Foreign("--disable-tqdm", _V, "--quiet"),
    Foreign("--ui", _A, says="leave it out, or give --quiet"),
    Foreign("--headless", "Locust", says="leave it out: there is no web page; --quiet shows no progress"),
    Foreign("--ready-check-timeout-sec", _V, says="leave it out: the model must be ready when trtbench bench starts"),
    Foreign("--wait-for-model-timeout", _A, says="leave it out: the model must be ready when trtbench bench starts"),
    Foreign("--config", _A, says="give a scenario file to trtbench serve-and-bench"),
)

_BUILD_TOOL = "trtllm-build"
_SPEC = "give the checkpoint directory as SPEC: trtbench build DIR"
_PRECISION = "give --dtype: fp16, bf16, int8, int8-sq or fp8"
_PLUGINS = (
    *("gemm_plugin", "gpt_attention_plugin", "nccl_plugin", "moe_plugin", "context_fmha", "remove_input_padding"),
    *("use_fp8_context_fmha", "multiple_profiles", "reduce_fusion", "user_buffer", "use_fused_mlp"),
)

BUILD: tuple[Foreign, ...] = (
    Foreign("--checkpoint-dir", _BUILD_TOOL, says=_SPEC),
    Foreign("--model-dir", "convert_checkpoint.py", says=_SPEC),
    Foreign("--model", _T, says=_SPEC),
    Foreign("--output-dir", _BUILD_TOOL, "--output={}"),
    Foreign("--tp-size", f"convert_checkpoint.py, {_T}", "--tp={}"),
    Foreign("--pp-size", f"convert_checkpoint.py, {_T}", "--pp={}"),
    Foreign("--quantization", _T, says=_PRECISION),
    Foreign("--qformat", "quantize.py", says=_PRECISION),
    Foreign("--kv-cache-dtype", "quantize.py", "--kv-dtype={}"),
    Foreign("--calib-size", "quantize.py", "--calibration-samples={}"),
    Foreign("--calib-dataset", "quantize.py", says="give --calibration-dir DIR, which holds train.jsonl"),
    Foreign("--tokens-per-block", _BUILD_TOOL, "--kv-block-tokens={}"),
    Foreign("--use-paged-context-fmha", _BUILD_TOOL, says="give --paged-context-fmha or --no-paged-context-fmha"),
    Foreign("--max-beam-width", _BUILD_TOOL, says="leave it out: engines are built for greedy decoding and sampling"),
    Foreign("--load-format", "LLM API", says="give --dummy-weights for an engine of random weights"),
    *(Foreign(f"--{name.replace('_', '-')}", _BUILD_TOOL, f"--plugin={name}={{}}") for name in _PLUGINS),
)

OF_COMMAND: dict[str, tuple[Foreign, ...]] = {"bench": BENCH, "build": BUILD}
SCENARIO_COMMANDS = ("serve-and-bench", "serve")
"""Commands that take from a scenario what `bench` and `build` take from flags."""

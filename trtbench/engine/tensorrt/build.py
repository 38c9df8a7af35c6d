"""`python -m trtbench.engine.tensorrt.build PLAN.json` builds a TensorRT plan from ONNX, in a process of its own.

Only this file imports tensorrt. The network is strongly typed, so that the ONNX alone determines the precision of each operation: this
holds for TensorRT 10, where the flags of precision are deprecated, and for 11, which has none.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import tensorrt as trt


class TensorRtError(RuntimeError):
    """TensorRT refused a step, which the message names."""


def parse(builder: Any, onnx: str, logger: Any) -> Any:
    """(Network of a file, its parser). The parser must live as long as the network."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(onnx):
        errors = "; ".join(parse_error(parser.get_error(index)) for index in range(parser.num_errors))
        raise TensorRtError(f"TensorRT {trt.__version__} does not read {Path(onnx).name}: {errors}")
    return network, parser


def parse_error(error: Any) -> str:
    """An error of the parser with its operator and node, which TensorRT's own description often omits."""
    where = " ".join(filter(None, (error.node_operator(), error.node_name())))
    return f"{where}: {error.desc()}" if where else str(error.desc())


def configure(builder: Any, plan: dict[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, plan["workspace_bytes"])
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # layers.json; it costs no time when the plan runs
    profile = builder.create_optimization_profile()
    for name in plan["inputs"]:
        profile.set_shape(name, *map(tuple, plan["shapes"]))
    config.add_optimization_profile(profile)
    cache = config.create_timing_cache(kept_timings(Path(plan["timing_cache"])))
    config.set_timing_cache(cache, ignore_mismatch=False)  # the cache of another machine is not used, and all kernels are timed again
    return config


def kept_timings(path: Path) -> bytes:
    """The timing cache of earlier builds; empty if there is none, or if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def keep_timings(config: Any, path: Path) -> None:
    """Write the timing cache for later builds. If that fails, this build still succeeds and later ones take longer."""
    written = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written.write_bytes(config.get_timing_cache().serialize())
        written.replace(path)  # atomically, because a concurrent build reads the file
    except OSError as error:
        print(f"the timing cache {path} is not kept: {error}", file=sys.stderr)


def describe(serialized: Any, logger: Any, layers: Path) -> dict[str, Any]:
    """The properties of a plan, read back as a server would read it. Its layers are written to a file."""
    engine = trt.Runtime(logger).deserialize_cuda_engine(serialized)
    if engine is None:
        raise TensorRtError("the plan that was built cannot be read back")
    layers.write_text(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON), encoding="utf-8")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return {
        "tensors": {
            name: {
                "mode": engine.get_tensor_mode(name).name.lower(),
                "datatype": engine.get_tensor_dtype(name).name,
                "dims": list(engine.get_tensor_shape(name)),
            }
            for name in names
        },
        "layers": engine.num_layers,
    }


def build(plan: dict[str, Any]) -> None:
    logger = trt.Logger(trt.Logger.INFO)
    builder = trt.Builder(logger)
    network, _parser = parse(builder, plan["onnx"], logger)
    config = configure(builder, plan)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise TensorRtError("TensorRT built no plan; its log above gives the reason")
    Path(plan["output"]).write_bytes(serialized)
    keep_timings(config, Path(plan["timing_cache"]))
    Path(plan["facts"]).write_text(json.dumps(describe(serialized, logger, Path(plan["layers"]))), encoding="utf-8")


if __name__ == "__main__":
    try:
        build(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    except TensorRtError as error:
        sys.exit(str(error))

"""Stands in for the package `tensorrt`: its classes have the names that the recorded bindings have, and refuse every other; so do calls.

The plan that it "builds" is JSON: what the ONNX file says, and how the builder was configured.
"""

from __future__ import annotations

import enum
import json
import os
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).parent
_PAGE = "from tests.contracts.tensorrt_stub import members\n\nglobals().update(members({major}))\n__version__ = {version!r}\n"


@cache
def contract(major: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / f"tensorrt_{major}.json").read_text(encoding="utf-8"))
    return found


def write_tensorrt(directory: Path, version: str) -> None:
    """The package, for our own process and for the children that a build starts; `environment` of stub.py lets them find it."""
    page = _PAGE.format(major=int(version.split(".")[0]), version=version)
    metadata = f"Metadata-Version: 2.1\nName: tensorrt\nVersion: {version}\n"
    for path, text in ((f"tensorrt-{version}.dist-info/METADATA", metadata), ("tensorrt/__init__.py", page)):
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text, encoding="utf-8")


class _Object:
    _behaviour: type
    _facts: dict[str, Any]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        bound = _bind(self, "__init__", arguments, keywords)
        object.__setattr__(self, "_", self._behaviour(**bound))

    def __getattr__(self, name: str) -> Any:
        if name in self._facts["methods"]:
            return lambda *arguments, **keywords: getattr(self._, name)(**_bind(self, name, arguments, keywords))
        if name in self._facts["attributes"]:
            return getattr(self._, name)
        raise AttributeError(f"tensorrt.{type(self).__name__} has no {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._facts["attributes"]:
            raise AttributeError(f"tensorrt.{type(self).__name__} has no {name}")
        setattr(self._, name, value)


def _bind(made: _Object, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
    """The call by names; TypeError when no recorded signature takes it."""
    for signature in made._facts["methods"].get(name, [{"parameters": []}]):
        names = [parameter["name"] for parameter in signature["parameters"]]
        needed = {parameter["name"] for parameter in signature["parameters"] if parameter["required"]}
        found = dict(zip(names, arguments, strict=False)) | keywords
        if len(arguments) <= len(names) and needed <= set(found) <= set(names):
            return found
    raise TypeError(f"tensorrt.{type(made).__name__}.{name} takes no {arguments} {keywords}")


def members(major: int) -> dict[str, Any]:
    enums = {name: enum.IntEnum(name, values, start=0) for name, values in contract(major)["enums"].items()}
    made: dict[str, Any] = {}
    library = SimpleNamespace(enums=SimpleNamespace(**enums), made=made)
    for name, facts in contract(major)["classes"].items():
        behaviour = type(name, (_BEHAVIOURS.get(name, _Plain),), {"library": library})
        made[name] = type(name, (_Object,), {"_behaviour": behaviour, "_facts": facts})
    for number, severity in enumerate(contract(major)["severities"]):
        setattr(made["Logger"], severity, number)
    return enums | made


class _Plain:
    library: Any

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)


class _Builder(_Plain):
    def create_network(self, flags: int = 0) -> Any:
        return SimpleNamespace(typed=bool(flags & 1 << self.library.enums.NetworkDefinitionCreationFlag.STRONGLY_TYPED), model=None)

    def create_builder_config(self) -> Any:
        return self.library.made["IBuilderConfig"]()

    def create_optimization_profile(self) -> Any:
        return self.library.made["IOptimizationProfile"]()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        assert network.model and config._.profiles and config._.cache is not None
        plan = network.model | {"strongly_typed": network.typed, "shapes": config._.profiles[0]._.shapes, "pools": config._.pools}
        return None if os.environ.get("TENSORRT_STUB_FAILS") == "build" else json.dumps(plan).encode()


class _Parser(_Plain):
    network: Any
    num_errors = 0

    def parse_from_file(self, model: str) -> bool:
        import onnx

        found = onnx.load(model)
        onnx.checker.check_model(found)
        if os.environ.get("TENSORRT_STUB_FAILS") == "parse":
            self.num_errors = 1
            return False
        assert {one.domain for one in found.opset_import} == {""}
        ends = {"input": found.graph.input, "output": found.graph.output}
        types = {onnx.TensorProto.INT32: "INT32", onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF"}
        tensors = [
            (end.name, mode, types[end.type.tensor_type.elem_type], [dim.dim_value or -1 for dim in end.type.tensor_type.shape.dim])
            for mode, found_ends in ends.items()
            for end in found_ends
        ]
        kinds = [node.op_type for node in found.graph.node]
        self.network.model = {"tensors": tensors, "q": kinds.count("QuantizeLinear"), "dq": kinds.count("DequantizeLinear")}
        return True

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: f"error {index} of the parser", node_operator=lambda: "MatMul", node_name=lambda: "/a/MatMul")


class _Config(_Plain):
    cache: Any = None
    profiling_verbosity: Any = None

    def __init__(self) -> None:
        self.pools: dict[str, int] = {}
        self.profiles: list[Any] = []

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.pools[pool.name] = pool_size

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> bytes:
        return serialized_timing_cache

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        self.cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.cache + b"timed ")


class _Profile(_Plain):
    def __init__(self) -> None:
        self.shapes: dict[str, Any] = {}

    def set_shape(self, **shape: Any) -> None:
        self.shapes[shape.pop("input")] = shape


class _Runtime(_Plain):
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        engine = self.library.made["ICudaEngine"]()
        plan = json.loads(serialized_engine)
        vars(engine._).update(plan=plan, num_io_tensors=len(plan["tensors"]), num_layers=plan["q"] + 1)
        return engine


class _Engine(_Plain):
    plan: dict[str, Any]

    def _of(self, name: str) -> Any:
        return next(tensor for tensor in self.plan["tensors"] if tensor[0] == name)

    def get_tensor_name(self, index: int) -> str:
        return str(self.plan["tensors"][index][0])

    def get_tensor_mode(self, name: str) -> Any:
        return self.library.enums.TensorIOMode[self._of(name)[1].upper()]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.library.enums.DataType[self._of(name)[2]]

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self._of(name)[3])

    def create_engine_inspector(self) -> Any:
        return self.library.made["EngineInspector"]()


class _Inspector(_Plain):
    def get_engine_information(self, format: Any) -> str:
        return json.dumps({"Layers": []})


_BEHAVIOURS = {
    "Builder": _Builder,
    "OnnxParser": _Parser,
    "IBuilderConfig": _Config,
    "IOptimizationProfile": _Profile,
    "Runtime": _Runtime,
    "ICudaEngine": _Engine,
    "EngineInspector": _Inspector,
}

"""What the requests of task infer carry: where the values of a model's input tensors come from, and their shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from trtbench.scenario.parts.bounds import AtMost, BatchItems, InputInteger, InputRows, Ratio, StringBytes, TensorSize
from trtbench.scenario.parts.part import Part

TensorName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Shape = Annotated[tuple[TensorSize, ...], Field(max_length=8)]
Layout = Literal["nchw", "nhwc"]


class Tensors(Part):
    """Input tensors. Names, types and fixed dimensions are those that the server reports of the model."""

    data: Literal["random", "zero"] | Path = Field(
        "random",
        description=(
            "random: drawn from seeds.prompts; zero; or a path: JSON in perf_analyzer's format, .npy, .npz, .txt, or a folder of pictures, "
            "of texts or of perf_analyzer's binary files."
        ),
    )
    shapes: Annotated[dict[TensorName, Shape], AtMost(64)] = Field(
        {},
        description=(
            "Shape of an input without its batch dimension, by name; needed for variable dimensions (-1), and to send optional inputs."
        ),
    )
    batch_size: BatchItems = Field(1, description="Items of one request, along the batch dimension.")
    rows: InputRows = Field(16, description="Different requests that are drawn where data is random; they are then used in turn.")
    largest_integer: InputInteger = Field(
        255, description="Random integers are drawn from 0 to this number, or to the largest of their type."
    )
    string_bytes: StringBytes = Field(128, description="Length of each random string.")
    layout: Layout | None = Field(
        None, description="Order of a picture's dimensions: nchw or nhwc; null: that in which the input has 1 or 3 channels."
    )
    tolerance_ratio: Ratio = Field(
        0.001,
        description="Largest difference of a float output from the expected value, as a share of that value, or of 1 if it is less.",
    )

    @model_validator(mode="after")
    def _of_the_data(self) -> Tensors:
        if self.layout and not isinstance(self.data, Path):
            raise ValueError(f"layout: is that of pictures, data is {self.data}: leave layout out, or name a folder of pictures")
        return self

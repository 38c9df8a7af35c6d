"""Pictures as tensors: decoded, resized to the input's shape, with channels before or after height and width."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.tensor import BYTES, FLOATS, Array, TensorSpec, encode_strings
from trtbench.scenario.workload.tensors import Layout
from trtbench.system.foreign_text import shown

PICTURES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_CHANNELS = {1: "L", 3: "RGB"}


def picture_item(file: Path, reader: ItemReader, layout: Layout | None) -> Item:
    """A picture as the model's input: pixels from 0 to 255 for an integer type, from 0 to 1 for a floating-point type.

    A model that takes strings, or a vector of UINT8, decodes pictures itself: it gets the bytes of the file.
    """
    spec, where = reader.only_input(str(file)), str(file)
    if spec.datatype == BYTES or (spec.datatype == "UINT8" and len(spec.shape) == 1):
        content = file.read_bytes()
        raw = encode_strings([content]) if spec.datatype == BYTES else content
        return reader.item({spec.name: reader.raw_tensor(spec, raw, None, where)}, {}, where)
    shape = reader.shape_of(spec, 0, None, where)
    order = layout or _layout_of(spec, shape, where)
    channels, height, width = shape if order == "nchw" else (shape[2], *shape[:2])
    pixels = _pixels(file, channels, height, width)
    if order == "nchw":
        pixels = pixels.transpose(2, 0, 1)
    values = pixels / np.float32(255) if spec.datatype in (*FLOATS, "BF16") else pixels
    return reader.item({spec.name: reader.tensor(spec, values, shape, where)}, {}, where)


def _layout_of(spec: TensorSpec, shape: tuple[int, ...], where: str) -> Layout:
    """The order of dimensions in which the input has 1 or 3 channels, before height and width if both have."""
    if len(shape) == 3 and shape[0] in _CHANNELS:
        return "nchw"
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return "nhwc"
    raise WorkloadError(
        f"{where}: is a picture, input {shown(spec.name, 80)} has shape {list(shape)}: a picture has 1 or 3 channels, height and width"
    )


def _pixels(file: Path, channels: int, height: int, width: int) -> Array:
    """Pixels of shape [height, width, channels], 0 to 255."""
    from PIL import Image  # needed for pictures only

    if channels not in _CHANNELS:
        raise WorkloadError(f"{file}: workload.tensors.layout gives it {channels} channels; a picture has 1 or 3: choose the other layout")
    try:
        with Image.open(file) as picture:
            resized = picture.convert(_CHANNELS[channels]).resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise WorkloadError(f"{file}: is not a picture that can be decoded ({error}): remove it from the folder") from error
    return np.asarray(resized, np.uint8).reshape(height, width, channels)

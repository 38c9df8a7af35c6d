"""Options of `trtbench bench --task infer`, as perf_analyzer names them."""

from __future__ import annotations

import click

from trtbench.cli.flags.values import INT32_MAX, Place, Text, Whole

TENSOR_OPTIONS = (
    click.option(
        "--input-data",
        type=Place(),
        help="Send this data to the model of --task infer: random (the default), zero, or a file or folder (docs/any-model.md).",
    ),
    click.option(
        "--shape",
        multiple=True,
        type=Text(),
        metavar="NAME:D,D,...",
        help="Send this input of --task infer in this shape, without the batch dimension. The option may be repeated.",
    ),
    click.option(
        "--batch-size",
        type=Whole(1, INT32_MAX),
        default=1,
        show_default=True,
        help="Send this number of items in each request of --task infer, along the batch dimension.",
    ),
    click.option(
        "--integer-max",
        type=Whole(0, 2**62),
        default=255,
        show_default=True,
        help="Draw random integers of --task infer from 0 to this number, or to the largest of their type.",
    ),
    click.option(
        "--string-length",
        type=Whole(0, 1 << 20),
        default=128,
        show_default=True,
        help="Make each random string of --task infer of this number of bytes.",
    ),
    click.option(
        "--sequence-length", type=Whole(1, INT32_MAX), help="Send sequences of this number of requests to a model that keeps state (infer)."
    ),
)

"""Options of `trtbench bench` that perf_analyzer has: tensors of `--task infer`, and windows that are repeated until they are steady."""

from __future__ import annotations

import click

from trtbench.cli.flags.values import INT32_MAX, Place, Real, Text, Whole

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
        "--layout",
        type=click.Choice(["nchw", "nhwc"]),
        help="Order the dimensions of pictures of --input-data in this way. By default the place of 1 or 3 channels says it.",
    ),
    click.option(
        "--sequence-length", type=Whole(1, INT32_MAX), help="Send sequences of this number of requests to a model that keeps state (infer)."
    ),
    click.option(
        "--measurement-interval",
        type=Whole(1, INT32_MAX),
        metavar="MS",
        help="End a stage when three windows of this number of milliseconds in a row are steady. The default is 5000 if it is used.",
    ),
    click.option(
        "--stability-percentage",
        type=Real(0.001, 200),
        help="Call windows steady if their rates and latencies are within this percentage of one another. The default is 10 if it is used.",
    ),
    click.option(
        "--max-trials",
        type=Whole(3, INT32_MAX),
        help="End a stage after this number of windows at the latest. The default is 10 if it is used.",
    ),
)

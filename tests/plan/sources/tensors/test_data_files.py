"""Data of files: perf_analyzer's JSON, NumPy files, folders of pictures, texts and raw bytes; and what is wrong with a file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.rows import TensorRows, open_rows
from trtbench.plan.sources.tensors.tensor import BYTES, ModelTensors, Tensor, TensorSpec, encode_strings, encode_values
from trtbench.scenario.workload.tensors import Tensors

IN, OUT = TensorSpec("IN", "INT32", (2,)), TensorSpec("OUT", "FP32", (2,))
IMAGE = TensorSpec("IMAGE", "FP32", (3, -1, -1))


def model(*inputs: TensorSpec, most: int = 8) -> ModelTensors:
    return ModelTensors(inputs, (OUT,), most, decoupled=False, keeps_state=False)


def rows_of(path: Path, one: ModelTensors, **asked: Any) -> TensorRows:
    return open_rows(Tensors(data=path, **asked), one, 1)


def written(path: Path, tree: object) -> Path:
    file = path / "data.json"
    file.write_text(json.dumps(tree), encoding="utf-8")
    return file


def values(tensor: Tensor, kind: str = "<i4") -> list[Any]:
    found: list[Any] = np.frombuffer(tensor.data, kind).tolist()
    return found


NUMBERS = st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2), min_size=1, max_size=6)


@given(numbers=NUMBERS, batch=st.integers(1, 4), as_base64=st.booleans())
def test_json_in_every_spelling_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[list[int]], batch: int, as_base64: bool
) -> None:
    encoded = [{"b64": base64.b64encode(np.array(pair, "<i4").tobytes()).decode()} for pair in numbers]
    entries = [{"IN": {"content": content, "shape": [2]}} for content in (encoded if as_base64 else numbers)]
    rows = rows_of(written(tmp_path_factory.mktemp("json"), {"data": entries}), model(IN), batch_size=batch).rows
    wanted = [
        pair for start in range(0, len(numbers), batch) for pair in (numbers[at % len(numbers)] for at in range(start, start + batch))
    ]
    assert [value for row in rows for value in values(row.inputs[0])] == [value for pair in wanted for value in pair]
    assert {row.inputs[0].shape for row in rows} == {(batch, 2)}


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda one: (
            st.lists(one, max_size=3) | st.dictionaries(st.sampled_from(["IN", "data", "content", "shape", "b64"]), one, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read_or_refused_with_its_place(tmp_path_factory: pytest.TempPathFactory, tree: object) -> None:
    file = written(tmp_path_factory.mktemp("any"), {"data": tree})
    try:
        rows_of(file, model(IN))
    except WorkloadError as error:
        assert str(file) in str(error)


def test_sequences_and_expected_outputs(tmp_path: Path) -> None:
    tree = {
        "data": [[{"IN": [1, 2]}, {"IN": [3, 4]}], [{"IN": [5, 6]}]],
        "validation_data": [[{"OUT": [1, 2]}, {"OUT": [3, 4]}], [{"OUT": [5, 6]}]],
    }
    rows = rows_of(written(tmp_path, tree), model(IN, most=0))
    assert rows.sequences == (range(2), range(2, 3))
    assert [values(row.expected[0], "<f4") for row in rows.rows] == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "is not a JSON object"),
        ({"data": []}, "has no list `data`"),
        ({"data": [{"IN": [1]}]}, r"data\[0\]: IN: 1 values, shape \[2\] has 2"),
        ({"data": [{"IN": [1, 2]}, {"NO": [1]}]}, r"data\[1\]: the model has no input NO; its inputs are IN"),
        ({"data": [{"IN": [1, 2**40]}]}, "1099511627776 is not a whole number of INT32"),
        ({"data": [{"IN": ["a", "b"]}]}, "'a' is not a number, the input is INT32"),
        ({"data": [{"IN": {"b64": "###"}}]}, 'neither a list of values nor {"b64": TEXT}'),
        ({"data": [{"IN": {"b64": "AAAA"}}]}, "IN has 3 bytes for shape"),
        ({"data": [{"IN": {"content": [1, 2], "shape": [3]}}]}, r"IN has shape \[3\], the model takes \[2\]"),
        ({"data": [{"IN": {"content": [1, 2], "shape": "x"}}]}, "is not a list of sizes"),
        ({"data": [{}]}, r"data\[0\]: the model needs IN too"),
        ({"data": [[], [{"IN": [1, 2]}]]}, r"data\[0\] is empty"),
        ({"data": [[{"IN": [1, 2]}], {"IN": [1, 2]}]}, "mixes entries and sequences"),
        ({"data": [{"IN": [1, 2]}], "validation_data": []}, "must have an entry for each of the 1 of data"),
        ({"data": [{"IN": [1, 2]}], "validation_data": [{"NO": [1]}]}, "has no output NO; its outputs are OUT"),
    ],
)
def test_faults_of_json_have_their_place(tmp_path: Path, tree: object, message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        rows_of(written(tmp_path, tree), model(IN))


def test_different_shapes_do_not_share_a_request(tmp_path: Path) -> None:
    file = written(tmp_path, {"data": [{"IN": [1, 2]}, {"IN": [1, 2, 3]}]})
    open_one = model(TensorSpec("IN", "INT32", (-1,)))
    assert [row.inputs[0].shape for row in rows_of(file, open_one).rows] == [(1, 2), (1, 3)]
    with pytest.raises(WorkloadError, match=r"data\[0\] and .*data\[1\] have different tensors or shapes"):
        rows_of(file, open_one, batch_size=2)


def test_numpy_files(tmp_path: Path) -> None:
    pairs = np.arange(6).reshape(3, 2)
    np.save(tmp_path / "one.npy", pairs)
    np.savez(tmp_path / "named.npz", IN=pairs, OUT=pairs / 2)
    for name in ("one.npy", "named.npz"):
        assert [values(row.inputs[0]) for row in rows_of(tmp_path / name, model(IN)).rows] == [[0, 1], [2, 3], [4, 5]]
    assert values(rows_of(tmp_path / "named.npz", model(IN)).rows[1].expected[0], "<f4") == [1.0, 1.5]
    np.save(tmp_path / "item.npy", pairs[0])
    assert len(rows_of(tmp_path / "item.npy", model(IN)).rows) == 1


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("a.npy", np.zeros((3, 4)), r"IN has shape \[3, 4\], the model takes \[2\]"),
        ("a.npy", np.array([1, None]), "is not a NumPy file of numbers or strings"),
        ("a.npy", np.array([0.5, 1.0]), "0.5 is not a whole number"),
        ("a.data", np.zeros(2), "ends in none of .json .npy, .npz, .txt"),
    ],
)
def test_faults_of_numpy_files(tmp_path: Path, name: str, array: Any, message: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.save(file, array, allow_pickle=True)
    with pytest.raises(WorkloadError, match=message):
        rows_of(tmp_path / name, model(IN))


def test_a_missing_file_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="no such file: give random, zero, or a path"):
        rows_of(tmp_path / "missing.json", model(IN))
    for name, message in (("bad.npz", "is not a NumPy file"), ("bad.json", "is not JSON")):
        (tmp_path / name).write_bytes(b"PK\x03\x04 no")
        with pytest.raises(WorkloadError, match=message):
            rows_of(tmp_path / name, model(IN))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two pictures, red above blue, 4 wide and 2 high; and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    colours = np.zeros((2, 4, 3), np.uint8)
    colours[0, :, 0] = colours[1, :, 2] = 255
    for name in ("a.png", "b.PNG"):
        Image.fromarray(colours).save(folder / name, format="png")
    (folder / "notes.md").write_text("not a picture")
    return folder


def test_pictures_are_decoded_and_resized(pictures: Path) -> None:
    rows = rows_of(pictures, model(IMAGE), shapes={"IMAGE": (3, 2, 2)}, batch_size=2).rows
    (tensor,) = rows[0].inputs
    assert tensor.shape == (2, 3, 2, 2) and len(rows) == 1
    assert values(tensor, "<f4")[:12] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]


def test_the_layout_is_that_of_the_channels_or_as_given(pictures: Path) -> None:
    last = model(TensorSpec("IMAGE", "UINT8", (2, 2, 3)))
    assert values(rows_of(pictures, last).rows[0].inputs[0], "u1") == [255, 0, 0, 255, 0, 0, 0, 0, 255, 0, 0, 255]
    square = model(TensorSpec("IMAGE", "UINT8", (3, 2, 3)))
    first, second = (rows_of(pictures, square, layout=layout).rows[0] for layout in ("nchw", "nhwc"))
    assert first != second and first == rows_of(pictures, square).rows[0]


def test_a_model_that_decodes_gets_the_files(pictures: Path) -> None:
    content = (pictures / "a.png").read_bytes()
    as_bytes = rows_of(pictures, model(TensorSpec("IMAGE", BYTES, (1,)))).rows[0].inputs[0]
    assert as_bytes.data == encode_strings([content])
    as_vector = rows_of(pictures, model(TensorSpec("IMAGE", "UINT8", (-1,)))).rows[0].inputs[0]
    assert (as_vector.data, as_vector.shape) == (content, (1, len(content)))


def test_faults_of_pictures(pictures: Path) -> None:
    with pytest.raises(WorkloadError, match="a picture has 1 or 3 channels"):
        rows_of(pictures, model(TensorSpec("IMAGE", "FP32", (4, 2, 2))))
    with pytest.raises(WorkloadError, match="holds one input, the model needs IMAGE, IN"):
        rows_of(pictures, model(IMAGE, IN), shapes={"IMAGE": (3, 2, 2)})
    (pictures / "c.jpg").write_bytes(b"no")
    with pytest.raises(WorkloadError, match=r"c\.jpg: is not a picture that can be decoded"):
        rows_of(pictures, model(IMAGE), shapes={"IMAGE": (3, 2, 2)})


def test_texts(tmp_path: Path) -> None:
    text = model(TensorSpec("TEXT", BYTES, (1,)))
    (tmp_path / "lines.txt").write_text("one\nzwei ä\n", encoding="utf-8")
    rows = rows_of(tmp_path / "lines.txt", text).rows
    assert [row.inputs[0].data for row in rows] == [encode_values([line], BYTES) for line in ("one", "zwei ä")]
    assert rows_of(tmp_path, text).rows[0].inputs[0].data == encode_values(["one\nzwei ä\n"], BYTES)
    with pytest.raises(WorkloadError, match="is a text, input IN is INT32"):
        rows_of(tmp_path / "lines.txt", model(IN))


def test_a_folder_of_raw_bytes_as_perf_analyzer_reads_it(tmp_path: Path) -> None:
    (tmp_path / "IN").write_bytes(np.array([7, 8], "<i4").tobytes())
    (tmp_path / "TEXT").write_text("a\nb\n")
    (tmp_path / "OUT").write_bytes(np.array([1, 2], "<f4").tobytes())
    (row,) = rows_of(tmp_path, model(IN, TensorSpec("TEXT", BYTES, (2,)))).rows
    assert [tensor.name for tensor in row.inputs] == ["IN", "TEXT"]
    assert values(row.inputs[0]) == [7, 8] and row.inputs[1].data == encode_strings([b"a", b"b"])
    assert values(row.expected[0], "<f4") == [1, 2]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"has neither pictures .* nor texts .* named as the inputs IN"):
        rows_of(tmp_path, model(IN))

from __future__ import annotations

import numpy as np

from tests.support.records import columns, request_of, samples_of
from trtbench.analysis.stage.by_length_class import by_length_class, class_numbers
from trtbench.rundir.deployment_facts import ServedClass

CLASSES = [ServedClass(name="short", upto_input_tokens=16), ServedClass(name="middle", upto_input_tokens=64), ServedClass(name="long")]


def test_a_request_belongs_to_the_first_class_that_takes_it() -> None:
    lengths = [1, 16, 17, 64, 65, 9999]
    assert class_numbers(CLASSES, np.array(lengths)).tolist() == [0, 0, 1, 1, 2, 2]
    assert [next(i for i, one in enumerate(CLASSES) if one.takes(length)) for length in lengths] == [0, 0, 1, 1, 2, 2]


def test_every_request_is_in_one_class_with_the_figures_of_its_model() -> None:
    requests = columns(request_of(0, [10], index=i, input_tokens=length) for i, length in enumerate([4, 16, 300]))
    of_short = samples_of(
        {
            ("triton_inference_count", ""): [(0, 5), (100, 7)],
            ("triton_execution_count", ""): [(0, 5), (100, 6)],
            ("triton_batch_executions", "2"): [(0, 0), (100, 1)],
            ("kv_blocks_used", ""): [(50, 3)],
            ("kv_blocks_max", ""): [(50, 12)],
        }
    )
    found = by_length_class(requests, CLASSES, {"short": of_short}, 0, 100, unary=False)
    assert found is not None and {name: one.group.requests for name, one in found.items()} == {"short": 2, "long": 1}
    short = found["short"]
    assert short.triton_batching and short.triton_batching.histogram == {2: 1} and short.kv_used_ratio_peak == 0.25
    assert found["long"].triton_batching is None and found["long"].kv_used_ratio_peak is None


def test_a_deployment_without_classes_has_no_result() -> None:
    assert by_length_class(columns([request_of(0, [10])]), [], {}, 0, 100, unary=False) is None

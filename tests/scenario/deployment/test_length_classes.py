from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.length_classes import Batching

SHORT, LONG = {"upto_input_tokens": 64, "max_queue_delay_us": 500, "max_batch_size": 4}, {"max_sequences": 2}


def deployment(**keys: Any) -> Deployment:
    return Deployment.model_validate({"instances": 2, "batching": {"classes": {"short": SHORT, "long": LONG}}} | keys)


def test_a_class_has_its_own_settings_and_those_of_the_deployment() -> None:
    short, long = deployment(max_batch_size=8, inference_threads=1).of_classes.values()
    assert short.dynamic_batching and (short.max_batch_size, short.dynamic_batching.max_queue_delay_us) == (4, 500)
    assert long.dynamic_batching and (long.max_batch_size, long.dynamic_batching.max_queue_delay_us) == (8, 0)
    assert (short.scheduler.max_sequences, long.scheduler.max_sequences) == (32, 2)
    assert {(one.instances, one.inference_threads, one.batching) for one in (short, long)} == {(1, 1, None)}


def test_classes_of_a_one_size_deployment_have_no_models() -> None:
    one_size = deployment(batching={"policy": "one_size", "classes": {"short": SHORT, "long": LONG}})
    assert not one_size.is_adaptive and one_size.of_classes == {}


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({"a": {"upto_input_tokens": 4}, "b": {"upto_input_tokens": 9}}, "exactly one, .* is without .*; each has one"),
        ({"a": {}, "b": {}}, "a, b have none"),
        ({"a": {"upto_input_tokens": 4}, "b": {"upto_quantile": 0.5}, "c": {}}, "some bounds are tokens and some are quantiles"),
        ({"a": {"upto_input_tokens": 9}, "b": {"upto_input_tokens": 9}, "c": {}}, r"a and b have the same bound \(9\)"),
        ({"a": {"upto_input_tokens": 9, "upto_quantile": 0.5}, "b": {}}, "two bounds of one class"),
        ({"a": {}}, "at least 2 items"),
        ({"a/b": {"upto_input_tokens": 9}, "b": {}}, "String should match pattern"),
    ],
)
def test_bounds_are_of_one_kind_and_one_class_has_none(classes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Batching.model_validate({"classes": classes})


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"instances": 1}, "batching.classes have 2 instances, the deployment has 1"),
        ({"dynamic_batching": None}, "batching.classes.short.max_queue_delay_us = 500: the deployment's dynamic_batching is null"),
        ({"dynamic_batching": {"preferred_batch_sizes": [8]}}, r"batching.classes.short: .* \[8\] go over max_batch_size \(4\)"),
        ({"response_cache": {"kind": "local", "size_mb": 1}}, "response_cache exclude each other"),
    ],
)
def test_classes_fit_their_deployment(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        deployment(**keys)


def test_the_order_of_classes_is_that_of_their_bounds() -> None:
    classes = {"long": {}, "middle": {"upto_input_tokens": 64}, "short": {"upto_input_tokens": 9}}
    assert list(Batching.model_validate({"classes": classes}).in_order) == ["short", "middle", "long"]

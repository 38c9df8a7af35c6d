"""The traits of a provider in a run directory: recorded, or of a run that an older version wrote."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from trtbench.analysis.facts import deployment_facts
from trtbench.engine.build import PROVIDERS
from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile, read_deployment
from trtbench.rundir.lines import Losses, write_json
from trtbench.rundir.traits import EARLIER, Traits, read_traits


@pytest.mark.parametrize("provider", EARLIER)
def test_a_run_without_traits_reads_like_one_that_records_them(provider: str) -> None:
    recorded = PROVIDERS[provider].traits.as_json()
    assert read_traits(None, provider) == read_traits(recorded, provider) == read_traits(recorded, "of another name")


def test_what_is_recorded_is_taken_before_what_the_name_says() -> None:
    assert read_traits({"uses_gpus": True}, "openvino").uses_gpus
    assert read_traits({"uses_gpus": True}, "openvino").takes_cpu_threads  # not recorded: from the name
    assert read_traits({"from_a_later_version": True}, "openvino") == EARLIER["openvino"]


def test_nothing_is_true_of_a_server_of_which_nothing_is_known() -> None:
    assert read_traits(None, None) == read_traits({}, "new") == Traits()
    assert not any(Traits().as_json().values())
    assert deployment_facts("d", DeploymentFile(mode="external"), EngineFile()).traits == Traits()


def test_the_engines_file_names_the_provider_where_the_deployments_does_not() -> None:
    assert deployment_facts("d", DeploymentFile(), EngineFile(provider="openvino")).traits == EARLIER["openvino"]


@pytest.mark.parametrize("damaged", [{"uses_gpus": "yes"}, {"uses_gpus": None}, ["uses_gpus"], 3])
def test_damaged_traits_are_noted_and_follow_from_the_name(damaged: object, tmp_path: Path) -> None:
    path, losses = tmp_path / "deployment.json", Losses(tmp_path)
    write_json(path, {"provider": "openvino", "traits": damaged})
    facts = read_deployment(path, losses)
    assert [loss.what for loss in losses] == ["values"]
    assert deployment_facts("d", facts, EngineFile()).traits == EARLIER["openvino"]


def test_every_trait_is_true_of_some_provider_and_false_of_another() -> None:
    for one in fields(Traits):
        assert {getattr(provider.traits, one.name) for provider in PROVIDERS.values()} == {True, False}, one.name

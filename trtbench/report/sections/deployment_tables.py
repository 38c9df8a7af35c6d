"""What was measured: the model, and the engine, server and settings of each deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table, pairs
from trtbench.report.kit.format import NONE, seconds, size, whole
from trtbench.report.kit.grouping import FEW, in_rounds, is_many
from trtbench.report.kit.words import Words


def target(summary: Summary, words: Words) -> list[Block]:
    """The model, then a column for each deployment. Many deployments have a section of their own instead."""
    model = pairs([(words("target.model"), summary.scenario.model)])
    shown = _one_round(summary) or ({} if is_many(summary) else {result.name: result for result in summary.deployments})
    columns = [_deployment_facts(result, words) for result in shown.values()]
    names = list(dict.fromkeys(name for column in columns for name in column))
    if not names:
        return [model]
    rows = tuple((name, *(column.get(name, NONE) for column in columns)) for name in names)
    header = (words("target.deployment"), *shown)
    return [model, Table(header, rows, numeric=False)]


def _one_round(summary: Summary) -> dict[str, DeploymentResult]:
    """The first round of each deployment of a repeated load, by the name without the round; {} where that are too many for columns."""
    found = {one.name: next(iter(one.rounds.values())) for one in in_rounds(summary) if one.rounds}
    return found if len(found) <= FEW else {}


def all_deployments(summary: Summary, words: Words) -> list[Block]:
    """A table with a row for each deployment if there are many; empty for few."""
    names, columns = _by_deployment(summary, words)
    if not is_many(summary) or not names:
        return []
    rows = tuple((r.name, *(facts.get(name, NONE) for name in names)) for r, facts in zip(summary.deployments, columns, strict=True))
    return [Table((words("target.deployment"), *names), rows, numeric=False)]


def _by_deployment(summary: Summary, words: Words) -> tuple[list[str], list[dict[str, str]]]:
    columns = [_deployment_facts(result, words) for result in summary.deployments]
    return list(dict.fromkeys(name for column in columns for name in column)), columns


def _deployment_facts(result: DeploymentResult, words: Words) -> dict[str, str]:
    facts, found = result.facts, {}
    found[words("target.engine")] = words("target.engine_unknown")
    if facts.engine_sha256:
        values = {"dtype": (facts.dtype or NONE).upper(), "provider": facts.provider or NONE, "size_bytes": size(facts.engine_size_bytes)}
        built = {"build_s": seconds(facts.engine_build_s), "sha": facts.engine_sha256[:12]}
        found[words("target.engine")] = words("target.engine_value", **values, **built)
        if build := build_text(facts.engine, words):
            found[words("target.build")] = build
    if facts.triton_version:
        found[words("target.server")] = words("target.server_value", version=facts.triton_version, ready_s=seconds(result.ready_s))
    elif facts.server_name:
        found[words("target.server")] = facts.server_name
    found |= _endpoint(facts, words)
    if facts.balancer_version or facts.servers > 1:
        before = facts.balancer_version or words("scaling.by_client")
        found[words("target.servers")] = words("target.servers_value", servers=facts.servers, balancer=before)
    if facts.config:
        limits = {"max_batch": whole(facts.max_batch_size), "max_sequences": whole(facts.max_sequences)}
        batching = facts.dynamic_batching
        delay = {"delay_us": whole(facts.queue_delay_us)} if batching else {}
        found[words("target.batching")] = words("target.batching_value" if batching else "target.batching_off", **limits, **delay)
    if facts.kv_blocks and facts.kv_block_tokens and facts.kv_bytes_per_token:
        total = size(facts.kv_blocks * facts.kv_block_tokens * facts.kv_bytes_per_token)
        shown = {"blocks": whole(facts.kv_blocks), "block_tokens": whole(facts.kv_block_tokens), "total_bytes": total}
        found[words("target.kv")] = words("target.kv_value", dtype=facts.kv_dtype or NONE, **shown)
    if facts.log:
        found[words("target.loaded")] = _loaded(facts.log, words)
    if facts.traits.runs_pytorch:
        found[words("target.backend")] = words("target.pytorch")
    if facts.unanswered:
        found[words("target.unanswered")] = words.listed([f"{call} ({why})" for call, why in facts.unanswered.items()])
    if facts.padded_to_tokens:
        found[words("target.padding")] = words("target.padding_value", tokens=whole(facts.padded_to_tokens))
    return found


def _endpoint(facts: DeploymentFacts, words: Words) -> dict[str, str]:
    """The way in which requests are sent to a server that is measured over HTTP."""
    endpoint, found = facts.endpoint, {}
    if endpoint is None:
        return {}
    parts = {"type": endpoint.type, "path": endpoint.path, "prompt": endpoint.prompt, "counts": endpoint.counts}
    found[words("target.endpoint")] = words("target.endpoint_value", **{name: part or NONE for name, part in parts.items()})
    keys = [*(endpoint.asked or ()), *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in (endpoint.extra or {}).items())]
    if keys:
        found[words("target.request_keys")] = words.listed(keys)
    if endpoint.refused:
        found[words("target.request_refused")] = words.listed([f"{key} ({why})" for key, why in endpoint.refused.items()])
    if endpoint.system_prompt:
        found[words("target.system_prompt")] = endpoint.system_prompt
    return found


def _loaded(log: Mapping[str, Any], words: Words) -> str:
    """What the server reported while it loaded, of one rank."""
    sizes = {key: size(log.get(key)) for key in ("engine_bytes", "execution_context_bytes", "kv_bytes", "gpu_available_bytes")}
    counts = {key: whole(log.get(key)) for key in ("kv_tokens", "max_sequences", "max_step_tokens", "max_input_tokens")}
    return words("target.loaded_value", policy=log.get("scheduler_policy", NONE), **sizes, **counts)


def build_text(engine: Mapping[str, Any], words: Words) -> str | None:
    """The build options of engine.json as a text; None if the file has none."""
    options = engine.get("options") or {}
    parts = []
    if options.get("backend") == "pytorch":
        parts.append(words("target.build_pytorch", quant=options.get("quant_algo") or engine.get("weights_dtype") or NONE))
    if limits := options.get("limits"):
        parts.append(_limits(engine, options, limits, words))
    if (options.get("asked") or {}).get("dummy_weights"):
        parts.append(words("target.build_dummy"))
    if path := options.get("adopted_from"):
        parts.append(words("target.build_adopted", path=path))
    if path := options.get("claimed_from"):
        parts.append(words("target.build_claimed", path=path))
    return "; ".join(parts) or None


def _limits(engine: Mapping[str, Any], options: Mapping[str, Any], limits: Mapping[str, int | None], words: Words) -> str:
    def limit(name: str) -> str:
        return words("target.build_default") if limits.get(name) is None else whole(limits[name])

    paged = options.get("paged_context_fmha")
    return words(
        "target.build_limits",
        batch=limit("max_batch_size"),
        sequence=limit("max_seq_len"),
        tokens=limit("max_num_tokens"),
        tp=options.get("tp", NONE),
        pp=options.get("pp", NONE),
        kv=engine.get("kv_dtype", NONE),
        block=engine.get("kv_block_tokens", NONE),
        paged=words("target.build_paged" if paged else "target.build_not_paged"),
    )

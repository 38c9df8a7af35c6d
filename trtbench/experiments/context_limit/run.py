"""Searches the context limit of a running deployment: sends the trials, keeps their records, watches the server and the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.client.protocol import NO_END_ID, ConnectError, Limits
from trtbench.client.registry import client_to
from trtbench.errors import UserError
from trtbench.experiments.context_limit.search import Ended, Phase, Trial, find_limits
from trtbench.experiments.context_limit.spec import ContextLimit
from trtbench.load.tally import Recorder
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.prompt_source import PromptSource
from trtbench.run.experiment_run import ExperimentRun, LoadSetting
from trtbench.run.load_run import ServerUnderLoad, sampler_config
from trtbench.run.log import RunLog
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import Interrupted, TelemetryFinished
from trtbench.rundir.experiment_events import ContextSearchFinished, ContextSearchStarted
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.server.log_facts import LogMark
from trtbench.serving.server.server import ServerError
from trtbench.system.clock import now_ns, seconds_ns
from trtbench.system.interrupts import interrupts_call
from trtbench.system.memory import MemoryBound, oom_kills, tightest_bound
from trtbench.telemetry.sampler import Sampler

_WATCH_S = 0.05
_SETTLE_S = 1.0  # longest wait for KV blocks to come back after a failure
_HEALTH_TOKENS = 8
_HEALTH_TRIES = 3


class ContextLimitRun(ExperimentRun):
    def check_text(self, scenario: Scenario, model: str, remedy: str) -> None:
        if scenario.context_limit:
            raise UserError(f"context_limit: {model} takes text, whose length in tokens is not set exactly; {remedy}")

    def check_deployment(self, scenario: Scenario, deployment: Deployment, renderer: Renderer, traits: Traits) -> None:
        if scenario.context_limit and deployment.batching:
            raise ScenarioError("batching and context_limit exclude each other: the search sends to one model; drop one of them")

    def preview_in_place_of_load(self, scenario: Scenario) -> str | None:
        if scenario.context_limit is None:
            return None
        users = ", ".join(map(str, scenario.context_limit.concurrency))
        return f"context_limit: bisects the prompt length at {users} prompts at once, then ends"

    def in_place_of_load(self, setting: LoadSetting) -> tuple[str, int | None] | None:
        """Run the search in place of the load. ServerError if the server cannot be reached, OSError if records cannot be written."""
        server, scenario = setting.server, setting.scenario
        if scenario.context_limit is None:
            return None
        if server.before_stage:
            asyncio.run(server.before_stage("context_limit", lambda: False))
        return _search_limit(server, scenario, scenario.context_limit, setting.prompts, setting.directory, setting.log)


RUN = ContextLimitRun()


def _search_limit(
    server: ServerUnderLoad,
    scenario: Scenario,
    asked: ContextLimit,
    prompts: PromptSource,
    directory: DeploymentDirectory,
    log: RunLog,
) -> tuple[Ended, int | None]:
    deployed = directory.deployment()
    block_tokens, max_positions = deployed.kv_block_tokens or 0, deployed.max_positions or 0
    taken = deployed.longest_prompt_tokens or max_positions
    longest_tokens = asked.longest_tokens or max(taken + block_tokens, asked.shortest_tokens)
    started = ContextSearchStarted(
        output_tokens=asked.output_tokens,
        max_positions=max_positions,
        longest_prompt_tokens=deployed.longest_prompt_tokens,
        block_tokens=block_tokens,
        longest_tokens=longest_tokens,
    )
    log.write(started, directory.name)
    recorder = Recorder(directory.requests_jsonl())
    try:
        with Sampler(sampler_config(server, scenario), directory.samples_jsonl) as sampler:
            sampler.wait_ready()
            trials = _Trials(server, scenario, asked, prompts, recorder, sampler, sorted(directory.path.glob("server*.log")))
            ended, signum = asyncio.run(trials.run(longest_tokens, block_tokens, directory.name, log))
        log.write(TelemetryFinished(sources=sampler.tallies), directory.name)
        if ended == "server_lost" and server.death and (death := server.death()):
            log.write(death.facts(), directory.name)
        return ended, signum
    finally:
        recorder.close()
        directory.seal()


class _Trials:
    def __init__(
        self,
        server: ServerUnderLoad,
        scenario: Scenario,
        asked: ContextLimit,
        prompts: PromptSource,
        recorder: Recorder,
        sampler: Sampler,
        logs: Sequence[Path],
    ) -> None:
        self._server, self._scenario, self._asked, self._prompts = server, scenario, asked, prompts
        self._recorder, self._sampler, self._logs = recorder, sampler, logs
        self._trials, self._numbers = count(), count()
        self._why: Ended | None = None
        self._memory: MemoryBound | None = None  # what ran short

    async def run(self, longest_tokens: int, block_tokens: int, deployment: str, log: RunLog) -> tuple[Ended, int | None]:
        task = asyncio.current_task()
        assert task

        def interrupt(signum: int) -> None:
            log.write(Interrupted(level=2), deployment)
            task.cancel()

        self._client = client_to(self._server.target, self._scenario.workload, self._scenario.client, NO_END_ID)
        caught: list[int] = []
        try:
            with interrupts_call(interrupt) as caught:
                await self._client.open_streams(max(self._asked.concurrency))
                await self._send("warm-up", 1, self._asked.shortest_tokens, self._asked.output_tokens, now_ns())
                record = partial(log.write, deployment=deployment)
                ended = await find_limits(self._asked, longest_tokens, block_tokens, self._try, record)
        except ConnectError as error:
            raise ServerError(str(error)) from error
        except asyncio.CancelledError:
            if not caught:
                raise
            ended = "interrupted"
        finally:
            await self._client.close()
        log.write(ContextSearchFinished(ended=ended), deployment)
        return ended, caught[0] if caught else None

    async def _try(self, users: int, tokens: int, phase: Phase) -> Trial:
        stage = f"{phase}-c{users}-n{tokens}-{next(self._trials)}"
        before, kills, mark = await self._used_blocks(), oom_kills(), LogMark(self._logs)
        start_ns = now_ns()
        if self._is_short_of_memory():
            return Trial(users, tokens, phase, stage, False, start_ns, now_ns(), stop="low_memory", memory=self._memory)
        records = await self._send(stage, users, tokens, self._asked.output_tokens, start_ns)
        end_ns = now_ns()
        passed = all(r.outcome is Outcome.COMPLETED and r.output_tokens == r.asked_output_tokens for r in records)
        if any(record.outcome is Outcome.CONNECTION for record in records):
            await self._look_for_death()
        stop, healthy, left = self._why, None, None
        if not passed and not stop:
            healthy = await self._is_healthy(stage)
            left = await self._blocks_left(before)
            stop = self._why or (None if healthy else "unserving")
        killed, shortage = (None, None) if passed else (oom_kills().since(kills), mark.shortage_since())
        logged = (shortage.says, shortage.line) if shortage else ()
        return Trial(users, tokens, phase, stage, passed, start_ns, end_ns, stop, healthy, left, killed, self._memory, *logged)

    def _is_short_of_memory(self) -> bool:
        bound = tightest_bound()
        if bound.ratio >= self._asked.min_available_memory_ratio:
            return False
        self._why, self._memory = "low_memory", bound
        return True

    async def _send(self, stage: str, users: int, tokens: int, output_tokens: int, due_ns: int) -> list[RequestRecord]:
        """Send all prompts at once. Every record is on file when it returns, also when it is cancelled."""
        number = next(self._numbers)
        prompts = [self._prompt(tokens, output_tokens, number, user) for user in range(users)]
        bodies = [self._client.encode_request(prompt) for prompt in prompts]
        records = [RequestRecord(i, stage, False, i, tokens, output_tokens, due_ns) for i in range(users)]
        limits = Limits(now_ns() + seconds_ns(self._scenario.stop.timeout_s))
        sending = asyncio.gather(*(self._client.send_request(record, body, limits) for record, body in zip(records, bodies, strict=True)))
        watch = asyncio.create_task(self._watch(sending))
        try:
            await sending
        except asyncio.CancelledError:
            if self._why is None:
                raise
        finally:
            watch.cancel()
            for record in records:
                if self._why == "server_lost" and record.outcome is Outcome.CANCELLED:
                    record.outcome, record.error = Outcome.CONNECTION, "the server is gone"
                record.attempts = int(record.sent_ns is not None)
                self._recorder.append(record)
        return records

    async def _watch(self, sending: asyncio.Future[Any]) -> None:
        """End the requests in flight if the server dies, or if the machine or the container runs out of memory."""
        while True:
            if self._server.death and self._server.death():
                self._why = "server_lost"
            if self._why or self._is_short_of_memory():
                sending.cancel()
                return
            await asyncio.sleep(_WATCH_S)

    async def _look_for_death(self) -> None:
        """Whether the server is dead. A broken connection is known before the end of the process behind it."""
        deadline_ns = now_ns() + seconds_ns(_SETTLE_S)
        while self._server.death and self._why is None and now_ns() < deadline_ns:
            if self._server.death():
                self._why = "server_lost"
            await asyncio.sleep(_WATCH_S)

    async def _is_healthy(self, stage: str) -> bool:
        """Whether the server still serves a request, because a server that reports to be ready may still fail every one. It is given
        time to recover.
        """
        for number in range(_HEALTH_TRIES):
            [record] = await self._send(f"health-{stage}-{number}", 1, _HEALTH_TOKENS, 1, now_ns())
            if record.outcome is Outcome.COMPLETED or self._why:
                return record.outcome is Outcome.COMPLETED
            await asyncio.sleep(_SETTLE_S)
        return False

    async def _used_blocks(self) -> float | None:
        """The current gauge of used blocks. A thread reads it, so that the loop is not blocked."""
        samples = await asyncio.to_thread(self._sampler.snapshot)
        return next((sample.value for sample in samples if sample.name == "kv_blocks_used"), None)

    async def _blocks_left(self, before: float | None) -> int | None:
        deadline_ns = now_ns() + seconds_ns(_SETTLE_S)
        while True:
            after = await self._used_blocks()
            if before is None or after is None:
                return None
            if after <= before or now_ns() > deadline_ns:
                return max(0, round(after - before))
            await asyncio.sleep(_WATCH_S)

    def _prompt(self, tokens: int, output_tokens: int, number: int, user: int) -> PlannedPrompt:
        """A prompt with a text of its own for every user and attempt, so that no trial finds a prefix of an earlier one in the cache."""
        seeds = self._scenario.seeds
        random = np.random.default_rng([seeds.prompts, number, user])
        return PlannedPrompt(self._prompts.draw(tokens, random), output_tokens, seeds.sampling + user)

"""Drives a plan against a calibration server by the load generator as it is: in worker processes, recording as it goes."""

from __future__ import annotations

from pathlib import Path

from trtbench.client.kserve.messages import NO_END_ID
from trtbench.client.kserve.target import Target
from trtbench.load.progress import LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_pool import Crew
from trtbench.plan.plan import Plan
from trtbench.rundir import read_lines
from trtbench.rundir.records import RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.self_test.trial import Trial
from trtbench.system.clock import NS_PER_S
from trtbench.system.leftovers import temporary_directory

_TIMEOUT_S = 60.0


async def drive(target: Target, settings: ClientSettings, plan: Plan) -> Trial:
    """The one stage of `plan`, warm-up first, by `settings.workers` processes or one. ConnectError when the server is not reached."""
    (stage,) = plan.stages
    with temporary_directory() as name:
        directory = Path(name)
        plan.save(directory / "plan.jsonl")
        config = WorkerConfig(
            number=0,
            plan=directory / "plan.jsonl",
            requests=directory / "requests.jsonl",
            samples=directory / "samples.jsonl",
            target=target,
            workload=Workload(),
            settings=settings,
            end_id=NO_END_ID,
            timeout_s=_TIMEOUT_S,
            drain_s=_TIMEOUT_S,
        )
        crew = Crew(config, LoadProgress())
        try:
            await crew.grow(settings.workers or 1)
            await crew.prepare(0, stage.warmup)
            await crew.run()
            await crew.prepare(0, stage.measured)
            result = await crew.run()
        finally:
            facts = await crew.close()
        records = [
            RequestRecord.from_json(row) for path in directory.glob("requests*.jsonl") for row in read_lines(path) if not row["warmup"]
        ]
    return Trial(records, (result.end_ns - result.start_ns) / NS_PER_S, crew.cores, facts[0])

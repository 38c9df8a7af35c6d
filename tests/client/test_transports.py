"""The same requests by trtbench and by the benchmarks' client over grpc.aio: tokens, responses and ends are equal.

TLS is tested here too.
"""

from __future__ import annotations

import asyncio
import re
import runpy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2

from tests.conftest import SMALL
from tests.support.asking import LATER_NS, new_record, on_loop, send, target_of, with_client
from tests.support.triton.kserve import Serving
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.messages import request_body
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.wire_client import WireClient
from trtbench.client.protocol import NO_END_ID, Limits
from trtbench.client.request_outcome import classify, end, end_with_final, end_with_status
from trtbench.client.transport import read_pacer
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings, Tls
from trtbench.scenario.workload.workload import Sampling, Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.server import TritonServer
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(120)

GRPC_CLIENT = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/grpc_client.py"))
STREAMED, WHOLE = Workload(), Workload(streaming=False)


@dataclass(frozen=True)
class Pem:
    """Files that trustme made for one server on loopback and one client."""

    authority: Path
    server: tuple[Path, Path]  # key, certificate
    client: tuple[Path, Path]

    def tls(self, mutual: bool) -> Tls:
        return Tls(ca=self.authority, key=self.client[0] if mutual else None, certificate=self.client[1] if mutual else None)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    directory, authority = tmp_path_factory.mktemp("pem"), trustme.CA()
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name, certificate in (("server", authority.issue_cert("127.0.0.1", "localhost")), ("client", authority.issue_cert("client.test"))):
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    pair = {name: (directory / f"{name}.key", directory / f"{name}.pem") for name in ("server", "client")}
    return Pem(directory / "ca.pem", pair["server"], pair["client"])


def send_all(
    target: KserveTarget, prompts: list[PlannedPrompt], workload: Workload, at_once: int = 4, **settings_of: Any
) -> list[RequestRecord]:
    """In the plan's order, some at once, on uvloop."""
    settings = ClientSettings(**settings_of)
    records = [
        RequestRecord(index, "plan", False, index, len(prompt.input_ids), prompt.output_tokens, now_ns())
        for index, prompt in enumerate(prompts)
    ]

    async def one(client: Any, record: RequestRecord, prompt: PlannedPrompt, turn: asyncio.Semaphore) -> None:
        async with turn:
            limits = Limits(now_ns() + LATER_NS, prompt.cancel_after_tokens, prompt.cancel_after_ns)
            await client.send_request(record, client.encode_request(prompt), limits)

    async def main() -> None:
        client, turn = WireClient(target, workload, settings), asyncio.Semaphore(at_once)
        try:
            await client.open_streams(at_once)
            await asyncio.gather(*(one(client, record, prompt, turn) for record, prompt in zip(records, prompts, strict=True)))
        finally:
            await client.close()

    on_loop(main(), fast_loop=True)
    check_instants(records)
    return records


def check_instants(records: list[RequestRecord]) -> None:
    for record in records:
        instants = [record.sent_ns, *record.token_ns, record.done_ns]
        assert None not in instants and instants == sorted(instants)  # type: ignore[type-var]
        assert len(record.token_ns) == len(record.token_counts) and record.output_tokens == len(record.output_ids)
        if record.token_lag_ns:
            assert len(record.token_lag_ns) == len(record.token_ns) and min(record.token_lag_ns) >= 0


def by_grpc(target: KserveTarget, prompts: list[PlannedPrompt], workload: Workload) -> list[Any]:
    """What the benchmarks' client over grpc.aio gets for the same requests, one after another."""
    requests = [service_pb2.ModelInferRequest.FromString(request_body(target, prompt, workload, NO_END_ID)) for prompt in prompts]

    async def body(stub: Any) -> list[Any]:
        return [await GRPC_CLIENT["ask"](stub, request) for request in requests]

    answers: list[Any] = GRPC_CLIENT["on_channel"](target.url, body)
    return answers


def expected(answer: Any) -> tuple[list[int], int, Outcome, str]:
    record = RequestRecord(0, "plan", False, 0, 5, 8, 0)
    if answer.error:
        end(record, classify("", answer.error), answer.error)
    elif answer.final:
        end_with_final(record, bool(answer.arrivals_ns), 1)
    else:
        end_with_status(record, answer.code, answer.details)
    return answer.ids, len(answer.arrivals_ns), record.outcome, without_id(record.error)


def without_id(error: str) -> str:
    return re.sub(r"request id: [^]]*", "", error)


def check_equal(target: KserveTarget, prompts: list[PlannedPrompt], workload: Workload, at_once: int = 4) -> list[RequestRecord]:
    records = send_all(target, prompts, workload, at_once)
    said = [(record.output_ids, len(record.token_ns), record.outcome, without_id(record.error)) for record in records]
    assert said == [expected(answer) for answer in by_grpc(target, prompts, workload)]
    return records


def planned(*lengths: int, **more: Any) -> list[PlannedPrompt]:
    return [PlannedPrompt(np.arange(1, 6, dtype=np.int32), length, index, **more) for index, length in enumerate(lengths)]


@pytest.mark.parametrize("workload", [STREAMED, WHOLE], ids=["streaming", "whole"])
@pytest.mark.parametrize("model", ["tensorrt_llm", "old", "short", "full", "abort", "abort_cancelled", "early_close"])
def test_every_model_of_the_fake_server(fake_server: Any, model: str, workload: Workload) -> None:
    target = inspect_target(fake_server.url, "old") if model == "old" else target_of(fake_server.url, model)
    check_equal(target, planned(8, 1, 20, 3, 8, 2), workload)


def test_planned_cancellations(fake_server: Any) -> None:
    prompts = [*planned(30, 30, cancel_after_tokens=5), *planned(30, 30, cancel_after_ns=1), *planned(6)]
    records = send_all(target_of(fake_server.url, "tensorrt_llm"), prompts, STREAMED)
    assert [record.outcome for record in records] == [Outcome.CANCELLED] * 4 + [Outcome.COMPLETED]
    assert [record.output_tokens for record in records] == [5, 5, 0, 0, 6]


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual-tls"])
def test_encrypted(start_fake_server: Any, pem: Pem, mutual: bool) -> None:
    files = [*pem.server, *([pem.authority] if mutual else [])]
    server = start_fake_server(5, 1, "--tls", *map(str, files))
    settings = ClientSettings(tls=pem.tls(mutual))
    target = target_of(server.url, "tensorrt_llm", settings)
    records = send_all(target, planned(8, 1, 20, 3), STREAMED, tls=settings.tls)
    assert {record.outcome for record in records} == {Outcome.COMPLETED}
    assert all(len(record.token_lag_ns) == len(record.token_ns) for record in records)


def test_encrypted_answers_are_read_after_pauses_too(start_fake_server: Any, pem: Pem, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens come, and each has the timestamp of its arrival, before the read that found it."""
    monkeypatch.setattr(read_pacer, "_REVIEW_S", 0.005)
    server = start_fake_server(5, 40, "--tls", *map(str, pem.server))
    settings = ClientSettings(tls=pem.tls(mutual=False), read_pause_ms=8)
    target = target_of(server.url, "tensorrt_llm", settings)
    records = [new_record(16, number) for number in range(12)]

    async def body(client: Any) -> None:
        await client.open_streams(len(records))
        await asyncio.gather(*(send(client, record) for record in records))

    facts = with_client(target, True, body, settings)
    if facts["stamps"] != "kernel":
        pytest.skip(facts["stamps_why"])
    check_instants(records)
    assert [(record.outcome, record.output_tokens) for record in records] == [(Outcome.COMPLETED, 16)] * 12
    assert facts["paced_reads"] > 12 * 8
    lags_ns = [lag for record in records for lag in record.token_lag_ns[2:-2]]
    assert median(lags_ns) > 1_000_000


def test_a_client_without_the_certificate_that_the_server_wants(start_fake_server: Any, pem: Pem) -> None:
    server = start_fake_server(5, 1, "--tls", *map(str, (*pem.server, pem.authority)))
    target = target_of(server.url, "tensorrt_llm", ClientSettings(tls=pem.tls(mutual=True)))
    record = RequestRecord(0, "plan", False, 0, 5, 8, now_ns())

    async def main() -> None:
        client = WireClient(target, STREAMED, ClientSettings(tls=pem.tls(mutual=False)))
        await client.send_request(record, client.encode_request(planned(8)[0]), Limits(now_ns() + LATER_NS))
        await client.close()

    on_loop(main(), fast_loop=True)
    assert record.outcome is Outcome.CONNECTION and "does it want a client's certificate" in record.error


@pytest.fixture(scope="module", params=[False, True], ids=["tls", "mutual-tls"])
def encrypted_server(
    request: Any, installation: Any, engines: Any, pem: Pem, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Serving, Tls]]:
    directory = tmp_path_factory.mktemp("tls-server")
    repository = render(engines["int8"], SMALL, Workload())
    root = repository.write(directory / "model_repository")
    ssl_flags = [
        f"--grpc-use-ssl-mutual={int(request.param)}" if request.param else "--grpc-use-ssl=1",
        f"--grpc-server-key={pem.server[0]}",
        f"--grpc-server-cert={pem.server[1]}",
        *([f"--grpc-root-cert={pem.authority}"] if request.param else []),
    ]
    with TritonServer(installation, root, directory / "server.log", [*repository.server_flags, *ssl_flags]) as server:
        yield Serving(server, engines["int8"], SMALL), pem.tls(mutual=request.param)


def real_prompts() -> list[PlannedPrompt]:
    random = np.random.default_rng(7)
    draw = lambda tokens: random.integers(100, 40_000, tokens, dtype=np.int32)  # noqa: E731
    served = [PlannedPrompt(draw(20 + 9 * index), 4 + 3 * index, index) for index in range(6)]
    return [*served, PlannedPrompt(draw(900), 8, 6), replace(served[0], priority=1)]


@pytest.mark.triton
@pytest.mark.parametrize("workload", [STREAMED, WHOLE], ids=["streaming", "whole"])
def test_the_real_server(int8_server: Serving, workload: Workload) -> None:
    """Greedy decoding one request at a time: the tokens of one run are those of the other. One prompt does not fit the cache."""
    target = inspect_target(int8_server.url, int8_server.engine.model)
    records = check_equal(target, real_prompts(), workload, at_once=1)
    assert {record.outcome for record in records} >= {Outcome.COMPLETED, Outcome.TOO_LONG}
    assert [record.output_tokens for record in records[:6]] == [4, 7, 10, 13, 16, 19]
    assert (records[-1].outcome, records[-1].output_ids) == (Outcome.COMPLETED, records[0].output_ids)  # asked with a priority


@pytest.mark.triton
def test_the_real_server_encrypted(encrypted_server: tuple[Serving, Tls]) -> None:
    serving, tls = encrypted_server
    target = inspect_target(serving.url, serving.engine.model, settings=ClientSettings(tls=tls))
    records = send_all(target, real_prompts(), STREAMED, tls=tls, at_once=1)
    assert records[0].outcome is Outcome.COMPLETED and records[0].token_lag_ns


@pytest.mark.triton
def test_a_model_that_is_not_there(int8_server: Serving) -> None:
    target = replace(inspect_target(int8_server.url, int8_server.engine.model), model="nobody")
    records = check_equal(target, planned(4, 4), Workload(sampling=Sampling()))
    assert {record.outcome for record in records} == {Outcome.UNAVAILABLE}

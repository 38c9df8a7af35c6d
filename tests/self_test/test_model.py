"""The calibration model in the real Triton answers like the replay server, to the byte but for the stamps."""

from __future__ import annotations

import resource
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.support.triton.kserve import Answer, ask, ask_all, request
from trtbench.client.kserve.inspection import inspect_target
from trtbench.self_test.answer import MODEL
from trtbench.self_test.servers import calibration_triton
from trtbench.self_test.stamp import Stamps
from trtbench.serving.server.installation import TritonInstallation

pytestmark = [pytest.mark.triton, pytest.mark.timeout(60, func_only=True)]
MS = 1_000_000


def schedule(first_us: int, gap_us: int, responses: int) -> dict[str, Any]:
    return {"input_ids": [first_us, gap_us], "input_lengths": 2, "request_output_len": responses}


def check(answer: Answer, responses: int) -> Stamps:
    assert answer.error == ""
    assert [part.final for part in answer.parts] == [False] * (responses - 1) + [True]
    stamps = Stamps.of(answer.ids)
    assert all(answer.sent_ns <= sent_ns <= part.at_ns for sent_ns, part in zip(stamps.sent_ns.tolist(), answer.parts, strict=True))
    return stamps


def test_it_keeps_its_schedule_and_says_when_it_sent(triton: str) -> None:
    stamps = check(ask(triton, MODEL, **schedule(20_000, 5000, 20)), 20)
    due_ns = stamps.sent_ns - stamps.late_ns
    assert (abs(due_ns - due_ns[0] - 5 * MS * np.arange(20)) <= 1000).all()
    assert (stamps.late_ns >= 0).all()
    assert len(set(stamps.sent_ns.tolist())) == 20


def test_many_at_once(triton: str) -> None:
    counts = [1, 2, 20] * 8
    for count, answer in zip(counts, ask_all(triton, MODEL, [schedule(1000, 2000, count) for count in counts]), strict=True):
        check(answer, count)


def test_a_request_without_a_schedule_is_refused_and_the_next_one_served(triton: str) -> None:
    assert "two delays" in ask(triton, MODEL, input_ids=[1], input_lengths=1, request_output_len=5).error
    check(ask(triton, MODEL, **schedule(0, 0, 2)), 2)


def test_the_replay_server_describes_the_same_model(triton: str, replay: str) -> None:
    ours, theirs = inspect_target(replay, MODEL), inspect_target(triton, MODEL)
    assert (ours.inputs, ours.outputs, ours.max_batch_size) == (theirs.inputs, theirs.outputs, theirs.max_batch_size)


def test_the_replay_server_sends_the_same_messages(triton: str, replay: str) -> None:
    def messages(url: str) -> list[bytes]:
        """With the stamp's three varying numbers set to 0."""
        message = request(MODEL, **schedule(1000, 1000, 3))
        message.id = "17"
        unstamped = []
        with grpc.insecure_channel(url) as channel:
            for reply in service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([message]), timeout=20):
                reply.infer_response.raw_output_contents[0] = reply.infer_response.raw_output_contents[0][:4] + bytes(12)
                unstamped.append(reply.SerializeToString(deterministic=True))
        return unstamped

    assert messages(replay) == messages(triton)


def test_the_server_may_open_as_many_files_as_the_machine_allows(installation: TritonInstallation) -> None:
    """A connection for every stream: the shell's soft limit, often 1024, is not the server's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        with calibration_triton(installation) as server:
            limits = {process.name(): process.rlimit(psutil.RLIMIT_NOFILE) for process in psutil.Process(server.pid).children()}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert limits["tritonserver"] == (hard, hard)

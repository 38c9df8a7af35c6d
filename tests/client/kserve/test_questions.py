"""Calls beside the inference that are refused, hang or answer too much: the inspection goes on with what it has learnt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import MagicMock

import grpc
import pytest
from tritonclient.grpc import service_pb2

from tests.support.fakes.fake_http2 import Peer, serving
from trtbench.client.http2 import frames
from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.questions import Questions, notes
from trtbench.client.protocol import TargetError
from trtbench.client.transport.address import AddressError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import FromEnvironment
from trtbench.tasks.task import TaskName

pytestmark = pytest.mark.process

INPUTS = ("input_ids", "input_lengths", "request_output_len", "streaming", "end_id")
CALLS = ("ServerMetadata", "ServerReady", "ModelReady", "ModelConfig", "ModelMetadata", "RepositoryIndex", "ModelStatistics")
OPTIONAL = ("ServerMetadata", "ServerReady", "ModelReady", "ModelConfig", "RepositoryIndex", "ModelStatistics")
NOT_ASKED = "not asked, because the server left the calls before it without an answer"
RESTRICTED = (grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'triton-grpc-protocol-key'")


class Described:
    """A fake server that answers `calls` alone; the others end as `ends` says. `seen`: the metadata of every call."""

    def __init__(self) -> None:
        self.refused: dict[str, Callable[[grpc.ServicerContext], None]] = {}
        self.seen: dict[str, dict[str, Any]] = {}
        self.over = threading.Event()
        self.rows = [("m", "1", "READY", ""), ("other", "1", "UNAVAILABLE", "broken")]
        self.ready = True
        self.padding = ""
        self.datatype = 0
        self.inputs: tuple[str, ...] = INPUTS
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {call: self._handler(call) for call in CALLS}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self.over.set()
        self._server.stop(None).wait(5)

    def hang(self, context: grpc.ServicerContext) -> None:
        self.over.wait(20)

    def _handler(self, call: str) -> Any:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            self.seen[call] = dict(context.invocation_metadata())
            if refuse := self.refused.get(call):
                refuse(context)
            return getattr(self, f"_{call}", getattr(service_pb2, f"{call}Response"))()

        return grpc.unary_unary_rpc_method_handler(
            answer, getattr(service_pb2, f"{call}Request").FromString, lambda message: message.SerializeToString()
        )

    def _ModelReady(self) -> Any:
        return service_pb2.ModelReadyResponse(ready=self.ready)

    def _ServerMetadata(self) -> Any:
        return service_pb2.ServerMetadataResponse(name="triton", version="2.51.0")

    def _RepositoryIndex(self) -> Any:
        index = service_pb2.RepositoryIndexResponse()
        for name, version, state, reason in self.rows:
            index.models.add(name=name, version=version, state=state, reason=reason)
        return index

    def _ModelConfig(self) -> Any:
        answer = service_pb2.ModelConfigResponse()
        answer.config.max_batch_size = 8
        answer.config.model_transaction_policy.decoupled = True
        answer.config.parameters["padding"].string_value = self.padding
        for name in self.inputs:
            answer.config.input.add(name=name, data_type=self.datatype)
        for name in ("output_ids", "sequence_length"):
            answer.config.output.add(name=name)
        return answer

    def _ModelMetadata(self) -> Any:
        answer = service_pb2.ModelMetadataResponse(name="m")
        for name in INPUTS:
            answer.inputs.add(name=name, datatype="BOOL" if name == "streaming" else "INT32", shape=[-1, 1])
        for name in ("output_ids", "sequence_length"):
            answer.outputs.add(name=name, datatype="INT32", shape=[-1, -1])
        return answer


@pytest.fixture
def server() -> Iterator[Described]:
    described = Described()
    yield described
    described.close()


def ends(code: grpc.StatusCode, details: str) -> Callable[[grpc.ServicerContext], None]:
    return lambda context: context.abort(code, details)


@pytest.mark.parametrize("call", OPTIONAL)
@pytest.mark.parametrize(
    "refusal",
    [
        (grpc.StatusCode.UNIMPLEMENTED, "no such method"),
        (grpc.StatusCode.PERMISSION_DENIED, "\x1b[2Jno"),
        (grpc.StatusCode.UNAUTHENTICATED, "who are you?"),
        RESTRICTED,
    ],
)
def test_each_call_that_is_refused(server: Described, call: str, refusal: tuple[grpc.StatusCode, str]) -> None:
    server.refused[call] = ends(*refusal)
    target = inspect_target(server.url, "m")
    assert (target.batched, target.family.name) == (True, "ids")
    asked = call not in ("ServerReady", "RepositoryIndex")
    assert [*target.unanswered] == ([call] if asked else [])
    said = " ".join(notes(target.unanswered))
    assert (f"did not answer {call} ({refusal[0].name}: " in said) is asked
    assert "\x1b" not in said


@pytest.mark.parametrize("call", ["ModelReady", "ModelConfig", "ServerMetadata", "ModelStatistics"])
def test_a_call_that_never_ends(server: Described, call: str) -> None:
    server.refused[call] = server.hang
    target = inspect_target(server.url, "m", timeout_s=0.3)
    assert target.unanswered == {call: "no answer within 0.3 s"}


def test_a_status_text_of_many_kilobytes_is_read(server: Described) -> None:
    server.refused = {"ModelConfig": ends(grpc.StatusCode.INTERNAL, "trace" + "x" * 40_000)}
    assert inspect_target(server.url, "m").unanswered["ModelConfig"].startswith("INTERNAL: tracexxx")


def test_a_deadline_that_grpc_does_not_keep() -> None:
    """As under a flood of PING: a fake channel, whose calls know of no end."""
    channel = MagicMock()
    asked = channel.unary_unary.return_value.future.return_value
    asked.result.side_effect = grpc.FutureTimeoutError()
    questions = Questions(channel, (), 5.0)
    assert (questions.ask("ServerMetadata"), questions.config("m", "")) == (None, None)
    assert questions.unanswered == {"ServerMetadata": "no answer within 5 s", "ModelConfig": NOT_ASKED, "ModelMetadata": NOT_ASKED}
    assert asked.cancel.call_count == 1


class Late(grpc.RpcError):  # type: ignore[misc]
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_server_that_stays_silent_is_asked_twice() -> None:
    channel = MagicMock()
    channel.unary_unary.return_value.future.return_value.result.side_effect = Late()
    questions = Questions(channel, (), 5.0)
    assert [questions.ask(call) for call in ("ModelReady", "ModelConfig", "ModelMetadata")] == [None] * 3
    assert questions.unanswered == {"ModelReady": "no answer within 5 s", "ModelConfig": "no answer within 2 s", "ModelMetadata": NOT_ASKED}


@pytest.mark.timeout(60)
def test_a_flood_of_ping_prolongs_no_time_limit() -> None:
    def flood(peer: Peer) -> None:
        peer.begin()
        while True:
            peer.raw(frames.frame(frames.PING, 0, bytes(8)) * 500)

    with serving(flood) as server, pytest.raises(TargetError, match=r"ModelReady: no answer within 0\.5 s"):
        inspect_target(server.url, "m", timeout_s=0.5)


def test_all_optional_calls_refused_at_once(server: Described) -> None:
    server.refused = dict.fromkeys(OPTIONAL, ends(*RESTRICTED))
    target = inspect_target(server.url, "m")
    assert set(target.unanswered) == {"ServerMetadata", "ModelReady", "ModelConfig", "ModelStatistics"}
    assert (target.triton_version, len(notes(target.unanswered))) == ("", 4)


def test_a_configuration_of_many_megabytes(server: Described) -> None:
    server.padding = "x" * (17 << 20)
    target = inspect_target(server.url, "m")
    assert target.unanswered["ModelConfig"].startswith("RESOURCE_EXHAUSTED")
    assert target.batched


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (RESTRICTED, "requires credentials: give them as --header NAME:VALUE or --header-env"),
        ((grpc.StatusCode.UNIMPLEMENTED, ""), "a gRPC server without KServe's inference service"),
        ((grpc.StatusCode.INTERNAL, "x" * 5000), "see the server's log"),
    ],
)
def test_a_server_that_says_nothing_of_the_model(server: Described, refusal: tuple[grpc.StatusCode, str], says: str) -> None:
    server.refused = dict.fromkeys(CALLS, ends(*refusal))
    with pytest.raises(TargetError, match=says) as raised:
        inspect_target(server.url, "m")
    assert len(str(raised.value)) < 1200


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([("m", "", "", "")], "is not loaded: it is in the server's repository"),
        (
            [("m", "1", "READY", ""), ("m", "2", "UNAVAILABLE", "\x1b]0;x\x07bad\nload")],
            r"state UNAVAILABLE \(\\x1b\]0;x\\x07bad load\); load it",
        ),
        ([("m", "1", "READY", ""), ("m", "3", "READY", "")], "version 2 is not ready; the versions that the server lists are 1, 3"),
        (
            [(f"{number}-{'n' * 10_000}", "1", "READY", "") for number in range(2_000)],
            "has no model 'm'; it has .* and 1,990 more",
        ),
        ([], "the server has no model 'm'; it has none"),
    ],
)
def test_a_model_that_is_not_ready(server: Described, rows: list[tuple[str, str, str, str]], says: str) -> None:
    server.ready, server.rows = False, [(name[:400], *rest) for name, *rest in rows]
    with pytest.raises(TargetError, match=says) as raised:
        inspect_target(server.url, "m", "2" if len(rows) == 2 else "")
    assert len(str(raised.value)) < 1500
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("task", ["generate", "embed"])
@pytest.mark.parametrize(("datatype", "inputs"), [(999, INPUTS), (-1, INPUTS), (999, ("input_ids",)), (0, ())])
def test_a_configuration_of_types_not_known_or_of_no_input(
    server: Described, datatype: int, inputs: tuple[str, ...], task: TaskName
) -> None:
    server.datatype, server.inputs = datatype, inputs
    with pytest.raises(TargetError) as raised:
        inspect_target(server.url, "m", task=task)
    assert "embeds" not in str(raised.value)


def test_why_a_model_is_not_ready_may_stay_unknown(server: Described) -> None:
    server.ready, server.refused = False, {"RepositoryIndex": ends(*RESTRICTED)}
    with pytest.raises(TargetError, match=r"'m' is not ready, and the server gives no reason .RepositoryIndex: UNAVAILABLE: This protocol"):
        inspect_target(server.url, "m")


def test_headers_go_with_every_call(server: Described, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "Bearer hidden")
    settings = ClientSettings(headers={"X-Tenant": "a", "authorization": FromEnvironment(env="SECRET")})
    inspect_target(server.url, "m", settings=settings)
    assert {call: (seen["x-tenant"], seen["authorization"]) for call, seen in server.seen.items()} == dict.fromkeys(
        ("ModelReady", "ModelConfig", "ServerMetadata", "ModelStatistics"), ("a", "Bearer hidden")
    )


def test_a_version_that_is_no_number(server: Described) -> None:
    with pytest.raises(TargetError, match="--model-version latest: versions are whole numbers; leave it out"):
        inspect_target(server.url, "m", "latest")


def test_an_address_is_looked_at_before_the_server_is_asked() -> None:
    with pytest.raises(AddressError, match="write HOST:PORT"):
        inspect_target("localhost", "m")

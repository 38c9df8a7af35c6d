"""The replay server as a process, asked by the C-core gRPC client, by `h2` over a socket, and by nobody."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from typing import Any

import grpc
import numpy as np
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.support.triton.kserve import Answer, Stream, ask, ask_all, request
from trtbench.client.kserve.inspection import inspect_target
from trtbench.self_test.answer import MODEL, STREAM_INFER
from trtbench.self_test.servers import ReplayProcess
from trtbench.self_test.stamp import Stamps
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(60)
MS = 1_000_000
PARENT = """
from trtbench.self_test.servers import ReplayProcess
with ReplayProcess() as server:
    print(server.url, flush=True)
    input()
"""


def schedule(first_us: int, gap_us: int, responses: int) -> dict[str, Any]:
    return {"input_ids": [first_us, gap_us], "input_lengths": 2, "request_output_len": responses}


def stamps_of(answer: Answer) -> Stamps:
    assert answer.error == ""
    assert [part.final for part in answer.parts] == [False] * (len(answer.parts) - 1) + [True]
    return Stamps.of(answer.ids)


def test_it_keeps_its_schedule_and_says_when_it_sent(replay: str) -> None:
    answer = ask(replay, MODEL, **schedule(20_000, 5000, 20))
    stamps = stamps_of(answer)
    assert len(answer.parts) == 20
    due_ns = stamps.sent_ns - stamps.late_ns
    assert answer.sent_ns + 20 * MS <= due_ns[0]
    assert (abs(due_ns - due_ns[0] - 5 * MS * np.arange(20)) <= 1000).all()  # lateness is told in whole us
    assert (stamps.late_ns >= 0).all()
    assert all(sent_ns <= part.at_ns for sent_ns, part in zip(stamps.sent_ns.tolist(), answer.parts, strict=True))


def test_without_a_gap_it_sends_what_the_socket_takes(replay: str) -> None:
    assert len(stamps_of(ask(replay, MODEL, **schedule(0, 0, 5000))).sent_ns) == 5000


def test_many_streams_at_once_each_get_their_own(replay: str) -> None:
    counts = [1, 2, 50, 200] * 8
    answers = ask_all(replay, MODEL, [schedule(1000, 0 if count == 200 else 500, count) for count in counts])
    assert [len(stamps_of(answer).sent_ns) for answer in answers] == counts


def test_one_stream_serves_request_after_request(replay: str) -> None:
    with grpc.insecure_channel(replay) as channel:
        messages = iter([request(MODEL, **schedule(0, 100, count)) for count in (3, 1, 2)])
        replies = list(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(messages, timeout=20))
    finals = [reply.infer_response.parameters["triton_final_response"].bool_param for reply in replies]
    assert (len(replies), sum(finals)) == (6, 3)


def test_what_it_does_not_understand_is_an_error_of_that_request(replay: str) -> None:
    assert "two delays" in ask(replay, MODEL, input_ids=[1], input_lengths=1, request_output_len=5).error
    assert "two delays" in ask(replay, MODEL, **schedule(0, 0, 0)).error
    assert len(stamps_of(ask(replay, MODEL, **schedule(0, 0, 2))).sent_ns) == 2


def test_it_describes_itself_like_the_model_in_triton(replay: str) -> None:
    target = inspect_target(replay, MODEL)
    assert target.batched
    assert {"input_ids", "request_output_len"} <= target.inputs


def test_a_method_it_does_not_have_is_refused(replay: str) -> None:
    with grpc.insecure_channel(replay) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_clients_that_go_away_leave_the_others_alone(replay: str) -> None:
    gone = [Stream(replay, request(MODEL, **schedule(0, 0, 100_000))) for _ in range(3)]
    for stream in gone:
        stream.read(parts=1)
        stream.cancel()
    with socket.create_connection(_address(replay)) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 4)
        assert _reads_to_the_end(raw)
    assert len(stamps_of(ask(replay, MODEL, **schedule(0, 100, 5))).sent_ns) == 5


def test_the_stamp_is_of_the_write_and_not_of_the_wish(replay: str) -> None:
    """A client that opens its window 200 ms late gets responses stamped after that, and told as late."""
    h2 = H2Connection(H2Configuration(client_side=True))
    h2.initiate_connection()
    h2.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", STREAM_INFER)])
    message = request(MODEL, **schedule(0, 200, 1000)).SerializeToString()
    h2.send_data(1, struct.pack(">?I", False, len(message)) + message)
    data = bytearray()
    with socket.create_connection(_address(replay), 20) as raw:
        raw.sendall(h2.data_to_send())
        opened_ns = None
        while data.count(b"sequence_length") < 1000:
            h2_events = h2.receive_data(raw.recv(1 << 16))
            data += b"".join(event.data for event in h2_events if isinstance(event, DataReceived))
            if opened_ns is None and len(data) > 60_000:  # of a window of 65,535
                raw.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    while True:
                        data += b"".join(e.data for e in h2.receive_data(raw.recv(1 << 16)) if isinstance(e, DataReceived))
                raw.settimeout(20)
                before, opened_ns = data.count(b"sequence_length"), now_ns()
                h2.increment_flow_control_window(1 << 20)
                h2.increment_flow_control_window(1 << 20, 1)
            raw.sendall(h2.data_to_send())
    stamps = Stamps.of(_ids(bytes(data)))
    assert opened_ns is not None
    assert (stamps.sent_ns[:before] < opened_ns).all()
    assert (stamps.sent_ns[before:] > opened_ns).all()
    assert stamps.late_ns[before] > 100 * MS


def _ids(data: bytes) -> list[int]:
    ids: list[int] = []
    while data:
        (size,) = struct.unpack_from(">xI", data)
        infer = service_pb2.ModelStreamInferResponse.FromString(data[5 : 5 + size]).infer_response
        ids += struct.unpack("<4i", infer.raw_output_contents[0])
        data = data[5 + size :]
    return ids


def _address(url: str) -> tuple[str, int]:
    host, port = url.split(":")
    return host, int(port)


def _reads_to_the_end(raw: socket.socket) -> bool:
    raw.settimeout(10)
    while raw.recv(1 << 16):
        pass
    return True


@pytest.mark.process
def test_it_ends_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = _address(process.stdout.readline().strip())
        with socket.create_connection(address, 10) as raw:
            process.kill()
            assert _reads_to_the_end(raw)


@pytest.mark.process
def test_it_is_gone_after_use() -> None:
    with ReplayProcess() as server:
        address = _address(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)

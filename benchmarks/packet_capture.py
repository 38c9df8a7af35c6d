"""How far is each token's stamp from the instant its packet crossed the loopback? Needs root and tcpdump.

    python benchmarks/packet_capture.py [--tokens 64]

Sends one request through `trtbench bench` while tcpdump captures the server's port, then sets every `token_ns` beside the capture's
time of the newest packet with payload that came before it. Prints the differences: stamp minus packet, never negative.
"""

from __future__ import annotations

import argparse
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from demo_server import demo_server

from trtbench.rundir.directory import RunDirectory

_NANOSECOND_PCAP = 0xA1B23C4D
_ETHERNET_BYTES = 14


def server_packets(capture: bytes, port: int) -> Iterator[int]:
    """Wall-clock ns of each packet with payload that `port` sent, from a pcap file of the loopback (Ethernet, IPv4)."""
    assert struct.unpack_from("<I", capture)[0] == _NANOSECOND_PCAP
    place = 24
    while place < len(capture):
        seconds, nanoseconds, length, _ = struct.unpack_from("<IIII", capture, place)
        packet = capture[place + 16 : place + 16 + length]
        place += 16 + length
        ip = packet[_ETHERNET_BYTES:]
        ip_bytes, total = (ip[0] & 15) * 4, struct.unpack_from("!H", ip, 2)[0]
        tcp = ip[ip_bytes:]
        if struct.unpack_from("!H", tcp)[0] == port and total > ip_bytes + (tcp[12] >> 4) * 4:
            yield seconds * 1_000_000_000 + nanoseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=64)
    tokens = parser.parse_args().tokens
    with demo_server() as (server, engine), tempfile.TemporaryDirectory() as directory:
        url = server.endpoints.grpc
        port = int(url.rsplit(":", 1)[1])
        pcap, runs = Path(directory) / "capture.pcap", Path(directory) / "runs"
        watch = ["tcpdump", "-i", "lo", "-U", "-w", str(pcap), "--time-stamp-precision=nano", "-s", "200", f"tcp port {port}"]
        with subprocess.Popen(watch, stderr=subprocess.DEVNULL) as tcpdump:
            time.sleep(1)
            command = [sys.executable, "-m", "trtbench.cli.main", "bench", "--url", url, "--model", engine.model, "--quiet"]
            command += ["--osl", str(tokens), "--request-count", "1", "--artifact-dir", str(runs)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            time.sleep(1)
            tcpdump.terminate()
        run = RunDirectory.open(next(runs.iterdir()))
        (record,) = run.deployments()[0].requests()
        anchor = run.environment()
        packets_ns = np.array(list(server_packets(pcap.read_bytes(), port))) - anchor.anchor_wall_ns + anchor.anchor_monotonic_ns
    stamps_ns = np.array(record.token_ns)
    lag_us = (stamps_ns - packets_ns[np.searchsorted(packets_ns, stamps_ns) - 1]) / 1000
    gap_error_us = np.abs(np.diff(lag_us))
    print(f"{len(stamps_ns)} tokens, {len(packets_ns)} packets with payload from the server")
    print(f"stamp - packet, us: min {lag_us.min():.0f}, median {np.median(lag_us):.0f}, max {lag_us.max():.0f}")
    print(f"error of a gap (ITL), us: absolute: median {np.median(gap_error_us):.0f}, max {gap_error_us.max():.0f}")


if __name__ == "__main__":
    main()

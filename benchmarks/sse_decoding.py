"""The cost of decoding one event of a streamed answer: json, orjson (if it is installed) and the declared fields by msgspec, turn about.

python benchmarks/sse_decoding.py
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import timeit
from collections.abc import Callable
from typing import Any

from trtbench.client.openai.answer_events import openai_piece

EVENT = (
    b'{"id":"cmpl-8b0d1bcf34a94c4aa9a4d0e6c9a1f0d5","object":"text_completion","created":1764582000,"model":"smol","choices":[{"index":0,'
    b'"text":" the","logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":[260]}],'
    b'"usage":{"prompt_tokens":16,"total_tokens":24,"completion_tokens":8}}'
)
"""An event of vLLM with token ids and the usage so far."""


def decoders() -> dict[str, Callable[[bytes], Any]]:
    found: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "trtbench": openai_piece}
    with contextlib.suppress(ModuleNotFoundError):
        found["orjson"] = importlib.import_module("orjson").loads
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="events decoded in each round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the fastest counts")
    given = parser.parse_args()
    best: dict[str, float] = {}
    for _ in range(given.rounds):
        for name, decode in decoders().items():
            seconds = timeit.timeit(lambda decode=decode: decode(EVENT), number=given.events)  # type: ignore[misc]
            best[name] = min(best.get(name, seconds), seconds)
    for name, seconds in best.items():
        print(f"{name:10} {seconds / given.events * 1e6:6.2f} us an event")


if __name__ == "__main__":
    main()

"""RequestShape: what each request of a run asks of an OpenAI-compatible server, and how its answer is counted. The probe decides it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

CountSource = Literal["token_ids", "running_usage", "own_count", "last_usage", "tokenizer"]
"""Ways to count the tokens of an answer, the best first. `token_ids`: each event has them. `running_usage`: each event has the number of
tokens so far. `own_count`: each event has the number of its own tokens. `last_usage`: the end of the answer has the number of all.
`tokenizer`: the server reports nothing, and trtbench's tokenizer estimates it."""
PromptForm = Literal["ids", "text", "messages"]


@dataclass(frozen=True)
class RequestShape:
    """The shape of every request. It is the same for the whole run: nothing is sent again with other keys.

    `length_key` is the key of the requested output length. `asked` are the keys of OPTIONAL_KEYS that the server accepts,
    `refused` those that it does not accept, each with its reason. `extra` are the user's own keys. `tensors` are the inputs of a model of
    Triton, which are the keys that its generate endpoint takes.
    """

    prompt: PromptForm = "text"
    counts: CountSource = "tokenizer"
    length_key: str = "max_tokens"
    asked: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    tensors: tuple[str, ...] = ()
    system_prompt: str = ""

    def optional(self, output_tokens: int, streaming: bool, ignore_eos: bool) -> dict[str, Any]:
        """The accepted keys with their values for one request. An output is forced to its length only with `ignore_eos`."""
        values: dict[str, Any] = {}
        for key in self.asked:
            if (key in FORCE_LENGTH and not ignore_eos) or (key in OF_STREAMS and not streaming):
                continue
            if key in USAGE_OPTIONS:
                values.setdefault("stream_options", {})[key] = True
            else:
                values[key] = output_tokens if key == "min_tokens" else True
        return values

    @property
    def forces_length(self) -> bool:
        """Whether the server accepts a key that forces the length of an output. It may accept the key and ignore it."""
        return not FORCE_LENGTH.isdisjoint(self.asked)


FORCE_LENGTH = frozenset({"ignore_eos", "min_tokens"})
USAGE_OPTIONS = ("include_usage", "continuous_usage_stats")
OF_STREAMS = frozenset(USAGE_OPTIONS)
OPTIONAL_KEYS = ("ignore_eos", "min_tokens", "return_token_ids", *USAGE_OPTIONS)
"""Keys that a server may refuse, in the order in which they are tried."""

"""The probe: a few small requests before a run, which find out what the server accepts and how the tokens of its answers are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trtbench.client.http1.event_stream import EventSplitter
from trtbench.client.openai.answer_events import END_MARK, Piece
from trtbench.client.openai.endpoints import Endpoint
from trtbench.client.openai.http_questions import MOST_ANSWER_BYTES, Answer, HttpQuestions
from trtbench.client.openai.request_shape import OF_STREAMS, OPTIONAL_KEYS, CountSource, PromptForm, RequestShape
from trtbench.client.protocol import TargetError
from trtbench.plan.plan import PlannedPrompt
from trtbench.scenario.workload.workload import Workload
from trtbench.system.foreign_text import shown

_PROMPT_IDS = (101, 102, 103, 104, 105)
_TOKENS = 4
_PATIENCE_S = 60.0  # a server under other load may let the probe wait in its queue
_REFUSALS = (400, 404, 415, 422, 501)
"""Statuses of a server that does not accept a key, or a form of prompts."""


@dataclass(frozen=True)
class Probe:
    """Asks `model` through `endpoint`. `streaming` is that of the run."""

    questions: HttpQuestions
    endpoint: Endpoint
    model: str
    streaming: bool

    def shape(self, wanted: RequestShape) -> RequestShape:
        """`wanted` with the prompt form, the keys and the source of counts that the server offers; TargetError if it answers no request."""
        shape = self._length_key(replace(wanted, prompt=self.endpoint.prompts[-1]))
        keys, refused = self._accepted(shape)
        shape = replace(shape, asked=keys, refused=refused)
        pieces = self._pieces(self._send(shape))
        shape = replace(shape, prompt=self._prompt_form(shape, refused), counts=count_source(pieces))
        return _without_useless_keys(shape)

    def _length_key(self, shape: RequestShape) -> RequestShape:
        """The shape with the first key of the output length that the server accepts and keeps to."""
        answer = None
        for key in self.endpoint.length_keys:
            attempt = replace(shape, length_key=key)
            answer = self._send(attempt)
            if answer.status == 200 and _event_count(self._pieces(answer)) <= _TOKENS + 2:
                return attempt
        assert answer is not None, "an endpoint has a key for the output length"
        if answer.status == 200:
            return attempt  # neither is kept to, which the outputs of another length will show
        raise TargetError(f"{self.questions.url}{self._path}: a first request failed ({answer.error}): {self._remedy(answer)}")

    def _accepted(self, shape: RequestShape) -> tuple[tuple[str, ...], dict[str, str]]:
        """(The optional keys that the server accepts, those that it refuses with the reason). One request if it accepts all."""
        keys = tuple(key for key in OPTIONAL_KEYS if self.streaming or key not in OF_STREAMS)
        if not self.endpoint.has_models or self._send(replace(shape, asked=keys)).status == 200:
            return (keys if self.endpoint.has_models else shape.asked), {}
        accepted: list[str] = []
        refused: dict[str, str] = {}
        for key in keys:
            answer = self._send(replace(shape, asked=(*accepted, key)))
            if answer.status == 200:
                accepted.append(key)
            elif answer.status in _REFUSALS:
                refused[key] = answer.error
            else:
                raise TargetError(f"{self.questions.url}{self._path}: a request with {key} failed ({answer.error}): see the server's log")
        return tuple(accepted), refused

    def _prompt_form(self, shape: RequestShape, refused: dict[str, str]) -> PromptForm:
        """The best form that the server takes. One that answers ids, but counts another number of them, has taken them for a text."""
        best = self.endpoint.prompts[0]
        if best == shape.prompt:
            return best
        answer = self._send(replace(shape, prompt=best))
        if answer.status != 200:
            refused[f"prompts as {best}"] = answer.error
            return shape.prompt
        counted = next((piece.prompt_tokens for piece in self._pieces(answer) if piece.prompt_tokens is not None), None)
        if counted not in (None, len(_PROMPT_IDS)):
            refused[f"prompts as {best}"] = f"it counts {counted} tokens in a prompt of {len(_PROMPT_IDS)}"
            return shape.prompt
        return best

    def _send(self, shape: RequestShape) -> Answer:
        prompt = PlannedPrompt(np.array(_PROMPT_IDS, np.int32), _TOKENS, seed=0, text="Hello, how are you")
        body = self.endpoint.body(self.model, shape, prompt, _PROMPT_IDS, Workload(streaming=self.streaming))
        return self.questions.ask(self._path, body, _PATIENCE_S)

    def _pieces(self, answer: Answer) -> list[Piece]:
        """The pieces of an answer under status 200; TargetError for one that is not of the endpoint."""
        if self.streaming and not answer.is_stream:
            raise TargetError(
                f"{self.questions.url}{self._path} answers a request to stream in one piece "
                f"({shown(answer.headers.get('content-type', 'no content type'), 80)}): give --no-streaming"
            )
        events = EventSplitter(MOST_ANSWER_BYTES)
        messages = [*events.take(answer.body), *events.finish()] if self.streaming else [answer.body]
        try:
            pieces = [self.endpoint.decode(message) for message in messages if message != END_MARK]
        except ValueError as error:
            raise TargetError(
                f"{self.questions.url}{self._path}: the answer is not one of {self.endpoint.name} ({shown(str(error), 200)})"
            ) from error
        if fault := next((piece.error for piece in pieces if piece.error), ""):
            raise TargetError(f"{self.questions.url}{self._path}: a first request failed ({shown(fault, 300)}): see the server's log")
        return pieces

    @property
    def _path(self) -> str:
        return self.endpoint.path(self.model, self.streaming)

    def _remedy(self, answer: Answer) -> str:
        if answer.status in (404, 405):
            return f"the server has no {self.endpoint.name}: correct --endpoint-type, or the prefix in --url"
        return "see the server's log, and check --extra-input" if answer.status in _REFUSALS else "see the server's log"


def count_source(pieces: Sequence[Piece]) -> CountSource:
    """The best source of token counts that an answer offers."""
    with_text = [piece for piece in pieces if piece.text or piece.reasoning]
    totals = [piece.total_tokens for piece in pieces if piece.total_tokens is not None]
    ids = sum(len(piece.ids) for piece in pieces)
    if ids and all(piece.ids for piece in with_text) and (not totals or ids == totals[-1]):
        return "token_ids"
    if any(piece.own_tokens for piece in pieces):
        return "own_count"
    if totals and with_text and all(piece.total_tokens is not None for piece in with_text):
        return "running_usage"
    return "last_usage" if totals else "tokenizer"


def _event_count(pieces: Sequence[Piece]) -> int:
    return sum(bool(piece.text or piece.reasoning) for piece in pieces)


def _without_useless_keys(shape: RequestShape) -> RequestShape:
    """The shape without keys that bring nothing: usage in each event costs the server and the client time."""
    useless = {"return_token_ids"} if shape.counts != "token_ids" else {"continuous_usage_stats"}
    if shape.counts == "last_usage":
        useless.add("continuous_usage_stats")
    return replace(shape, asked=tuple(key for key in shape.asked if key not in useless))

"""The formats of datasets: who writes them, how a row is recognised, and what of it is not used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trtbench.plan.sources.dataset_row import conversation_of, output_tokens_of, text_of, type_of
from trtbench.plan.sources.reader import RawConversation, RawTurn, Reader, RowError

_MEDIA = ("image", "images", "image_uuids", "audio", "audios", "video", "videos", "media_paths")
_LENGTHS = "the answer in the file gives the output length"
_NO_SYSTEM = "messages of the system and of tools are not sent"


def _has(*keys: str) -> Any:
    return lambda row: isinstance(row, dict) and any(key in row for key in keys)


def _wrapped(row: Any) -> Iterator[Any]:
    """The requests in `body`, `payload` or `payloads`."""
    keys = ("body", "payload", "payloads") if isinstance(row, dict) else ()
    inner = next((row[key] for key in keys if isinstance(row.get(key), (dict, list))), row)
    yield from (inner or [{}]) if isinstance(inner, list) else [inner]


def _without_media(row: Any) -> None:
    """RowError for a row with pictures, sound or films."""
    found = next((key for key in _MEDIA if isinstance(row, dict) and row.get(key)), None)
    if found:
        raise RowError(f"{found}: only text is sent")


# trtllm-bench: prepare_dataset.py, and its older dump of one object {"metadata", "samples"}


def _is_task(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    return ("task_id" in row and "output_tokens" in row) or ("metadata" in row and isinstance(row.get("samples"), list))


def _samples(row: Any) -> Iterator[Any]:
    samples = row.get("samples") if isinstance(row, dict) else None
    yield from samples if isinstance(samples, list) else [row]


def _task(row: Any) -> RawConversation:
    _without_media(row)
    turns = conversation_of(row)
    if turns[-1].answer is None:
        raise RowError("output_tokens is missing, which trtllm-bench requires")
    return turns


# aiperf: single_turn and multi_turn of --custom-dataset-type


def _is_single_turn(row: Any) -> bool:
    marks = ("timestamp", "delay", "session_id", "role", "extra", "type", *_MEDIA)
    return isinstance(row, dict) and ("texts" in row or ("text" in row and any(key in row for key in marks)))


def _is_multi_turn(row: Any) -> bool:
    turns = row.get("turns") if isinstance(row, dict) else None
    return isinstance(turns, list) and all(isinstance(turn, dict) and not {"content", "value"} & set(turn) for turn in turns)


def _single_turn(row: Any) -> RawConversation:
    if not isinstance(row, dict):
        raise RowError(f"the row is {type_of(row)}, not an object")
    _without_media(row)
    texts = row.get("texts")
    if isinstance(texts, list) and len(texts) != 1:
        raise RowError("texts has several texts or none; a request has one")
    text = texts[0] if isinstance(texts, list) else row.get("text")
    if isinstance(text, dict) and isinstance(text.get("contents"), list) and len(text["contents"]) == 1:
        text = text["contents"][0]
    return (RawTurn(text_of(text, "text"), output_tokens_of(row)),)


def _multi_turn(row: Any) -> RawConversation:
    turns = row.get("turns") if isinstance(row, dict) else None
    if not isinstance(turns, list) or not turns:
        raise RowError("turns is missing or empty")
    return tuple(turn for one in turns for turn in _single_turn(one))


def _rows_of_rows(row: Any) -> Iterator[Any]:
    yield from row if isinstance(row, list) else [row]


_AIPERF_NOTES = ("timestamp, delay and extra are not used", "without output_length the workload's output_tokens count")

PROMPT_FORMATS: tuple[Reader, ...] = (
    Reader("trtllm-bench", _is_task, ("lora_request is not used",), _task, requests_in=_samples),
    Reader("sharegpt", _has("conversations", "conversation"), (_LENGTHS, _NO_SYSTEM), conversation_of),
    Reader("openai-batch", _has("body"), ("sampling parameters are not used", _NO_SYSTEM), conversation_of, requests_in=_wrapped),
    Reader(
        "genai-perf",
        _has("payload", "payloads"),
        ("each payload is a request of its own", _NO_SYSTEM),
        conversation_of,
        requests_in=_wrapped,
    ),
    Reader("openai-chat", _has("messages"), (_LENGTHS, _NO_SYSTEM), conversation_of),
    Reader("aiperf-multi-turn", _is_multi_turn, _AIPERF_NOTES, _multi_turn),
    Reader("aiperf-single-turn", _is_single_turn, _AIPERF_NOTES, _single_turn),
    Reader("prompts", lambda row: True, (), conversation_of, requests_in=_rows_of_rows),
)
"""The formats in the order in which a row is tried; the last takes every row."""

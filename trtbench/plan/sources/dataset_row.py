"""A row with a prompt, or with the messages of a conversation, as a conversation: pure functions of JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trtbench.plan.sources.reader import RawConversation, RawTurn, RowError
from trtbench.scenario.parts.bounds import INT32, MOST_TOKENS

_PROMPT_KEYS = ("prompt", "text", "text_input")
_IDS_KEYS = ("input_ids", "logits")  # logits: trtllm-bench's older name
_LENGTH_KEYS = ("output_tokens", "output_length", "output_len", "max_tokens", "max_completion_tokens", "request_output_len")
_CONVERSATION_KEYS = ("conversations", "conversation", "messages", "turns")
_SPEAKER_KEYS, _SAID_KEYS = ("from", "role"), ("value", "content", "text")
_USER = ("human", "user")
_MODEL = ("gpt", "assistant", "chatgpt", "model", "bot")
_TYPES = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text", list: "a list", dict: "an object"}
_MOST_KEYS = 6  # named in a reason


def conversation_of(row: Any) -> RawConversation:
    """The conversation in a row; RowError if it has no prompt that can be sent."""
    if isinstance(row, str):
        return (RawTurn(text_of(row, "the row")),)
    if not isinstance(row, dict):
        raise RowError(f"the row is {type_of(row)}, not an object")
    for key in _CONVERSATION_KEYS:
        if key in row:
            return _turns(row[key], key, output_tokens_of(row))
    for key in _IDS_KEYS:
        if row.get(key) is not None:
            return (RawTurn(_ids(_single(row[key]), key), output_tokens_of(row)),)
    prompt = next((key for key in _PROMPT_KEYS if key in row), None)
    if prompt is None:
        raise RowError(_no_prompt(row))
    return (RawTurn(text_of(_first(_single(row[prompt])), prompt), output_tokens_of(row)),)


def _no_prompt(row: dict[str, Any]) -> str:
    if "input_length" in row:
        return "input_length without a prompt: such a file is a trace, replay it with mode: trace"
    keys = ", ".join(list(map(str, row))[:_MOST_KEYS])
    expected = f"give a text as {', '.join(_PROMPT_KEYS)}, token ids as input_ids, or {', '.join(_CONVERSATION_KEYS)}"
    return f"no prompt among its keys ({keys[:100]}); {expected}"


def _single(value: Any) -> Any:
    """perf_analyzer's `{"content": [...], "shape": [...]}`, or the value itself."""
    return value["content"] if isinstance(value, dict) and "content" in value else value


def _first(value: Any) -> Any:
    """perf_analyzer writes a tensor of one element as a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def text_of(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"{key} is {type_of(value)}, not a text")
    if not value:
        raise RowError(f"{key} is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RowError(f"{key} has half of a surrogate pair, which is not a character") from None
    return value


def _ids(value: Any, key: str) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(token) is int and 0 <= token <= INT32 for token in value):
        raise RowError(f"{key} is not a list of token ids, whole numbers from 0 up")
    return value


def output_tokens_of(row: dict[str, Any]) -> int | None:
    key = next((key for key in _LENGTH_KEYS if row.get(key) is not None), None)
    if key is None:
        return None
    length = _first(_single(row[key]))
    if type(length) is not int or not 1 <= length <= MOST_TOKENS:
        raise RowError(f"{key} is not a whole number from 1 to {MOST_TOKENS:,}")
    return length


def _turns(messages: Any, key: str, asked: int | None) -> RawConversation:
    """The turns of a list of messages: a user's message and the answer right after it. Other messages (system, tools) are left out.

    `asked` is the number of output tokens of a turn without an answer.
    """
    if not isinstance(messages, list):
        raise RowError(f"{key} is {type_of(messages)}, not a list of messages")
    said = [one for one in (_message(message, key) for message in messages) if one]
    pairs = zip(said, [*said[1:], ("", "")], strict=False)  # each message and the next
    turns = tuple(RawTurn(text, answer if who in _MODEL else asked) for (speaker, text), (who, answer) in pairs if speaker in _USER)
    if not turns:
        raise RowError(f"{key} has no message of a user")
    return turns


def _message(message: Any, key: str) -> tuple[str, str] | None:
    """(Speaker, text), or None for a speaker that is neither the user nor the model. A message without a speaker is from the user."""
    if isinstance(message, str):
        return _USER[0], text_of(message, f"a message of {key}")
    if not isinstance(message, dict):
        raise RowError(f"{key} contains {type_of(message)}, not messages")
    speaker = next((message[name] for name in _SPEAKER_KEYS if name in message), _USER[0])
    value = next((message[name] for name in _SAID_KEYS if name in message), None)
    if speaker not in _USER + _MODEL:
        return None
    if isinstance(value, list):
        value = _joined(value)
    return str(speaker), text_of(value, f"a message of {key}")


def _joined(parts: Sequence[Any]) -> Any:
    """The text of OpenAI's content parts, or the parts themselves if not all of them are text."""
    texts = [part["text"] for part in parts if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)]
    return "\n".join(texts) if texts and len(texts) == len(parts) else parts


def type_of(value: Any) -> str:
    return _TYPES.get(type(value), "of another type")

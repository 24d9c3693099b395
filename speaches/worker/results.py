"""
Answers of the server as outputs of a job.

    JSON                {...} or [...]                                               as it is
    audio/*             {"status": "success", "content_type": "audio/wav", "audio_content": "<base64>"}
    text/*, subtitles   {"text": "..."}
    other bytes         {"status": "success", "content_type": "...", "data": "<base64>"}
    nothing             {"status": "success"}
    into the bucket     {"status": "success", "content_type": "...", "url": "https://..."}
    an error            {"error": "<one readable sentence>", "status_code": 404, "detail": {"message", "type", "param", "code"}}

Runpod loses whatever is not JSON, not UTF-8 or too large, and every error that is not a text (reference: runpod-python#299, #309).
So each output is serialised here first, in the way the SDK will do it.
"""

from __future__ import annotations

import base64
import json
import math
from http import HTTPStatus
from typing import Any

from speaches.errors import BadGateway, InvalidRequest, SpeachesError
from speaches.worker import media
from speaches.worker.proxy import Answer

BLOCK = 768 * 1024  # bytes encoded at a time, a multiple of 3
LONG = 1_000  # characters from which a text is not worth showing in a log
MAX_MESSAGE = 2_000  # characters of an error's sentence
MAX_DETAIL = 20_000  # characters of an error's detail as JSON
ENVELOPE = 200  # bytes around the base64 in an output


class LongText(str):
    """A text that is short in logs. The SDK formats every output for its log, even when the log is off: 0.1 s for 10 MB of base64."""

    def __repr__(self) -> str:
        return f"'{self[:20]}... ({len(self)} characters)'" if len(self) > LONG else super().__repr__()


class ResultTooLarge(InvalidRequest):
    status = 413
    default_code = "result_too_large"


def to_output(answer: Answer) -> Any:
    """A successful answer as the output of a job. Takes milliseconds per megabyte: call it in a thread.

    Raises:
        BadGateway: If the server calls something JSON that isn't.
    """
    if not answer.body:
        return {"status": "success"}
    if media.is_json(answer.content_type):
        return _json_output(answer.body)
    if media.is_text(answer.content_type):
        return {"text": clean(_decoded(answer))}
    key = "audio_content" if media.bare(answer.content_type).startswith("audio/") else "data"
    return {
        "status": "success",
        "content_type": answer.content_type or "application/octet-stream",
        key: encode_base64(answer.body),
    }


def _json_output(body: bytes) -> Any:
    try:
        output = clean(json.loads(body))
    except ValueError:
        raise BadGateway("The speech server's answer says that it is JSON, but it is not.") from None
    # The SDK drops an empty object and null, and a caller could not tell them from a lost result.
    return {"status": "success"} if output is None or output == {} else output


def _decoded(answer: Answer) -> str:
    try:
        return answer.body.decode(media.charset(answer.content_type), "replace")
    except LookupError:  # a charset that nobody knows
        return answer.body.decode("utf-8", "replace")


def encode_base64(body: bytes) -> LongText:
    """Base64 in blocks: the encoder holds the interpreter, and the event loop wants it in between."""
    blocks = (base64.b64encode(body[start : start + BLOCK]) for start in range(0, len(body), BLOCK))
    return LongText(b"".join(blocks).decode("ascii"))


def clean(value: Any) -> Any:
    """A JSON value without what the SDK can't send: NaN and infinities become null, broken characters '?'."""
    match value:
        case dict():
            return {clean(key): clean(item) for key, item in value.items()}
        case list():
            return [clean(item) for item in value]
        case str():
            text = value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
            return LongText(text) if len(text) > LONG else text
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def size_of(output: Any) -> int:
    """Bytes of an output as the SDK will send it.

    Raises:
        ValueError, TypeError: If it can't be sent.
    """
    return len(json.dumps(output, ensure_ascii=False, allow_nan=False).encode("utf-8"))


def encoded_size(content_type: str, size: int) -> int:
    """Bytes that an answer of `size` bytes takes in a job's output, at least."""
    if media.is_json(content_type) or media.is_text(content_type):
        return size
    return (size + 2) // 3 * 4 + ENVELOPE


def too_large(content_type: str, size: int, limit: int) -> ResultTooLarge:
    """Says how large the result is, what fits, and what to do."""
    if media.bare(content_type).startswith("audio/"):
        advice = "Ask for response_format mp3 or opus, split the text"
    elif media.is_json(content_type) or media.is_text(content_type):
        advice = "Ask for response_format json or text (mp3 or opus where it holds speech), split the file or the text"
    else:
        advice = "Ask for less"
    return ResultTooLarge(
        f"The result has at least {size / 1e6:.1f} MB, more than the {limit / 1e6:.1f} MB that a job may return. {advice}, "
        "or let the worker put large results into a bucket (s3Config in the job, or the worker's BUCKET_* settings)."
    )


def refusal(answer: Answer) -> dict[str, Any]:
    """An answer of status 400 or more as a job's error."""
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = None
    error = said.get("error", said.get("detail")) if isinstance(said, dict) else None
    detail = clean(error) if isinstance(error, dict) else {"message": clean(error) if isinstance(error, str) else ""}
    message = detail.get("message")
    if not isinstance(message, str) or not message.strip():
        message = f"The speech server answered {answer.status} {_phrase(answer.status)}.".replace(" .", ".")
    return _error(message, answer.status, detail)


def failure(error: SpeachesError) -> dict[str, Any]:
    """Our own error as a job's error."""
    return _error(error.message, error.status, clean(error.as_openai()["error"]))


def _error(message: str, status: int, detail: dict[str, Any]) -> dict[str, Any]:
    """The one shape of all errors. `error` is a text that is never empty: Runpod takes anything else for success."""
    message = clean(message.strip())
    message = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}..."
    whole = {"type": "server_error" if status >= 500 else "invalid_request_error", "param": None, "code": None} | detail
    whole["message"] = message
    if len(json.dumps(whole)) > MAX_DETAIL:
        whole = {key: whole[key] for key in ("type", "message")}
    return {"error": str(message), "status_code": status, "detail": whole}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

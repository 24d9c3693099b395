"""Answers as outputs. What leaves here must survive the SDK: JSON without NaN, in UTF-8, with errors that are texts."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from speaches.errors import BadGateway, InvalidRequest, TooBusy
from speaches.worker.proxy import Answer
from speaches.worker.results import LongText, clean, encode_base64, failure, refusal, size_of, to_output, too_large


def as_the_sdk_sends_it(output: Any) -> Any:
    """What Runpod gets, read back."""
    return json.loads(json.dumps({"output": output}, ensure_ascii=False, allow_nan=False).encode("utf-8"))["output"]


@pytest.mark.parametrize(
    ("content_type", "body", "output"),
    [
        ("application/json", b'{"text": "hi"}', {"text": "hi"}),
        ("application/json; charset=utf-8", b"[]", []),
        ("application/problem+json", b'[{"start": 1}]', [{"start": 1}]),
        ("application/json", b"5", 5),
        ("application/json", b'"hi"', "hi"),
        ("application/json", b"{}", {"status": "success"}),
        ("application/json", b"null", {"status": "success"}),
        ("application/json", b"", {"status": "success"}),
        ("audio/wav", b"", {"status": "success"}),
        ("application/json", b'{"a": NaN, "b": [Infinity, -Infinity, 1e999]}', {"a": None, "b": [None, None, None]}),
        ("application/json", b'{"a": "\\ud800x", "\\udfff": 1}', {"a": "?x", "?": 1}),
        ("audio/wav", b"RIFF", {"status": "success", "content_type": "audio/wav", "audio_content": "UklGRg=="}),
        ("Audio/MPEG", b"ID3", {"status": "success", "content_type": "Audio/MPEG", "audio_content": "SUQz"}),
        ("text/plain; charset=utf-8", "grüß".encode(), {"text": "grüß"}),
        ("text/plain; charset=latin-1", "grüß".encode("latin-1"), {"text": "grüß"}),
        ("text/plain; charset=klingon", b"hi", {"text": "hi"}),
        ("text/plain", b"\xff", {"text": "�"}),
        ("text/vtt", b"WEBVTT", {"text": "WEBVTT"}),
        ("application/x-subrip", b"1", {"text": "1"}),
        ("application/zip", b"PK", {"status": "success", "content_type": "application/zip", "data": "UEs="}),
        ("", b"PK", {"status": "success", "content_type": "application/octet-stream", "data": "UEs="}),
    ],
)
def test_an_answer_becomes_an_output_that_survives(content_type: str, body: bytes, output: Any) -> None:
    found = to_output(Answer(200, content_type, body))
    assert found == output
    assert as_the_sdk_sends_it(found) == output
    assert size_of(found) == len(json.dumps(output, ensure_ascii=False).encode())


def test_json_that_is_none_is_the_servers_failure() -> None:
    with pytest.raises(BadGateway):
        to_output(Answer(200, "application/json", b"{"))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 768 * 1024, 2_000_001])
def test_base64_in_blocks_is_base64(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert encode_base64(content) == base64.b64encode(content).decode()


def test_a_long_text_is_short_in_logs_and_whole_in_json() -> None:
    output = to_output(Answer(200, "audio/wav", bytes(3_000_000)))
    nested = clean({"choices": [{"audio": {"data": "A" * 5_000_000}}]})
    assert len(f"{output}") < 200
    assert len(f"{nested}") < 200
    assert len(json.dumps(output)) > 4_000_000
    assert json.loads(json.dumps(nested)) == {"choices": [{"audio": {"data": "A" * 5_000_000}}]}
    assert repr(LongText("short")) == "'short'"


def test_an_openai_error_is_told_with_its_sentence() -> None:
    error = {
        "message": "The model 'x' does not exist.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    output = refusal(Answer(404, "application/json", json.dumps({"error": error}).encode()))
    assert output == {"error": "The model 'x' does not exist.", "status_code": 404, "detail": error}


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (500, b"", "The speech server answered 500 Internal Server Error."),
        (404, b"{}", "The speech server answered 404 Not Found."),
        (404, b'{"detail": "Not Found here"}', "Not Found here"),
        (400, b'{"error": "a text"}', "a text"),
        (400, b'{"error": {"message": ""}}', "The speech server answered 400 Bad Request."),
        (400, b'{"error": {"message": {"a": 1}}}', "The speech server answered 400 Bad Request."),
        (400, b'{"error": {"code": NaN}}', "The speech server answered 400 Bad Request."),
        (400, b'{"error": null}', "The speech server answered 400 Bad Request."),
        (400, b'{"error": {"message": "\\ud800"}}', "?"),
        (502, b"<html>", "The speech server answered 502 Bad Gateway."),
        (599, b"[]", "The speech server answered 599."),
        (307, b"", "The speech server answered 307 Temporary Redirect."),
    ],
)
def test_an_error_is_always_a_sentence(status: int, body: bytes, sentence: str) -> None:
    output = refusal(Answer(status, "application/json", body))
    assert (output["error"], output["status_code"], output["detail"]["message"]) == (sentence, status, sentence)
    assert type(output["error"]) is str
    assert as_the_sdk_sends_it(output) == output


def test_an_error_of_megabytes_is_cut() -> None:
    huge = {"error": {"message": "x" * 5_000_000, "param": "y" * 5_000_000}}
    output = refusal(Answer(400, "application/json", json.dumps(huge).encode()))
    assert len(json.dumps(output)) < 10_000


def test_our_own_errors_have_the_same_shape() -> None:
    assert failure(InvalidRequest("No path.", param="path")) == {
        "error": "No path.",
        "status_code": 400,
        "detail": {"message": "No path.", "type": "invalid_request_error", "param": "path", "code": None},
    }
    assert failure(TooBusy("Full."))["status_code"] == 429


@pytest.mark.parametrize(
    ("content_type", "advice"),
    [("audio/wav", "mp3 or opus"), ("application/json", "split the file"), ("video/mp4", "less")],
)
def test_a_result_that_is_too_large_says_what_to_do(content_type: str, advice: str) -> None:
    error = too_large(content_type, 12_345_678, 9_500_000)
    assert (error.status, error.code) == (413, "result_too_large")
    for word in ("12.3 MB", "9.5 MB", advice, "s3Config", "BUCKET_"):
        assert word in error.message

"""Reading a job: rules, no server."""

from __future__ import annotations

from typing import Any

import pytest

from speaches.errors import InvalidRequest
from speaches.worker.job import Request, Upload, form_fields, read_job

SPEECH = {"model": "m", "input": "Hello", "voice": "v"}


def test_a_body_makes_a_post() -> None:
    request = read_job({"path": "/v1/chat/completions", "body": {"model": "m"}})
    assert request == Request("POST", "/v1/chat/completions", body={"model": "m"})


def test_neither_body_nor_file_makes_a_get() -> None:
    assert read_job({"path": "/v1/models"}) == Request("GET", "/v1/models")
    assert read_job({"path": "/v1/models", "body": {}}).method == "GET"
    assert read_job({"path": "/v1/models", "body": None, "method": None}).method == "GET"


def test_the_method_is_taken_in_any_case() -> None:
    assert read_job({"method": "delete", "path": "/api/ps/Systran/tiny.en"}) == Request(
        "DELETE", "/api/ps/Systran/tiny.en"
    )


def test_a_post_without_a_body_has_none() -> None:
    assert read_job({"method": "POST", "path": "/api/ps/Systran/tiny.en"}).body is None
    assert read_job({"method": "POST", "path": "/api/x", "body": {}}).body == {}


def test_a_file_url_makes_an_upload_named_after_the_url() -> None:
    request = read_job(
        {
            "path": "/v1/audio/transcriptions",
            "file_url": "https://a.example/x/My%20talk.mp3?sig=1",
            "body": {"model": "m"},
        }
    )
    assert request.method == "POST"
    assert request.uploads == (Upload("file", "My talk.mp3", url="https://a.example/x/My%20talk.mp3?sig=1"),)


def test_a_file_name_may_be_given_and_loses_its_folders() -> None:
    request = read_job(
        {"path": "/v1/audio/transcriptions", "file_base64": "UklGRg==", "file_name": "..\\..//etc/pass\nwd.wav"}
    )
    assert request.uploads == (Upload("file", "passwd.wav", base64="UklGRg=="),)


def test_a_data_url_is_base64_with_a_type() -> None:
    (upload,) = read_job({"path": "/x", "file_base64": "data:audio/wav;base64,UklGRg=="}).uploads
    assert (upload.base64, upload.name) == ("UklGRg==", "file.wav")


def test_other_uploads_are_named_after_their_field() -> None:
    request = read_job({"path": "/x", "image_base64": "AAAA", "image_name": "a.png", "mask_base64": "BBBB"})
    assert [(upload.field, upload.name) for upload in request.uploads] == [("image", "a.png"), ("mask", "mask")]


def test_speech_without_a_format_is_wav_and_comes_as_a_whole() -> None:
    wav, mp3 = ({"response_format": name, "stream": False} for name in ("wav", "mp3"))
    assert read_job({"path": "/v1/audio/speech", "body": SPEECH}).body == SPEECH | wav
    assert read_job({"path": "/v1/audio/speech", "body": SPEECH | {"response_format": "mp3"}}).body == SPEECH | mp3
    assert read_job({"path": "/v1/chat/completions", "body": SPEECH}).body == SPEECH


def test_captions_come_as_a_whole_even_where_answers_may_stream() -> None:
    for streaming in (False, True):
        job = {"path": "/v1/audio/speech/captions", "body": SPEECH | {"stream": True, "caption_format": "json"}}
        assert read_job(job, streaming=streaming).body == SPEECH | {"caption_format": "json"}


def test_the_wish_to_stream_is_dropped_unless_the_worker_streams() -> None:
    wish = {"stream": True, "stream_options": {"include_usage": True}, "stream_format": "sse"}
    assert read_job({"path": "/v1/chat/completions", "body": SPEECH | wish}).body == SPEECH
    assert read_job({"path": "/v1/chat/completions", "body": SPEECH | wish}, streaming=True).body == SPEECH | wish
    assert read_job({"path": "/v1/chat/completions", "body": {"stream_format": "audio"}}).body == {
        "stream_format": "audio"
    }


def test_the_body_of_the_job_is_not_changed() -> None:
    body = SPEECH | {"stream": True}
    read_job({"path": "/v1/audio/speech", "body": body})
    assert body == SPEECH | {"stream": True}


@pytest.mark.parametrize(
    ("route", "target"),
    [
        ("/v1/models", "/v1/models"),
        ("/models", "/v1/models"),
        ("models", "/v1/models"),
        ("v1/models", "/v1/models"),
        ("/openai/v1/models", "/v1/models"),
        ("/openai/v1/models?a=b", "/v1/models?a=b"),
        ("/v1", "/v1"),
        ("/v10/x", "/v1/v10/x"),
    ],
)
def test_an_openai_route_is_under_v1(route: str, target: str) -> None:
    assert read_job({"openai_route": route}) == Request("GET", target)


def test_an_openai_input_is_the_body() -> None:
    request = read_job({"openai_route": "/v1/audio/speech", "openai_input": SPEECH})
    assert (request.method, request.body) == ("POST", SPEECH | {"response_format": "wav", "stream": False})
    assert read_job({"openai_route": "/v1/models", "openai_input": {}}).method == "GET"


def test_a_route_is_a_path_as_worker_vllm_takes_it() -> None:
    assert read_job({"route": "/v1/audio/speech", "body": SPEECH}).target == "/v1/audio/speech"


def test_query_parameters_come_from_the_path_and_from_query_params() -> None:
    params = {"task": "text-to-speech", "n": 2, "all": True, "none": None, "id": ["a/b", "c d"], "ü": "ß"}
    request = read_job({"path": "/v1/registry?q=x y&z=%20", "query_params": params})
    assert request.target == "/v1/registry?q=x%20y&z=%20&task=text-to-speech&n=2&all=true&id=a%2Fb&id=c+d&%C3%BC=%C3%9F"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/models/Systran/faster-whisper-tiny.en", "/v1/models/Systran/faster-whisper-tiny.en"),
        ("/v1/models/Systran%2Ftiny", "/v1/models/Systran%2Ftiny"),
        ("/v1/models/größe x#y", "/v1/models/gr%C3%B6%C3%9Fe%20x%23y"),
        ("/@10.0.0.1/", "/@10.0.0.1/"),  # after the slash it is a name like any other
        ("/v1/models/a..b", "/v1/models/a..b"),
        (" /v1/models ", "/v1/models"),
    ],
)
def test_a_path_goes_onto_the_wire_percent_encoded(path: str, target: str) -> None:
    assert read_job({"path": path}).target == target


def test_headers_of_one_hop_and_our_own_are_left_out() -> None:
    headers = {
        "X-Request-ID": "7",
        "X-Number": 5,
        "X-Null": None,
        "Host": "evil.example",
        "Content-Length": "9",
        "content-type": "text/plain",
        "Transfer-Encoding": "chunked",
        "Connection": "close, X-Hop",
        "X-Hop": "1",
        "X-Forwarded-Host": "evil.example",
    }
    assert read_job({"path": "/x", "headers": headers}).headers == (("X-Request-ID", "7"), ("X-Number", "5"))


@pytest.mark.parametrize(
    "more",
    [
        {"headers": {"authorization": "Bearer x"}},
        {"headers": {"X-API-Key": "x"}},
        {"headers": {"api-key": "x"}},
        {"query_params": {"api_key": "x"}},
        {"path": "/x?a=b&api_key=x"},
    ],
)
def test_a_job_may_carry_its_own_key(more: dict[str, Any]) -> None:
    assert read_job({"path": "/x"} | more).carries_key()


def test_a_job_without_a_key_carries_none() -> None:
    assert not read_job({"path": "/x?no_api_key=1", "headers": {"X-Authorization": "x"}}).carries_key()


def test_form_fields_are_written_as_openais_sdk_writes_them() -> None:
    body = {
        "model": "m",
        "temperature": 0.5,
        "diarize": True,
        "language": None,
        "timestamp_granularities": ["word", "segment"],
        "include[]": ["logprobs"],
        "chunking_strategy": {"type": "server_vad", "threshold": 0.5, "deep": {"x": False}},
        "empty": "",
    }
    assert form_fields(body) == [
        ("model", "m"),
        ("temperature", "0.5"),
        ("diarize", "true"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("include[]", "logprobs"),
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.5"),
        ("chunking_strategy[deep][x]", "false"),
        ("empty", ""),
    ]


def test_the_rest_calls_of_the_realtime_api_are_ordinary_requests() -> None:
    assert read_job({"path": "/v1/realtime/client_secrets", "method": "POST"}).target == "/v1/realtime/client_secrets"


BAD = [
    ("not an object", "hello", "input", "object"),
    ("a list", [1], "input", "a list"),
    ("a number", 5, "input", "a number"),
    ("nothing", None, "input", "null"),
    ("no path", {}, "path", "/v1/audio/speech"),
    ("no path but a body", {"body": SPEECH}, "path", "/v1/audio/speech"),
    ("an empty path", {"path": "  "}, "path", "empty"),
    ("a path of another type", {"path": 5}, "path", "a number"),
    ("a path without a slash", {"path": "v1/models"}, "path", "single '/'"),
    ("userinfo instead of a path", {"path": "@10.0.0.1/"}, "path", "host"),
    ("a URL", {"path": "http://10.0.0.1/"}, "path", "host"),
    ("a URL in capitals", {"path": "HTTP://10.0.0.1/"}, "path", "host"),
    ("a host", {"path": "//10.0.0.1/"}, "path", "host"),
    ("a host, encoded", {"path": "/%2F10.0.0.1/"}, "path", "host"),
    ("a host with backslashes", {"path": "/\\10.0.0.1/"}, "path", "host"),
    ("a host as route", {"openai_route": "//10.0.0.1/"}, "path", "host"),
    ("a port", {"path": ":80/"}, "path", "host"),
    ("a line break", {"path": "/v1/models\r\nX: y"}, "path", "control"),
    ("an encoded line break", {"path": "/v1/models%0d%0aX:%20y"}, "path", "control"),
    ("an encoded zero", {"path": "/v1/models%00"}, "path", "control"),
    ("a line break in the query", {"path": "/v1/models?a=\nb"}, "path", "control"),
    ("dots", {"path": "/v1/../admin"}, "path", "'..'"),
    ("encoded dots", {"path": "/v1/%2e%2e/admin"}, "path", "'..'"),
    ("a very long path", {"path": "/" + "a" * 9_000}, "path", "longer"),
    ("an unknown method", {"path": "/x", "method": "BREW"}, "method", "POST"),
    ("a method that smuggles", {"path": "/x", "method": "GET / HTTP/1.1\r\nX: y"}, "method", "POST"),
    ("CONNECT", {"path": "/x", "method": "CONNECT"}, "method", "POST"),
    ("a method of another type", {"path": "/x", "method": 7}, "method", "POST"),
    ("a body with GET", {"path": "/x", "method": "GET", "body": {"a": 1}}, "method", "query_params"),
    ("a file with GET", {"path": "/x", "method": "GET", "file_base64": "AAAA"}, "method", "POST"),
    ("a text as body", {"path": "/x", "body": "{}"}, "body", "object"),
    ("a list as body", {"path": "/x", "body": []}, "body", "a list"),
    ("a text as openai_input", {"openai_route": "/x", "openai_input": "{}"}, "openai_input", "object"),
    ("a list as headers", {"path": "/x", "headers": []}, "headers", "object"),
    ("a header name with a line break", {"path": "/x", "headers": {"X\r\nY": "z"}}, "headers", "name"),
    ("a header name with a colon", {"path": "/x", "headers": {"X:Y": "z"}}, "headers", "name"),
    ("a header name with a space", {"path": "/x", "headers": {"Transfer-Encoding ": "chunked"}}, "headers", "name"),
    ("an empty header name", {"path": "/x", "headers": {"": "z"}}, "headers", "name"),
    ("a header value with CRLF", {"path": "/x", "headers": {"X": "a\r\nContent-Length: 0"}}, "headers", "one line"),
    ("a header value with LF", {"path": "/x", "headers": {"X": "a\nb"}}, "headers", "one line"),
    ("a header value with a zero", {"path": "/x", "headers": {"X": "a\0b"}}, "headers", "one line"),
    ("a header that is dropped but smuggles", {"path": "/x", "headers": {"Host": "a\r\nb"}}, "headers", "one line"),
    ("a header value that is an object", {"path": "/x", "headers": {"X": {}}}, "headers", "one line"),
    ("very long headers", {"path": "/x", "headers": {"X": "a" * 40_000}}, "headers", "longer"),
    (
        "a WebSocket upgrade",
        {"path": "/v1/audio/transcriptions", "headers": {"Upgrade": "websocket"}},
        "path",
        "load-balancing",
    ),
    ("the Realtime API", {"path": "/v1/realtime?model=x"}, "path", "load-balancing"),
    ("the Realtime API, encoded", {"path": "/v1/%72ealtime/"}, "path", "load-balancing"),
    ("the Realtime API as route", {"openai_route": "/realtime"}, "path", "load-balancing"),
    ("query_params as text", {"path": "/x", "query_params": "a=b"}, "query_params", "object"),
    ("nested query_params", {"path": "/x", "query_params": {"a": {"b": 1}}}, "query_params", "plain"),
    ("two files", {"path": "/x", "file_url": "https://a.example/", "file_base64": "AAAA"}, "file_url", "one of them"),
    ("a file_url of another type", {"path": "/x", "file_url": ["https://a.example/"]}, "file_url", "a list"),
    ("an empty file_base64", {"path": "/x", "file_base64": ""}, "file_base64", "empty"),
    ("a data URL without base64", {"path": "/x", "file_base64": "data:audio/wav,RIFF"}, "file_base64", "data URL"),
    ("a file_name of another type", {"path": "/x", "file_base64": "AAAA", "file_name": 3}, "file_name", "a number"),
]


@pytest.mark.parametrize(("job_input", "param", "word"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_a_400_that_says_what_is_wrong(job_input: Any, param: str, word: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_job(job_input)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert word in caught.value.message
    assert len(caught.value.message) < 500

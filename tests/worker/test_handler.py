"""A job through the whole worker, on a fake server in the same process."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import random
import threading
from typing import Any

import pytest
from pydantic import SecretStr

from speaches.worker.handler import Worker, job_seconds
from speaches.worker.results import size_of

from . import fake_server
from .fake_server import DONE, LEFT, RUNNING, WAV
from .helpers import eventually_async, free_port, open_files, run, serving, settings, work_on, worker_on_fake_server

SPEECH = {"path": "/v1/audio/speech", "body": {"model": "m", "input": "Hello", "voice": "v"}}


def echoed(job_input: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What the server saw of a job."""
    seen: dict[str, Any] = run(work_on(job_input, **changes))
    assert "error" not in seen, seen
    return seen


def headers_of(seen: dict[str, Any]) -> dict[str, str]:
    names = [name.lower() for name, _ in seen["headers"]]
    assert len(names) == len(set(names))
    return {name.lower(): value for name, value in seen["headers"]}


def test_speech_comes_back_as_wav_in_base64() -> None:
    output = run(work_on(SPEECH))
    assert output["status"] == "success"
    assert output["content_type"] == "audio/wav"
    assert base64.b64decode(output["audio_content"]) == WAV


def test_a_request_arrives_as_the_job_says() -> None:
    seen = echoed(
        {
            "method": "PATCH",
            "path": "/v1/x%2Fy?a=b",
            "query_params": {"c": "ü"},
            "body": {"ß": 1},
            "headers": {"X-A": "ü"},
        }
    )
    assert (seen["method"], seen["target"], seen["body"]) == ("PATCH", "/v1/x%2Fy?a=b&c=%C3%BC", {"ß": 1})
    headers = headers_of(seen)
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "job-1"
    assert headers["host"].startswith("127.0.0.1:")


def test_a_get_has_no_body() -> None:
    headers = headers_of(echoed({"path": "/v1/models"}))
    assert "content-type" not in headers
    assert "transfer-encoding" not in headers


def test_a_job_that_brings_no_key_is_given_the_servers() -> None:
    key = SecretStr("secret")
    assert headers_of(echoed({"path": "/x"}, api_key=key))["authorization"] == "Bearer secret"
    assert "authorization" not in headers_of(echoed({"path": "/x"}))
    assert "authorization" not in headers_of(echoed({"path": "/x", "headers": {"X-API-Key": "own"}}, api_key=key))
    assert "authorization" not in headers_of(echoed({"path": "/x", "query_params": {"api_key": "own"}}, api_key=key))
    assert (
        headers_of(echoed({"path": "/x", "headers": {"Authorization": "Bearer own"}}, api_key=key))["authorization"]
        == "Bearer own"
    )


def test_a_strange_job_id_is_no_header() -> None:
    assert "x-request-id" not in headers_of(run(work_on({"path": "/x"}, job={"id": "a\r\nb"})))
    assert headers_of(echoed({"path": "/x", "headers": {"X-Request-ID": "own"}}))["x-request-id"] == "own"


def test_a_file_arrives_as_a_form() -> None:
    content = random.Random(0).randbytes(3_000_000)
    job = {
        "path": "/v1/audio/transcriptions",
        "file_base64": base64.b64encode(content).decode(),
        "file_name": "tälk.wav",
        "body": {"model": "m", "timestamp_granularities": ["word", "segment"], "temperature": None},
    }
    assert echoed(job)["form"] == [
        ["model", "m"],
        ["timestamp_granularities[]", "word"],
        ["timestamp_granularities[]", "segment"],
        ["file", "tälk.wav", "audio/x-wav", len(content), content[:20].hex()],
    ]


def test_a_file_behind_a_url_arrives_too_and_is_gone_afterwards() -> None:
    async def fetch() -> Any:
        async with worker_on_fake_server(allow_private_urls=True) as (worker, _), serving(fake_server.app()) as files:
            url = f"{files}/bytes?size=2500000&type=audio/flac"
            seen = await worker.handle({"id": "j", "input": {"path": "/v1/audio/translations", "file_url": url}})
            return seen, open_files()

    before = open_files()
    seen, after = run(fetch())
    assert seen["form"] == [["file", "bytes", "audio/flac", 2_500_000, "00" * 20]]
    assert after <= before


def test_a_busy_server_is_asked_again_also_with_a_file() -> None:
    job = {"path": "/busy", "query_params": {"times": 3}, "file_base64": base64.b64encode(bytes(100_000)).decode()}
    assert run(work_on(job)) == {"attempts": 4, "file": 100_000}


@pytest.mark.parametrize(
    "query", [{"times": 99, "after": "3600"}, {"times": 99, "after": ""}, {"times": 99, "after": "soon"}]
)
def test_a_server_that_stays_busy_is_a_429(query: dict[str, Any]) -> None:
    output = run(work_on({"path": "/busy", "query_params": query}))
    assert (output["status_code"], output["error"], output["detail"]["code"]) == (
        429,
        "Too many requests at once.",
        "rate_limit_exceeded",
    )


def test_a_job_that_says_how_long_it_may_take_waits_no_longer() -> None:
    job = {"policy": {"executionTimeout": 5_000}}
    output = run(work_on({"path": "/busy", "query_params": {"times": 1, "after": "6"}}, job=job))
    assert output["status_code"] == 429
    assert job_seconds(job) == 5.0
    assert job_seconds({"policy": {"executionTimeout": "x"}}) == job_seconds({}) == 60.0


@pytest.mark.parametrize(
    ("query", "output"),
    [
        ({"type": "application/json", "text": '{"a": NaN}'}, {"a": None}),
        ({"type": "text/vtt", "text": "WEBVTT"}, {"text": "WEBVTT"}),
        (
            {"type": "application/zip", "text": "PK"},
            {"status": "success", "content_type": "application/zip", "data": "UEs="},
        ),
        ({"status": 204}, {"status": "success"}),
        ({"type": "application/json"}, {"status": "success"}),
    ],
)
def test_each_kind_of_answer_has_its_output(query: dict[str, Any], output: dict[str, Any]) -> None:
    assert run(work_on({"path": "/text", "query_params": query})) == output


def test_head_has_no_body_whatever_it_announces() -> None:
    assert run(work_on({"method": "HEAD", "path": "/bytes?size=99999999"})) == {"status": "success"}


BAD = [
    ("input that is no object", "hello", 400, "object"),
    ("no path", {"body": {}}, 400, "no path"),
    ("userinfo as path", {"path": "@10.0.0.1/"}, 400, "single '/'"),
    ("a URL as path", {"path": "http://10.0.0.1/"}, 400, "single '/'"),
    ("a host as path", {"path": "//10.0.0.1/"}, 400, "single '/'"),
    ("header smuggling", {"path": "/x", "headers": {"X": "a\r\nHost: b"}}, 400, "one line"),
    ("the Realtime API", {"path": "/v1/realtime"}, 400, "load-balancing"),
    ("base64 that is none", {"path": "/x", "file_base64": "!"}, 400, "base64"),
    ("base64 that is too much", {"path": "/x", "file_base64": "A" * 40_000}, 413, "MAX_UPLOAD_BYTES"),
    ("a file on loopback", {"path": "/x", "file_url": "http://127.0.0.1/"}, 400, "public internet"),
    ("a file on IPv6 loopback", {"path": "/x", "file_url": "http://[::1]/"}, 400, "public internet"),
    ("the metadata service", {"path": "/x", "file_url": "http://169.254.169.254/"}, 400, "public internet"),
    ("a local file", {"path": "/x", "file_url": "file:///etc/passwd"}, 400, "https://"),
    ("a number that JSON has not", {"path": "/x", "body": {"a": float("nan")}}, 400, "not finite"),
    ("an error of the server", {"path": "/text?status=404&text=x"}, 404, "404 Not Found"),
    ("a server that breaks off", {"path": "/half"}, 502, "speech server"),
    ("JSON that is none", {"path": "/text?type=application/json&text={"}, 502, "JSON"),
]


@pytest.mark.parametrize(("job_input", "status", "word"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_an_error_and_the_next_job_works(job_input: Any, status: int, word: str) -> None:
    files, threads = open_files(), set(threading.enumerate())

    async def two_jobs() -> tuple[Any, Any]:
        async with worker_on_fake_server(max_upload_bytes=20_000) as (worker, _):
            return await worker.handle({"id": "bad", "input": job_input}), await worker.handle(
                {"id": "good", "input": SPEECH}
            )

    bad, good = run(two_jobs())
    assert (bad["status_code"], word in bad["error"]) == (status, True), bad
    assert bad.keys() == {"error", "status_code", "detail"}
    assert bad["detail"]["message"] == bad["error"]
    assert json.loads(json.dumps(bad, allow_nan=False)) == bad
    assert good["status"] == "success"
    assert open_files() <= files
    assert set(threading.enumerate()) <= threads


def test_a_server_that_is_not_there_is_a_502() -> None:
    async def send() -> Any:
        return await Worker(settings(), f"http://127.0.0.1:{free_port()}").handle({"id": "j", "input": {"path": "/x"}})

    output = run(send())
    assert (output["status_code"], "can't be reached" in output["error"]) == (502, True)


def test_a_bug_is_a_500_without_a_traceback(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fails(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("what is inside")

    monkeypatch.setattr("speaches.worker.results.to_output", fails)
    output = run(work_on(SPEECH))
    assert output["status_code"] == 500
    assert "job-1" in output["error"]
    assert "inside" not in json.dumps(output)
    assert "what is inside" in caplog.text


def test_a_result_that_is_too_large_is_an_error_that_says_so() -> None:
    limit: dict[str, Any] = {"worker_max_result_bytes": 1_000_000}
    for query in ("size=800000&type=audio/wav", "size=99000000&type=audio/wav"):
        output = run(work_on({"path": f"/bytes?{query}"}, **limit))
        assert (output["status_code"], output["detail"]["code"]) == (413, "result_too_large")
        assert "mp3 or opus" in output["error"]
    fits = run(work_on({"path": "/bytes?size=740000&type=audio/wav"}, **limit))
    assert 980_000 < size_of(fits) < 1_000_000


def test_an_answer_without_end_is_cut_off() -> None:
    async def endless() -> tuple[Any, Any]:
        async with worker_on_fake_server(worker_max_result_bytes=1_000_000) as (worker, server):
            output = await worker.handle({"id": "j", "input": {"path": "/endless?name=e"}})
            return output, await eventually_async(lambda: server[LEFT])

    output, left = run(endless())
    assert (output["status_code"], left) == (413, ["e"])


def test_text_that_grows_in_json_is_measured_as_it_is_sent() -> None:
    body = "\u00fc" * 400  # two bytes each in UTF-8, which is how the SDK sends it
    assert run(
        work_on({"path": "/text", "query_params": {"type": "text/plain", "text": body}}, worker_max_result_bytes=900)
    ) == {"text": body}
    quotes = run(
        work_on(
            {"path": "/text", "query_params": {"type": "text/plain", "text": '"' * 600}}, worker_max_result_bytes=900
        )
    )
    assert quotes["status_code"] == 413


def test_a_cancelled_job_closes_its_request() -> None:
    async def cancel() -> list[str]:
        async with worker_on_fake_server() as (worker, server):
            job = {"id": "j", "input": {"path": "/slow?name=cancelled", "file_base64": "AAAA"}}
            task = asyncio.ensure_future(worker.handle(job))
            await eventually_async(lambda: _requests(server))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            left: list[str] = await eventually_async(lambda: server[LEFT])
            return left

    assert run(cancel()) == ["cancelled"]


def test_jobs_run_side_by_side_as_many_as_allowed() -> None:
    async def overlap() -> tuple[list[Any], int]:
        async with worker_on_fake_server(worker_concurrency=4) as (worker, server):
            jobs = [{"id": f"j{n}", "input": {"path": f"/slow?name={n}"}} for n in range(8)]
            working = asyncio.gather(*map(worker.handle, jobs))
            await eventually_async(lambda: _requests(server) == 4)
            server[DONE].set()
            return await working, server[RUNNING][1]

    outputs, most = run(overlap())
    assert [output["done"] for output in outputs] == [str(n) for n in range(8)]
    assert most == 4


def test_a_worker_may_be_used_from_several_event_loops() -> None:
    async def start() -> Any:
        return await work_on(SPEECH)

    assert [run(start())["status"] for _ in range(3)] == ["success"] * 3
    gc.collect()  # a client that was not closed would warn here, and warnings are errors


def _requests(server: Any) -> int:
    """How many slow requests the fake works on."""
    return int(server[RUNNING][0])

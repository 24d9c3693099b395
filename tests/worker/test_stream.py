"""WORKER_STREAM: events on their way into Runpod's /stream."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from speaches.worker import stream
from speaches.worker.results import size_of
from speaches.worker.stream import FLUSH_SECONDS, MAX_PIECE, EventParser, Gatherer, error_in, pieces

from .fake_server import LEFT, WAV
from .helpers import DEADLINE, eventually_async, run, worker_on_fake_server

DELTAS = [{"type": "transcript.text.delta", "delta": text} for text in ("Grüße ", "aus ", "😀")]


def as_events(events: list[Any], end: str = "\n\n") -> bytes:
    return "".join(f"data: {json.dumps(event, ensure_ascii=False)}{end}" for event in events).encode()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_events_are_read_however_the_bytes_are_cut(size: int, end: str) -> None:
    parser, sent = EventParser(), as_events(DELTAS, end)
    found = [event for start in range(0, len(sent), size) for event in parser.feed(sent[start : start + size])]
    assert found + parser.feed(b"", end=True) == DELTAS


def test_comments_names_and_the_end_mark_are_no_events() -> None:
    parser = EventParser()
    assert parser.feed(b': ping\n\nevent: x\nid: 1\ndata: {"a":\ndata:1}\n\ndata: [DONE]\n\n') == [{"a": 1}]
    assert parser.feed(b"data: hello\n\n") == [{"type": "message", "data": "hello"}]
    assert parser.feed(b'data: {"last": 1}') == []
    assert parser.feed(b"", end=True) == [{"last": 1}]


def test_events_wait_for_company_but_not_for_long() -> None:
    gatherer = Gatherer()
    assert gatherer.wait(0.0) is None
    gatherer.add(DELTAS[0], 10.0)
    gatherer.add(DELTAS[1], 10.1)
    assert gatherer.wait(10.1) == pytest.approx(FLUSH_SECONDS - 0.1)
    assert gatherer.wait(11.0) == 0.0
    assert gatherer.take() == [{"seq": 0, "events": DELTAS[:2]}]
    assert (gatherer.wait(11.0), gatherer.take()) == (None, [])
    gatherer.add(DELTAS[2], 12.0)
    assert gatherer.take() == [{"seq": 1, "events": DELTAS[2:]}]


def test_much_is_sent_at_once() -> None:
    gatherer = Gatherer()
    gatherer.add({"text": "x" * 300_000}, 0.0)
    assert gatherer.wait(0.0) == 0.0


def test_the_audio_of_several_events_is_joined() -> None:
    gatherer, audio = Gatherer(), bytes(range(256)) * 4_000
    for start in range(0, len(audio), 1_000):
        encoded = base64.b64encode(audio[start : start + 1_000]).decode()
        gatherer.add({"type": "speech.audio.delta", "audio": encoded}, 0.0)
    gatherer.add({"type": "speech.audio.done", "usage": {}}, 0.0)
    *spoken, last = gatherer.take()
    assert b"".join(base64.b64decode(piece["audio_b64"]) for piece in spoken) == audio
    assert last == {"seq": len(spoken), "events": [{"type": "speech.audio.done", "usage": {}}]}
    assert max(map(size_of, spoken)) <= MAX_PIECE


def test_no_piece_is_larger_than_runpod_takes() -> None:
    gatherer = Gatherer()
    for number in range(40):
        gatherer.add({"n": number, "text": "ü" * 20_000}, 0.0)
    found = gatherer.take()
    assert [event["n"] for piece in found for event in piece["events"]] == list(range(40))
    assert max(map(size_of, found)) <= MAX_PIECE


def test_a_broken_delta_is_passed_on_as_it_is() -> None:
    gatherer = Gatherer()
    gatherer.add({"type": "speech.audio.delta", "audio": "!"}, 0.0)
    assert gatherer.take() == [{"seq": 0, "events": [{"type": "speech.audio.delta", "audio": "!"}]}]


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "error", "error": {"message": "m"}}, {"message": "m"}),
        ({"error": {"message": "m"}}, {"message": "m"}),
        ({"type": "response.done", "error": {"message": "m"}}, None),
        ({"error": None}, None),
        ("error", None),
    ],
)
def test_an_error_is_recognised(event: Any, error: Any) -> None:
    assert error_in(event) == error


def test_leaving_early_closes_what_is_read_from() -> None:
    closed = []

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield as_events(DELTAS * 10_000)
        finally:
            closed.append(True)

    async def leave() -> None:
        source = chunks()
        async with aclosing(pieces(source)) as found:
            async for _ in found:
                break
        await source.aclose()  # type: ignore[attr-defined]

    run(leave())
    assert closed == [True]


async def parts_of(job_input: dict[str, Any], **changes: Any) -> list[Any]:
    """All that a streaming worker yields for a job."""
    async with worker_on_fake_server(worker_stream=True, **changes) as (worker, _):
        return [part async for part in worker.stream({"id": "j", "input": job_input})]


def test_a_stream_comes_in_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FLUSH_SECONDS", DEADLINE)
    parts = run(parts_of({"path": "/events", "body": {"stream": True, "events": DELTAS * 100}}))
    assert [event for part in parts for event in part["events"]] == DELTAS * 100
    assert [part["seq"] for part in parts] == list(range(len(parts)))
    assert len(parts) < 10


def test_the_first_piece_does_not_wait_for_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FLUSH_SECONDS", 0.01)

    async def first() -> tuple[Any, list[str]]:
        async with worker_on_fake_server() as (worker, server):
            job = {
                "id": "j",
                "input": {"path": "/events", "body": {"stream": True, "events": DELTAS[:1], "then": "hang"}},
            }
            async with aclosing(worker.stream(job)) as parts:
                part = await anext(parts)
            return part, await eventually_async(lambda: server[LEFT])  # closing early closed the request

    assert run(first()) == ({"seq": 0, "events": DELTAS[:1]}, ["events"])


def test_an_answer_that_is_no_stream_is_one_part() -> None:
    speech = {"path": "/v1/audio/speech", "body": {"model": "m", "input": "Hello", "voice": "v"}}
    encoded = base64.b64encode(WAV).decode()
    assert run(parts_of(speech)) == [{"status": "success", "content_type": "audio/wav", "audio_content": encoded}]
    assert run(parts_of({"path": "/busy?times=2"})) == [{"attempts": 3, "file": None}]


@pytest.mark.parametrize(
    ("job_input", "status", "word"),
    [
        ({"path": "/text?status=404&text=x"}, 404, "404"),
        ({"path": "//x"}, 400, "single '/'"),
        (
            {"path": "/events", "body": {"events": [{"type": "error", "error": {"message": "Out of memory."}}]}},
            502,
            "Out of memory.",
        ),
        ({"path": "/half"}, 502, "speech server"),
    ],
)
def test_an_error_is_the_last_part_and_a_sentence(job_input: dict[str, Any], status: int, word: str) -> None:
    (part,) = run(parts_of(job_input))
    assert (part["status_code"], word in part["error"]) == (status, True)


def test_an_error_in_mid_stream_comes_after_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "FLUSH_SECONDS", DEADLINE)
    events = [*DELTAS, {"error": {"message": "Lost.", "code": "x"}}, *DELTAS]
    first, last = run(parts_of({"path": "/events", "body": {"events": events}}))
    assert first == {"seq": 0, "events": DELTAS}
    assert (last["error"], last["detail"]["code"]) == ("Lost.", "x")


def test_more_than_the_whole_output_may_hold_is_an_error() -> None:
    events = [{"text": "x" * 1_000}] * 200
    parts = run(
        parts_of({"path": "/events", "body": {"events": events, "pause": 0.001}}, worker_max_result_bytes=100_000)
    )
    assert parts[-1]["detail"]["code"] == "result_too_large"
    assert sum(map(size_of, parts[:-1])) <= 100_000

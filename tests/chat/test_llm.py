"""The client of the LLM against a small LLM on loopback: as LLMs are, on good days and bad."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from speaches.chat import llm as llm_client
from speaches.chat.answers import Delta, LlmError
from speaches.chat.llm import Llm, base_url
from speaches.concurrency import Threads
from speaches.errors import BadGateway, InvalidRequest, SpeachesError, TimedOut, Unavailable
from speaches.settings import Settings
from tests.chat.llm import DEATH, DONE, RESET, USAGE, SmallLlm, Step, chunk, event, finish, listening, usage
from tests.fakes import PATIENCE

ASKED = {"messages": [{"role": "user", "content": "Hi"}]}


@asynccontextmanager
async def client(small: SmallLlm | None, **settings: Any) -> AsyncIterator[Llm]:
    """A client of the small LLM."""
    threads = Threads(1, "json")
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(listening(small)) if small else None
        llm = Llm(Settings(**{"chat_completion_base_url": url, **settings}), threads)
        stack.push_async_callback(llm.close)
        stack.callback(threads.close)
        yield llm


async def deltas(llm: Llm, **more: Any) -> list[Delta]:
    return [delta async for delta in llm.stream({**ASKED, **more})]


async def text_of(script: Sequence[Step]) -> str:
    async with client(SmallLlm(script=script)) as llm:
        return "".join(delta.text for delta in await deltas(llm))


async def test_the_request_is_the_one_that_was_given_and_streams() -> None:
    small = SmallLlm(script=["Hello", " world.", finish(), usage(), DONE])
    async with client(small, chat_completion_api_key="sk-llm") as llm:
        found = await deltas(llm, temperature=0.5)
    assert [delta.text for delta in found] == ["Hello", " world.", "", ""]
    assert (found[2].finish_reason, found[3].usage) == ("stop", USAGE)
    assert small.asked == [{**ASKED, "temperature": 0.5, "stream": True}]
    assert small.keys == ["Bearer sk-llm"]


async def test_deltas_come_as_they_are_written() -> None:
    gate = asyncio.Event()
    async with (
        client(SmallLlm(script=["Hello", gate, " world.", finish(), DONE])) as llm,
        aclosing(llm.stream(ASKED)) as answer,
    ):
        assert (await anext(answer)).text == "Hello"
        gate.set()
        assert (await anext(answer)).text == " world."


@pytest.mark.parametrize(
    "script",
    [
        ["Hello world.", finish(), DONE],
        ["Hello world.", finish()],  # no [DONE]
        ["Hello world.", DONE],  # no reason to finish
        ["Hello world.", finish(), event({"choices": []})[:-2]],  # no blank line at the end
        [chunk({"content": "Hello world."}, "stop"), DONE],
        [b": keep-alive\n\n", b"\n\n", "Hello", b": ping\r\n\r\n", " world.", finish(), DONE],
        [event(chunk({"content": "Hello world."})).replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"],
        [event(chunk({"content": "Hello world."}, "stop")).replace(b": ", b":", 1).replace(b"\n", b"\r")],
        [b"event: message\nid: 5\nretry: 1\n", "Hello world.", finish(), DONE],
        ["Hello world.", finish(), DONE, b"data: rubbish after the end\n\n"],
        ["Hello world.", finish(), DEATH],  # nothing is lost
        ["Hello world.", finish(), b"data: rubbish\n\n"],
        [event(chunk({"content": "Hello world."}))[:20], event(chunk({"content": "Hello world."}))[20:], finish()],
    ],
)  # fmt: skip
async def test_servers_differ_and_mean_the_same(script: Sequence[Step]) -> None:
    assert await text_of(script) == "Hello world."


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
async def test_an_llm_that_can_not_stream_is_understood(content_type: str) -> None:
    message = {"role": "assistant", "content": "Hello world."}
    raw = json.dumps({"choices": [{"index": 0, "message": message}], "usage": USAGE}).encode()
    async with client(SmallLlm(raw=raw, content_type=content_type)) as llm:
        assert await deltas(llm) == [Delta("Hello world.", finish_reason="stop", usage=USAGE)]


async def test_a_compressed_answer_is_read() -> None:
    raw = gzip.compress(event(chunk({"content": "Hello world."}, "stop")))
    async with client(SmallLlm(raw=raw, headers={"content-encoding": "gzip"})) as llm:
        assert [delta.text for delta in await deltas(llm)] == ["Hello world."]


# --- Bad days ---


@pytest.mark.parametrize(
    ("script", "kind", "word"),
    [
        (["So", DEATH], BadGateway, "broke off"),
        (["So", RESET], BadGateway, "broke off"),
        (["So"], BadGateway, "broke off"),
        ([], BadGateway, "broke off"),
        ([b"<html>Welcome to nginx!</html>"], BadGateway, "broke off"),
        (["So", b"data: {rubbish\n\n"], BadGateway, "not JSON"),
        (["So", b"data: 5\n\n"], BadGateway, "not a JSON object"),
        (["So", {"error": {"message": "Out of memory.", "code": 500}}], LlmError, "Out of memory."),
        ([b"event: error\n", {"error": "Overloaded."}], LlmError, "Overloaded."),
        ([b"data: " + b"x" * 5_000_000], BadGateway, "more than"),
    ],
)
async def test_a_stream_that_breaks_off_says_so(script: Sequence[Step], kind: type[SpeachesError], word: str) -> None:
    async with client(SmallLlm(script=script)) as llm:
        answer = llm.stream(ASKED)
        if script and script[0] == "So":
            assert (await anext(answer)).text == "So"
        with pytest.raises(kind, match=word):
            await anext(answer)


@pytest.mark.parametrize(
    ("small", "kind", "status", "word"),
    [
        (SmallLlm(status=429, headers={"retry-after": "3"}), LlmError, 429, "Slow down."),
        (SmallLlm(status=401), LlmError, 401, "Slow down."),
        (SmallLlm(raw=b"<html>Welcome!</html>", content_type="text/html"), BadGateway, 502, "CHAT_COMPLETION_BASE_URL"),
        (SmallLlm(raw=b"{", content_type="application/json"), BadGateway, 502, "not JSON"),
        (SmallLlm(raw=b"[]", content_type="application/json"), BadGateway, 502, "not a JSON object"),
        (SmallLlm(raw=b"", status=999), LlmError, 502, "999"),
        (SmallLlm(raw=b"{}", content_type="application/json", headers={"content-encoding": "gzip"}), BadGateway, 502, "decoded"),
        (SmallLlm(raw=b'{"error": {"message": "No."}}', content_type="application/json"), LlmError, 502, "No."),
        (SmallLlm(raw=b"", status=307, headers={"location": "/elsewhere"}), BadGateway, 502, "307"),
        (SmallLlm(raw=b"oh no", status=500), LlmError, 500, "oh no"),
        (SmallLlm(raw=b'{"detail": "x"}', status=422, content_type="application/json"), LlmError, 422, "422"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streams", [True, False])
async def test_a_refusal_is_told(
    small: SmallLlm, kind: type[SpeachesError], status: int, word: str, streams: bool
) -> None:
    async with client(small) as llm:
        with pytest.raises(kind, match=word) as caught:
            await (deltas(llm) if streams else llm.complete(ASKED))
    assert caught.value.status == status
    assert caught.value.retry_after == (3.0 if small.headers.get("retry-after") else None)


@pytest.mark.parametrize("answer", [{"choices": []}, {"choices": None}, {"choices": {}}, {"id": "chatcmpl-1"}])
async def test_an_answer_without_a_choice_is_none(answer: dict[str, Any]) -> None:
    async with client(SmallLlm(raw=json.dumps(answer).encode(), content_type="application/json")) as llm:
        with pytest.raises(BadGateway, match="no choices"):
            await llm.complete(ASKED)


@pytest.mark.parametrize("streams", [True, False])
async def test_the_key_is_not_told_to_those_who_ask_us(streams: bool) -> None:
    small = SmallLlm(status=401, error={"message": "Incorrect API key: Bearer sk-llm!"})
    async with client(small, chat_completion_api_key="sk-llm") as llm:
        with pytest.raises(LlmError, match=r"CHAT_COMPLETION_API_KEY.*Incorrect API key: Bearer \*\*\*!") as caught:
            await (deltas(llm) if streams else llm.complete(ASKED))
    assert caught.value.status == 401 and "sk-llm" not in str(caught.value.as_openai())


@pytest.mark.parametrize(
    ("raw", "content_type", "streams", "told"),
    [
        (b'{"choices": []}', "application/json", False, ("application/json", b'{"choices": []}')),
        (b'{"choices": []}', "application/json; charset=utf-8", True, ("application/json; charset=utf-8", b'{"choices": []}')),
        (DONE, "text/event-stream; charset=utf-8", True, ("text/event-stream", b"")),
        (DONE, "Text/Event-Stream", False, ("text/event-stream", b"")),
        (DONE, "text/plain", True, ("text/event-stream", b"")),
        (b"<html>Welcome!</html>", "text/html", True, BadGateway("not JSON")),
        (b"<html>Welcome!</html>", "text/html", False, BadGateway("not JSON")),
        (b"", "application/json", False, BadGateway("not JSON")),
        (b'{"error": {"message": "Loading.", "code": 503}}', "application/json", False, BadGateway("Loading.")),
    ],
)  # fmt: skip
async def test_what_passes_through_is_an_answer(
    raw: bytes, content_type: str, streams: bool, told: tuple[str, bytes] | Exception
) -> None:
    async with client(SmallLlm(raw=raw, content_type=content_type)) as llm:
        answer = llm.passed_through({**ASKED, "stream": streams})
        async with aclosing(answer):
            if isinstance(told, Exception):
                with pytest.raises(SpeachesError, match=str(told)):
                    await anext(answer)
            else:
                assert await anext(answer) == told
                assert [data async for _, data in answer] == ([] if told[1] else [raw])


async def test_an_llm_that_says_nothing_times_out_before_the_answer_and_within_it() -> None:
    scripts: list[list[Step]] = [[asyncio.Event()], ["So", asyncio.Event()]]
    for script in scripts:
        small = SmallLlm(script=script)
        async with client(small, chat_completion_timeout=0.5) as llm:
            with pytest.raises(TimedOut, match="CHAT_COMPLETION_TIMEOUT"):
                await deltas(llm)
            await small.left.wait()


async def test_where_nobody_listens_is_said() -> None:
    async with client(None, chat_completion_base_url="http://127.0.0.1:9") as llm:
        with pytest.raises(BadGateway, match="can't be reached"):
            await deltas(llm)


async def test_without_an_llm_the_settings_to_set_are_named() -> None:
    async with client(None, chat_completion_base_url=None) as llm:
        with pytest.raises(Unavailable, match="CHAT_COMPLETION_BASE_URL") as caught:
            await deltas(llm)
    assert (caught.value.status, caught.value.code) == (503, "llm_not_configured")


async def test_half_characters_go_through_and_endless_nesting_does_not() -> None:
    small = SmallLlm(script=["Hi.", finish(), DONE])
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    async with client(small) as llm:
        await deltas(llm, user="\ud83d")
        with pytest.raises(InvalidRequest, match="deep"):
            await deltas(llm, user=deep)
    assert small.asked[0]["user"] == "\ud83d"


# --- Connections ---


async def test_one_connection_serves_one_answer_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llm_client, "AFTERWARDS", PATIENCE)
    small = SmallLlm(script=["Hi.", finish(), DONE])
    async with client(small) as llm:
        for _ in range(3):
            await deltas(llm)
        await llm.complete(ASKED)
    assert len(small.ports) == 4
    assert len(set(small.ports)) == 1


@asynccontextmanager
async def closing_after_one(script: Sequence[bytes], at_once: int = 1) -> AsyncIterator[tuple[str, list[int]]]:
    """A server with keep-alive that closes each connection when it is used again, or at once where it has no more to say: its address, and
    how many requests each connection brought. It answers when it has so many connections `at_once`."""
    left, asked, enough = list(script), list[int](), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = len(asked)
        asked.append(0)
        if len(asked) == at_once:
            enough.set()
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
                asked[connection] += 1
                if asked[connection] > 1 or not left:
                    break
                body = left.pop(0)
                await enough.wait()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                    + body
                )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


async def test_a_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async with (
        closing_after_one([b'{"choices": [1]}', b'{"choices": [2]}']) as (url, asked),
        client(None, chat_completion_base_url=url) as llm,
    ):
        assert [await llm.complete(ASKED) for _ in range(2)] == [{"choices": [1]}, {"choices": [2]}]
        assert asked == [2, 1]
        with pytest.raises(BadGateway, match="broke off"):
            await llm.complete(ASKED)
        assert asked == [2, 2, 1], "a new connection that is closed at once is not tried again"


async def test_all_connections_that_were_closed_meanwhile_are_replaced() -> None:
    async with (
        closing_after_one([b'{"choices": [1]}'] * 3, at_once=2) as (url, asked),
        client(None, chat_completion_base_url=url) as llm,
    ):
        await asyncio.gather(llm.complete(ASKED), llm.complete(ASKED))
        assert asked == [1, 1]
        assert await llm.complete(ASKED) == {"choices": [1]}
        assert asked == [2, 2, 1]


async def test_leaving_in_the_middle_is_noticed_by_the_llm() -> None:
    small = SmallLlm(script=["So", asyncio.Event()])
    async with client(small) as llm:
        answer = llm.stream(ASKED)
        await anext(answer)
        await answer.aclose()
        await small.left.wait()
    assert len(small.asked) == 1, "and it was not asked again"


def test_a_base_url_without_a_path_gets_v1() -> None:
    assert base_url("http://localhost:11434") == "http://localhost:11434/v1/"
    assert base_url("https://api.openai.com/v1") == "https://api.openai.com/v1/"
    assert base_url("https://host/prefix/v1/") == "https://host/prefix/v1/"
    assert base_url("https://host/api/v3/chat/completions") == "https://host/api/v3/"

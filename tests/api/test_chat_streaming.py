"""Spoken answers that are streamed: OpenAI's own SDK against a server with fake engines and a small LLM that writes when it is told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter

from speaches.engines.base import Piece, Utterance
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, serving
from tests.chat.llm import DEATH, DONE, SmallLlm, Step, chunk, event, finish, listening, usage, written
from tests.fakes import PATIENCE, FakeEngines, FakeVoice
from tests.recordings import tone, wav

FIRST, SECOND = "The first sentence is here.", "The second sentence follows it."
ANSWER = f"{FIRST} {SECOND}"
WORD = 4800  # bytes of PCM that the fake voice makes of a word
RECORDING = base64.b64encode(wav(tone(440, 1))).decode()
SPOKEN: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "pcm16"}}
CHAT = "/v1/chat/completions"


def asking(*parts: Any, **more: Any) -> dict[str, Any]:
    content = [{"type": "text", "text": "What is this?"}, *parts]
    return {"model": "gpt-audio", "messages": [{"role": "user", "content": content}], **SPOKEN, **more}


def audio(data: str = RECORDING, name: str = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": name}}


@dataclass
class Chat:
    """A server, its LLM, and a client of OpenAI's."""

    server: Serving
    llm: SmallLlm
    sdk: openai.AsyncOpenAI

    async def chunks(self, **request: Any) -> list[dict[str, Any]]:
        """All chunks of an answer, which must be as the SDK's types have them, and end as they should."""
        async with self.server.client() as client:
            answer = await client.post(CHAT, json={**request, "stream": True})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8"), (
            answer.text
        )
        *events, done, rest = answer.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        chunks = [json.loads(one.removeprefix("data: ")) for one in events]
        for one in chunks:
            TypeAdapter(ChatCompletionChunk).validate_python(one, strict=True)
        return chunks

    @asynccontextmanager
    async def deltas(self, **request: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The deltas as they come."""
        stream: Any = await self.sdk.chat.completions.create(**request, stream=True)
        async with stream:
            yield (one.choices[0].delta.to_dict() async for one in stream if one.choices)


@asynccontextmanager
async def chatting(make_app: MakeApp, *script: Step, **settings: Any) -> AsyncIterator[Chat]:
    llm = SmallLlm(script=script, says=ANSWER)
    async with (
        listening(llm) as url,
        serving(make_app(chat_completion_base_url=url, **settings)) as server,
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as sdk,
    ):
        yield Chat(server, llm, sdk)


def audio_of(deltas: list[dict[str, Any]], name: str) -> list[Any]:
    return [delta["audio"][name] for delta in deltas if name in delta.get("audio", {})]


def heard(deltas: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(data, validate=True) for data in audio_of(deltas, "data"))


def deltas_of(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one["choices"][0]["delta"] for one in chunks if one["choices"]]


# --- A good day ---


async def test_the_sdk_puts_the_answer_together(make_app: MakeApp) -> None:
    async with chatting(make_app, *written(ANSWER), finish(), usage(), DONE) as chat:
        options: Any = {"stream_options": {"include_usage": True}}
        async with chat.sdk.chat.completions.stream(**asking(audio()), **options) as stream:
            answer = await stream.get_final_completion()
        message: Any = answer.choices[0].message.audio
        assert message.transcript == f"{ANSWER} "
        assert message.id in chat.server.state.spoken
        assert 3600 <= message.expires_at - answer.created < 3600 + PATIENCE
        assert len(base64.b64decode(message.data, validate=True)) == 10 * WORD
        assert answer.choices[0].finish_reason == "stop"
        assert answer.choices[0].message.content is None
        assert answer.usage is not None and answer.usage.completion_tokens_details is not None
        assert answer.usage.completion_tokens_details.audio_tokens == 20  # a second
        assert answer.usage.total_tokens == 37 + 20 + 10
        assert chat.llm.asked[0]["messages"][0]["content"][1] == {"type": "text", "text": "hello"}
        assert chat.llm.asked[0]["stream"] is True and "audio" not in chat.llm.asked[0]


async def test_chunks_come_in_openais_order(make_app: MakeApp) -> None:
    async with chatting(make_app, "Hello there.", finish("length"), usage(), DONE) as chat:
        chunks = await chat.chunks(**asking(stream_options={"include_usage": True}))
        plain = await chat.chunks(**asking())
    first, *between, expiry, end = deltas_of(chunks)
    assert first == {"role": "assistant", "content": None, "audio": {"id": first["audio"]["id"], "transcript": ""}}
    assert [sorted(delta["audio"]) for delta in between] == [["transcript"], ["data"]]
    assert (list(expiry), list(expiry["audio"]), end) == (["audio"], ["expires_at"], {})
    assert [one["choices"][0]["finish_reason"] for one in chunks if one["choices"]] == [None] * 4 + ["length"]
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens_details"]["audio_tokens"] == 4
    assert not any(one.get("usage") for one in plain)


async def test_the_first_sentence_is_heard_before_the_last_one_is_written(make_app: MakeApp) -> None:
    gate = asyncio.Event()
    script = (f"{FIRST} The", gate, " second sentence follows it.", finish(), DONE)
    async with chatting(make_app, *script) as chat, chat.deltas(**asking()) as deltas:
        found: list[dict[str, Any]] = []
        while len(heard(found)) < 5 * WORD:
            found.append(await anext(deltas))
        assert not gate.is_set()
        assert "".join(audio_of(found, "transcript")) == f"{FIRST} The"
        gate.set()
        found += [delta async for delta in deltas]
    assert len(heard(found)) == 10 * WORD
    assert len(audio_of(found, "id")) == len(audio_of(found, "expires_at")) == 1


async def test_the_text_is_there_before_its_speech(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.gate.close()
    async with chatting(make_app, f"{FIRST} ", SECOND, finish(), DONE) as chat, chat.deltas(**asking()) as deltas:
        found = [await anext(deltas) for _ in range(3)]
        assert "".join(audio_of(found, "transcript")) == ANSWER
        engines.voice.gate.open()
        assert len(heard([delta async for delta in deltas])) == 10 * WORD


@pytest.mark.parametrize("rate", [22_050, 16_000, 44_100])
async def test_data_is_cut_so_that_each_chunk_can_be_decoded(
    make_app: MakeApp, engines: FakeEngines, rate: int
) -> None:
    engines.voice.sample_rate = rate
    async with chatting(make_app, *written(ANSWER), finish(), DONE) as chat:
        data = audio_of(deltas_of(await chat.chunks(**asking())), "data")
    sizes = [len(base64.b64decode(one, validate=True)) for one in data]
    assert all(size % 6 == 0 for size in sizes)
    assert abs(sum(sizes) - 10 * WORD) < 20


async def test_tool_calls_pass_through_and_are_not_spoken(make_app: MakeApp, engines: FakeEngines) -> None:
    script = [
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": " 1}"}}]}),
        finish("tool_calls"),
    ]  # fmt: skip
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    async with chatting(make_app, *script, DONE) as chat:
        chunks = await chat.chunks(**asking(tools=tools))
        async with chat.sdk.chat.completions.stream(**asking(tools=tools)) as stream:
            answer = await stream.get_final_completion()
        assert chat.llm.asked[0]["tools"] == tools
    assert not any("audio" in delta for delta in deltas_of(chunks))
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    (call,) = calls
    assert call.function is not None
    assert (call.id, call.function.name, call.function.arguments) == ("call_1", "f", '{"a": 1}')
    assert engines.voice.pieces == []


async def test_an_answer_that_nobody_can_say_is_a_little_silence(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.synthesize = lambda piece: Utterance(tone(440, 0))  # type: ignore[method-assign]
    async with chatting(make_app, "...", finish(), DONE) as chat:
        assert heard(deltas_of(await chat.chunks(**asking()))) == bytes(4800)


async def test_a_spoken_answer_can_be_referred_to(make_app: MakeApp) -> None:
    async with chatting(make_app, *written(ANSWER), finish(), DONE) as chat:
        (audio_id,) = audio_of(deltas_of(await chat.chunks(**asking())), "id")
        request = asking()
        request["messages"].append({"role": "assistant", "audio": {"id": audio_id}})
        await chat.chunks(**request)
        assert chat.llm.asked[1]["messages"][1] == {"role": "assistant", "content": f"{ANSWER} "}


async def test_speed_language_and_rate_are_the_voices(make_app: MakeApp, engines: FakeEngines) -> None:
    extras = {"speed": 2.0, "language": "en-US", "sample_rate": 8000, "unknown": 5}
    async with chatting(make_app, *written(ANSWER), finish(), DONE) as chat:
        pcm = heard(deltas_of(await chat.chunks(**asking(speech_extra_body=extras))))
        assert {(piece.speed, piece.language) for piece in engines.voice.pieces} == {(2.0, "en-US")}
        assert abs(len(pcm) - 8000) < 20  # half a second of 10 words
        assert "speech_extra_body" not in chat.llm.asked[0]


# --- Bad days ---


async def test_what_is_wrong_before_the_first_word_is_a_status(make_app: MakeApp, engines: FakeEngines) -> None:
    async with chatting(make_app, {"error": {"message": "Too hot.", "code": 503}}) as chat:
        with pytest.raises(openai.InternalServerError, match="Too hot"):
            await chat.sdk.chat.completions.create(**asking(), stream=True)
        chat.llm.status = 429
        with pytest.raises(openai.RateLimitError, match="Slow down"):
            await chat.sdk.chat.completions.create(**asking(), stream=True)
        engines.recogniser.error = RuntimeError("secret")
        with pytest.raises(openai.InternalServerError) as caught:
            await chat.sdk.chat.completions.create(**asking(audio()), stream=True)
        assert "secret" not in caught.value.message
        assert chat.server.users() == 0


class BreaksLater(FakeVoice):
    def synthesize(self, piece: Piece) -> Utterance:
        if self.pieces:
            raise RuntimeError("secret")
        return super().synthesize(piece)


@pytest.mark.parametrize(
    ("script", "voice", "word"),
    [
        ([f"{FIRST} And", DEATH], FakeVoice(), "broke off"),
        ([f"{FIRST} And"], FakeVoice(), "broke off"),
        ([f"{FIRST} And", b"data: {\n\n"], FakeVoice(), "not JSON"),
        ([f"{FIRST} And", {"error": {"message": "Too hot."}}], FakeVoice(), "Too hot."),
        ([f"{FIRST} And", asyncio.Event()], FakeVoice(), "CHAT_COMPLETION_TIMEOUT"),
        ([f"{FIRST} {SECOND} And", asyncio.Event()], BreaksLater(), "request id"),
    ],
)
async def test_a_failure_on_the_way_is_an_event_and_the_end(
    make_app: MakeApp, engines: FakeEngines, script: list[Step], voice: FakeVoice, word: str
) -> None:
    engines.voice_kind.engine = engines.voice = voice
    timeout = 3.0 if "TIMEOUT" in word else PATIENCE  # also on a busy machine the LLM begins sooner
    async with chatting(make_app, *script, chat_completion_timeout=timeout) as chat:
        async with chat.server.client() as client:
            answer = await client.post(CHAT, json=asking(stream=True))
        *_, last, rest = answer.text.split("\n\n")
        error = json.loads(last.removeprefix("data: "))["error"]
        assert word in error["message"] and "secret" not in answer.text and rest == ""
        assert FIRST in answer.text
        with pytest.raises(openai.APIError, match=word):
            async with chat.deltas(**asking()) as deltas:
                async for _ in deltas:
                    pass
        assert chat.server.users() == 0


async def test_a_client_that_leaves_frees_the_llm_and_the_voice(make_app: MakeApp, engines: FakeEngines) -> None:
    async with chatting(make_app, *[f"{FIRST} "] * 20, asyncio.Event()) as chat:
        engines.voice.gate.close()
        body = json.dumps(asking(stream=True)).encode()
        async with chat.server.send(f"POST {CHAT}", body, x_request_id="mine", content_type="application/json") as gone:
            assert "200 OK" in await gone.head()
            await engines.voice.gate.reached()
        await asyncio.wait_for(chat.llm.left.wait(), PATIENCE)
        assert await chat.server.log.ended("mine") == 200
        engines.voice.gate.open()
        assert chat.server.users() == 0
        assert len(engines.voice.pieces) == 1
        assert chat.server.log.problems() == []


async def test_a_client_that_leaves_before_the_first_word_frees_the_llm(make_app: MakeApp) -> None:
    async with chatting(make_app, asyncio.Event()) as chat:
        body = json.dumps(asking(stream=True)).encode()
        async with chat.server.send(f"POST {CHAT}", body, x_request_id="mine", content_type="application/json"):
            await asyncio.wait_for(chat.llm.reached.wait(), PATIENCE)
        await asyncio.wait_for(chat.llm.left.wait(), PATIENCE)
        assert await chat.server.log.ended("mine") == 499
        assert chat.server.users() == 0


async def test_what_an_interrupted_answer_has_said_can_be_referred_to(make_app: MakeApp) -> None:
    async with chatting(make_app, f"{FIRST} And", asyncio.Event()) as chat:
        async with chat.deltas(**asking(), extra_headers={"x-request-id": "mine"}) as deltas:
            audio_id = (await anext(deltas))["audio"]["id"]
            await anext(deltas)
        await chat.server.log.ended("mine")
        request = asking(modalities=["text"])
        request["messages"].append({"role": "assistant", "audio": {"id": audio_id}})
        await chat.sdk.chat.completions.create(**request)
        assert chat.llm.asked[1]["messages"][1]["content"] == f"{FIRST} And"


# --- Text that is streamed ---


async def test_a_recording_that_is_answered_in_text_is_passed_through(make_app: MakeApp) -> None:
    async with chatting(make_app, "Hello.", b": ping\n\n", finish(), DONE) as chat, chat.server.client() as client:
        answer = await client.post(CHAT, json=asking(audio(), modalities=["text"], stream=True))
    assert answer.content == event(chunk({"content": "Hello."})) + b": ping\n\n" + event(finish()) + DONE


async def test_a_text_that_breaks_off_ends_in_an_error_event(make_app: MakeApp) -> None:
    half = event(chunk({"content": "never whole"}))[:40]
    async with chatting(make_app, "Hello.", half, DEATH) as chat:
        found = []
        with pytest.raises(openai.APIError, match="broke off"):
            async with chat.deltas(**asking(modalities=["text"])) as deltas:
                async for delta in deltas:
                    found.append(delta["content"])
    assert found == ["Hello."]


async def test_a_whole_text_that_breaks_off_is_an_error(make_app: MakeApp) -> None:
    async with chatting(make_app, b'{"choices": [', DEATH) as chat:
        chat.llm.content_type = "application/json"
        with pytest.raises(openai.InternalServerError, match="broke off") as caught:
            await chat.sdk.chat.completions.create(**asking(modalities=["text"]), extra_body={"stream": True})
        assert caught.value.status_code == 502


async def test_an_event_of_a_text_may_be_long(make_app: MakeApp) -> None:
    async with chatting(make_app, "x" * 200_000, finish(), DONE) as chat, chat.server.client() as client:
        answer = await client.post(CHAT, json=asking(modalities=["text"], stream=True))
    assert answer.content == event(chunk({"content": "x" * 200_000})) + event(finish()) + DONE


async def test_deltas_of_a_text_are_not_held_back(make_app: MakeApp) -> None:
    gate = asyncio.Event()
    async with (
        chatting(make_app, "Hello.", gate, finish(), DONE) as chat,
        chat.deltas(**asking(modalities=["text"])) as deltas,
    ):
        assert (await anext(deltas))["content"] == "Hello."
        gate.set()
        assert [delta async for delta in deltas] == [{}]


# --- What was heard before ---


async def test_only_what_is_new_in_a_conversation_is_heard(make_app: MakeApp, engines: FakeEngines) -> None:
    recordings = [base64.b64encode(wav(tone(440, 0.5 + turn / 10))).decode() for turn in range(3)]
    async with chatting(make_app) as chat:
        for turn in range(1, 4):
            content = [audio(data) for data in recordings[:turn]]
            await chat.sdk.chat.completions.create(**asking(*content, modalities=["text"]))
            assert len(engines.recogniser.heard) == turn
    texts = [part["text"] for part in chat.llm.asked[-1]["messages"][0]["content"]]
    assert texts == ["What is this?", "hello", "hello", "hello"]


async def test_another_language_is_heard_anew(make_app: MakeApp, engines: FakeEngines) -> None:
    async with chatting(make_app) as chat:
        for language in ("de", "german", "en", "de"):
            extras = {"transcription_extra_body": {"language": language, "prompt": "Grüße."}}
            await chat.sdk.chat.completions.create(**asking(audio()), extra_body=extras)
    assert [(asked.language, asked.prompt) for asked in engines.recogniser.asked] == [
        ("de", "Grüße."),
        ("en", "Grüße."),
    ]


async def test_recordings_of_a_request_are_heard_together_and_the_same_one_once(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    engines.recogniser.workers = 2
    engines.recogniser.gate.close()
    one, other = RECORDING, base64.b64encode(wav(tone(300, 1))).decode()
    async with chatting(make_app) as chat:
        request = asking(audio(one), audio(other), audio(one), modalities=["text"])
        asked = asyncio.create_task(chat.sdk.chat.completions.create(**request))
        await engines.recogniser.gate.reached(2)
        assert engines.recogniser.gate.inside == 2
        engines.recogniser.gate.open()
        await asked
    assert len(engines.recogniser.heard) == 2


async def test_many_recordings_do_not_fill_the_queue_of_their_own_engine(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    many = [audio(base64.b64encode(wav(tone(440, 0.2 + n / 100))).decode()) for n in range(30)]
    async with chatting(make_app, stt_concurrency=1, stt_queue_size=4) as chat:
        await chat.sdk.chat.completions.create(**asking(*many, modalities=["text"]))
    assert len(engines.recogniser.heard) == 30


@pytest.mark.parametrize("name", ["pcm16", "pcm"])
async def test_samples_without_a_header_are_24_khz(make_app: MakeApp, engines: FakeEngines, name: str) -> None:
    raw = base64.b64encode(wav(tone(440, 1, rate=24_000), 24_000)[44:]).decode()
    async with chatting(make_app) as chat:
        answer = await chat.sdk.chat.completions.create(**asking(audio(raw, name)))
    (window,) = engines.recogniser.heard
    assert abs(len(window.samples) - 16_000) < 200
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.audio_tokens == 10


# --- Several answers ---


async def test_each_of_several_answers_is_spoken(make_app: MakeApp) -> None:
    async with chatting(make_app) as chat:
        answer = await chat.sdk.chat.completions.create(**asking(n=3))
        spoken: list[Any] = [choice.message.audio for choice in answer.choices]
        assert len({one.id for one in spoken}) == 3
        assert all(one.id in chat.server.state.spoken for one in spoken)
        assert {len(base64.b64decode(one.data)) for one in spoken} == {10 * WORD}
        assert chat.llm.asked[0]["n"] == 3


async def test_many_answers_do_not_fill_the_queue_of_their_own_engine(make_app: MakeApp) -> None:
    async with chatting(make_app, tts_concurrency=1, tts_queue_size=6) as chat:
        answer = await chat.sdk.chat.completions.create(**asking(n=20))
        assert len({choice.message.audio.id for choice in answer.choices if choice.message.audio}) == 20


async def test_an_answer_without_words_is_left_as_it_is(make_app: MakeApp, engines: FakeEngines) -> None:
    async with chatting(make_app) as chat:
        chat.llm.says = " \n"
        answer = await chat.sdk.chat.completions.create(**asking())
    assert (answer.choices[0].message.content, answer.choices[0].message.audio) == (" \n", None)
    assert engines.voice.pieces == []


async def test_an_answer_that_is_too_long_to_be_spoken_is_refused(make_app: MakeApp) -> None:
    async with chatting(make_app, *["word "] * 100, max_text_chars=50) as chat:
        with pytest.raises(openai.InternalServerError, match="longer than 50 characters"):
            await chat.sdk.chat.completions.create(**asking())
        with pytest.raises(openai.APIError, match="longer than 50 characters"):
            async with chat.deltas(**asking()) as deltas:
                async for _ in deltas:
                    pass

"""When the LLM, the voice or the recogniser fails: the client is told by an event, and the session lives."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from speaches.engines.base import Piece, Utterance
from speaches.errors import SpeachesError, Unavailable
from speaches.realtime import driver
from speaches.realtime.session import Session
from tests.api.conftest import MakeApp
from tests.api.realtime_client import TEXT, TRANSCRIBED, Client, Place, talking
from tests.api.serving import serving
from tests.chat.llm import DEATH, DONE, SmallLlm, finish
from tests.fakes import PATIENCE, FakeEngines, FakeVoice
from tests.recordings import tone, wav

FIRST = "The first sentence is here. "
SECRET = "/home/somebody/secret.bin"


async def answered(client: Client) -> dict[str, Any]:
    """The end of a response to what was typed."""
    await client.types("Hello.")
    await client.send("response.create")
    response: dict[str, Any] = (await client.until("response.done"))["response"]
    return response


async def failed(client: Client) -> dict[str, Any]:
    """Why a response failed."""
    response = await answered(client)
    assert response["status"] == "failed"
    assert response["status_details"]["type"] == "failed"
    error: dict[str, Any] = response["status_details"]["error"]
    return error


async def works_again(place: Place, client: Client) -> None:
    place.llm.status, place.llm.raw, place.llm.script = 200, None, ["All is well.", finish(), DONE]
    response = await answered(client)
    assert (response["status"], response["output"][0]["content"][0]["transcript"]) == ("completed", "All is well.")


# --- The LLM ---


async def test_no_llm_is_configured(make_app: MakeApp, engines: FakeEngines) -> None:
    """What can be done without one is done: here, transcription."""
    async with serving(make_app()) as server, Place(server, SmallLlm()).client() as client:
        await client.update(**TRANSCRIBED)
        await client.speaks()
        await client.is_quiet()
        await client.until("conversation.item.input_audio_transcription.completed")
        error = (await client.until("response.done"))["response"]["status_details"]["error"]
        assert error["code"] == "llm_not_configured"
        assert engines.voice_kind.loads == 0, "no model is loaded for an answer that can't come"
        await client.is_alive()


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_the_llm_refuses(make_app: MakeApp, status: int) -> None:
    async with talking(make_app) as place, place.client() as client:
        place.llm.status = status
        error = await failed(client)
        assert error["code"] == "rate"
        assert client.all("response.done")[-1]["response"]["output"] == []
        await works_again(place, client)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"data: {\n\n",
        b'data: {"choices": 5}\n\n',
        b'data: {"error": {"message": "Out of memory."}}\n\n',
        bytes(range(256)) * 100,
    ],
    ids=repr,
)
async def test_the_llm_talks_rubbish(make_app: MakeApp, raw: bytes) -> None:
    async with talking(make_app) as place, place.client() as client:
        place.llm.raw = raw[:4000]
        error = await failed(client)
        assert isinstance(error["code"] or "", str)
        await works_again(place, client)


async def test_the_llm_can_not_be_reached(make_app: MakeApp) -> None:
    app = make_app(chat_completion_base_url="http://127.0.0.1:9")
    async with serving(app) as server, Place(server, SmallLlm()).client() as client:
        assert "CHAT_COMPLETION_BASE_URL" in (await failed(client))["message"]
        await client.is_alive()


async def test_the_llm_is_silent_for_too_long(make_app: MakeApp) -> None:
    async with (
        talking(make_app, FIRST + "And", asyncio.Event(), chat_completion_timeout=3.0) as place,
        place.client() as client,
    ):
        error = await failed(client)
        assert error["code"] == "timeout"
        assert len(client.said()) == 5 * 4800
        await asyncio.wait_for(place.llm.left.wait(), PATIENCE)
        await works_again(place, client)


@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_the_llm_dies_in_the_middle(make_app: MakeApp, modality: str) -> None:
    """What was said was said, and stays."""
    dies = asyncio.Event()
    async with talking(make_app, FIRST, "And the second ", dies, DEATH) as place, place.client() as client:
        await client.update(output_modalities=[modality])
        await client.types("Hello.")
        await client.send("response.create")
        await client.until(f"response.output_{modality}.delta")
        dies.set()
        response = (await client.until("response.done"))["response"]
        assert response["status"] in ("failed", "incomplete")
        (item,) = response["output"]
        assert item["status"] == "incomplete"
        said = item["content"][0]["transcript" if modality == "audio" else "text"]
        assert said.startswith(FIRST.strip())
        place.llm.script = ["Sorry.", finish(), DONE]
        assert (await answered(client))["status"] == "completed"
        assert place.llm.asked[1]["messages"][2]["content"].strip() == said.strip()


# --- The voice ---


class BreaksLater(FakeVoice):
    """Speaks one piece."""

    def synthesize(self, piece: Piece) -> Utterance:
        if len(self.pieces) >= 1:
            self.error = RuntimeError(SECRET)
        return super().synthesize(piece)


async def test_the_voice_breaks_in_the_middle(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice = engines.voice_kind.engine = BreaksLater()
    async with talking(make_app, FIRST + "The second sentence follows it.") as place, place.client() as client:
        error = await failed(client)
        assert SECRET not in str(client.events)
        assert error["code"] == "internal_error"
        assert len(client.said()) == 5 * 4800
        assert any(SECRET in traceback for traceback in place.server.log.tracebacks())
        response = client.all("response.done")[0]["response"]
        assert response["id"] in error["message"] or "log" in error["message"]
        await client.update(**TEXT)
        place.llm.script = ["Only text.", finish(), DONE]
        assert (await answered(client))["status"] == "completed"


@pytest.mark.parametrize("what", ["voice", "model"])
async def test_a_voice_that_there_is_not(make_app: MakeApp, what: str) -> None:
    output = {"voice": "nobody"} if what == "voice" else {"model": "nobody/nothing"}
    async with talking(make_app, FIRST, auto_download=False) as place, place.client() as client:
        await client.update(audio={"output": output})
        error = await failed(client)
        assert "nobody" in error["message"]
        await client.update(audio={"output": {"voice": "alloy", "model": "fake/voice"}})
        await works_again(place, client)


async def test_a_voice_model_that_does_not_load(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice_kind.error = Unavailable("No memory is left.", code="out_of_memory")
    async with talking(make_app, FIRST) as place, place.client() as client:
        error = await failed(client)
        assert error["code"] == "model_load_failed"
        assert place.llm.asked == [] or place.llm.left.is_set()
        engines.voice_kind.error = None
        await works_again(place, client)


# --- The recogniser ---


@pytest.mark.parametrize(
    "broken", [RuntimeError(SECRET), Unavailable("The GPU is away.", code="gone")], ids=["bug", "told"]
)
async def test_the_recogniser_fails(make_app: MakeApp, engines: FakeEngines, broken: Exception) -> None:
    engines.recogniser.error = broken
    async with talking(make_app, FIRST) as place, place.client() as client:
        await client.update(**TRANSCRIBED)
        await client.speaks()
        await client.is_quiet()
        failure = await client.until("conversation.item.input_audio_transcription.failed")
        assert failure["error"]["code"] == ("gone" if isinstance(broken, SpeachesError) else "internal_error")
        assert SECRET not in str(client.events)
        assert (await client.until("response.done"))["response"]["status"] == "failed"
        assert place.llm.asked == []
        engines.recogniser.error = None
        await client.speaks()
        await client.is_quiet()
        await client.until("conversation.item.input_audio_transcription.completed")
        assert (await client.until("response.done"))["response"]["status"] == "completed"


async def test_a_recogniser_that_there_is_not(make_app: MakeApp) -> None:
    missing = {"audio": {"input": {"transcription": {"model": "nobody/nothing"}}}}
    async with talking(make_app, FIRST, auto_download=False) as place, place.client() as client:
        await client.update(**missing)
        await client.speaks()
        await client.is_quiet()
        failure = await client.until("conversation.item.input_audio_transcription.failed")
        assert failure["error"]["code"] == "model_not_found"
        assert (await client.until("response.done"))["response"]["status"] == "failed"
        await works_again(place, client)


async def test_a_slow_recogniser_holds_up_nothing_but_the_answer(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.gate.close()
    async with talking(make_app, FIRST) as place, place.client() as client:
        await client.update(**TRANSCRIBED)
        await client.speaks()
        await client.is_quiet()
        await client.until("conversation.item.done")
        await client.is_alive()
        await client.speaks()
        await client.until("input_audio_buffer.speech_started")
        assert place.llm.asked == []
        engines.recogniser.gate.open()
        await client.is_quiet()
        await client.until("conversation.item.input_audio_transcription.completed", times=2)
        assert (await client.until("response.done"))["response"]["status"] == "completed"
        assert len(place.llm.asked) == 1, "both turns are answered by one"


# --- Queues that are full ---


async def test_a_voice_whose_queue_is_full(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, FIRST, tts_concurrency=1, tts_queue_size=0) as place:
        engines.voice.gate.close()
        async with place.client() as client, place.server.client() as other:
            speech = asyncio.create_task(other.post("/v1/audio/speech", json={"input": "Hello."}))
            await engines.voice.gate.reached()
            assert (await failed(client))["code"] == "rate_limit_exceeded"
            engines.voice.gate.open()
            assert (await speech).status_code == 200
            await works_again(place, client)
        await place.is_empty()


async def test_a_recogniser_whose_queue_is_full(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app, FIRST, stt_concurrency=1, stt_queue_size=0) as place:
        engines.recogniser.gate.close()
        async with place.client() as client, place.server.client() as other:
            await client.update(**TRANSCRIBED)
            recording = {"file": wav(tone(440, 1.0, 16_000))}
            transcription = asyncio.create_task(other.post("/v1/audio/transcriptions", files=recording))
            await engines.recogniser.gate.reached()
            await client.speaks()
            await client.is_quiet()
            failure = await client.until("conversation.item.input_audio_transcription.failed")
            assert failure["error"]["code"] == "rate_limit_exceeded"
            engines.recogniser.gate.open()
            assert (await transcription).status_code == 200
            await client.speaks()
            await client.is_quiet()
            await client.until("conversation.item.input_audio_transcription.completed")
        await place.is_empty()


# --- Bugs of ours ---


def broken(*arguments: Any, **options: Any) -> None:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize("name", ["heard", "transcribed", "receive"])
async def test_a_bug_in_the_rules_ends_the_session_and_is_logged(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In whatever task it shows. A session that goes on half dead would keep its client waiting."""
    async with talking(make_app, FIRST) as place:
        async with place.client() as client:
            monkeypatch.setattr(Session, name, broken)
            with contextlib.suppress(ConnectionClosed):  # it may be over while the client still speaks
                await client.speaks()
                await client.is_quiet()
                await client.send("response.create")
            assert SECRET not in str(await client.rest())
            assert client.socket.close_code == 1011
        assert any(SECRET in traceback for traceback in place.server.log.tracebacks())
        await place.is_empty()


async def test_work_that_is_cancelled_by_nobody_is_a_bug_too(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library's cancellation that leaks out would leave the client waiting for its transcript."""

    async def leaking(*arguments: Any, **options: Any) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(driver, "hear", leaking)
    async with talking(make_app, FIRST) as place:
        async with place.client() as client:
            await client.speaks()
            await client.is_quiet()
            await client.rest()
            assert client.socket.close_code == 1011
        assert any("cancelled by nobody" in traceback for traceback in place.server.log.tracebacks())
        await place.is_empty()


async def test_a_bug_within_a_response_ends_the_response(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    async with talking(make_app, FIRST) as place, place.client() as client:
        monkeypatch.setattr(Session, "response_audio", broken)
        assert (await failed(client))["code"] == "internal_error"
        assert SECRET not in str(client.events)
        assert any(SECRET in traceback for traceback in place.server.log.tracebacks())
        monkeypatch.undo()
        await works_again(place, client)


async def test_a_detector_that_does_not_load(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.activity_kind.error = Unavailable("No memory is left.", code="out_of_memory")
    async with talking(make_app, FIRST) as place, place.client() as client:
        await client.speaks(0.1)
        assert (await client.error())["code"] == "model_load_failed"
        await works_again(place, client)
        engines.activity_kind.error = None
        await client.speaks()
        await client.until("input_audio_buffer.speech_started")

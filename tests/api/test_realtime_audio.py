"""What is heard and said, as audio: in every format with fake engines, and with the small real models."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from speaches.app import create_app
from speaches.audio.resample import resample
from speaches.realtime import driver, hearing, partials
from speaches.realtime.pace import LEAD
from speaches.settings import Settings
from tests.api.conftest import WHISPER, MakeApp
from tests.api.realtime_client import PUSH_TO_TALK, RATE, Client, Place, base64_of, quiet, talking
from tests.api.serving import serving
from tests.chat.llm import DONE, SmallLlm, finish, listening, usage, written
from tests.fakes import PATIENCE, FakeEngines
from tests.recordings import Say, level, pitch, tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

FORMATS = {"audio/pcm": (RATE, "PCM_16"), "audio/pcmu": (8000, "ULAW"), "audio/pcma": (8000, "ALAW")}
ANSWER = "This is an answer of nine words in all. And here is another sentence with some more."  # 1.7 s


def raw(name: str, **more: Any) -> dict[str, Any]:
    """How libsndfile sees audio on the wire."""
    rate, subtype = FORMATS[name]
    return {"samplerate": rate, "format": "RAW", "subtype": subtype, "endian": "LITTLE", **more}


def format_of(name: str) -> dict[str, Any]:
    return {"format": {"type": name, "rate": 24_000} if name == "audio/pcm" else {"type": name}}


@pytest.mark.parametrize("name", FORMATS)
async def test_an_answer_in_every_format(make_app: MakeApp, name: str) -> None:
    async with talking(make_app, ANSWER) as place, place.client() as client:
        await client.update(audio={"output": format_of(name)})
        await client.types("Hello.")
        await client.send("response.create")
        response = (await client.until("response.done"))["response"]
        assert response["audio"]["output"]["format"]["type"] == name
        samples, rate = soundfile.read(io.BytesIO(client.said()), channels=1, **raw(name))
        assert len(samples) / rate == pytest.approx(1.7, abs=0.03)
        assert pitch(samples, rate) == pytest.approx(440, abs=2)
        assert level(samples) == pytest.approx(0.5 / 2**0.5, rel=0.05)
        if name == "audio/pcm":
            assert all(len(event["delta"]) % 4 == 0 for event in client.all("response.output_audio.delta"))
            assert len(client.said()) == round(1.7 * RATE) * 2


async def test_an_answer_is_sent_no_faster_than_it_can_be_played(make_app: MakeApp) -> None:
    """What is with the client can't be taken back: it gets a second in advance, and not all of these three."""
    async with (
        talking(make_app, "This sentence is one of the many that it says. " * 3) as place,
        place.client() as client,
    ):
        await client.send("response.create")
        asked = monotonic()
        await client.until("response.done")
        assert len(client.said()) == 3 * RATE * 2
        assert monotonic() - asked > 3 - LEAD - 0.2


@pytest.mark.parametrize("name", FORMATS)
async def test_speech_in_every_format(make_app: MakeApp, engines: FakeEngines, name: str) -> None:
    rate, _ = FORMATS[name]
    file = io.BytesIO()
    soundfile.write(file, tone(440, 1.0, rate), **raw(name))
    sent = file.getvalue()
    async with talking(make_app) as place, place.client("/v1/realtime?intent=transcription") as client:
        given = {**PUSH_TO_TALK["audio"]["input"], **format_of(name)}
        await client.send("session.update", session={"type": "transcription", "audio": {"input": given}})
        for start in range(0, len(sent), 333):  # cut anywhere
            await client.send("input_audio_buffer.append", audio=base64_of(sent[start : start + 333]))
        await client.send("input_audio_buffer.commit")
        done = await client.until("conversation.item.input_audio_transcription.completed")
        assert done["usage"]["seconds"] == pytest.approx(1.0, abs=0.005)
        samples = engines.recogniser.heard[-1].samples
        assert len(samples) == pytest.approx(16_000, abs=80)
        assert pitch(samples) == pytest.approx(440, abs=2)
        assert level(samples) == pytest.approx(0.5 / 2**0.5, rel=0.05)


async def test_a_format_may_change_between_turns(make_app: MakeApp, engines: FakeEngines) -> None:
    async with talking(make_app) as place, place.client("/v1/realtime?intent=transcription") as client:
        for name, (rate, _) in FORMATS.items():
            given = {**PUSH_TO_TALK["audio"]["input"], **format_of(name)}
            await client.send("session.update", session={"audio": {"input": given}})
            file = io.BytesIO()
            soundfile.write(file, tone(1000, 0.5, rate), **raw(name))
            await client.send("input_audio_buffer.append", audio=base64_of(file.getvalue()))
            await client.send("input_audio_buffer.commit")
            await client.until("conversation.item.input_audio_transcription.completed")
            assert pitch(engines.recogniser.heard[-1].samples) == pytest.approx(1000, abs=3)


async def test_audio_in_an_item_is_heard(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.says = "What time is it?"
    pcm = base64_of((tone(440, 1.0, RATE) * 32767).astype("<i2").tobytes())
    item = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": pcm}]}
    async with talking(make_app, "Noon.") as place, place.client() as client:
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        await client.until("response.done")
        assert place.llm.asked[0]["messages"][-1]["content"] == "What time is it?"
        item["content"][0]["audio"] = pcm[:-3]  # type: ignore[index]
        await client.send("conversation.item.create", item=item, event_id="cut")
        error = await client.error()
        assert (error["code"], error["event_id"]) == ("invalid_base64", "cut")
        assert error["param"] == "item.content[0].audio"


@pytest.mark.parametrize(
    ("asked", "language", "candidates"),
    [
        ({"languages": ["en", "de-AT", "EN"]}, None, ("en", "de")),
        ({"languages": ["de-AT"]}, "de", ("de",)),
        ({"languages": ["en", "de"], "language": "fr"}, "fr", ()),
        ({}, None, ()),
    ],
)
async def test_the_recogniser_is_told_which_languages_to_expect(
    make_app: MakeApp, engines: FakeEngines, asked: dict[str, Any], language: str | None, candidates: tuple[str, ...]
) -> None:
    async with talking(make_app, "Yes.") as place, place.client() as client:
        await client.update(audio={"input": {"transcription": {"model": "fake/recogniser", **asked}}})
        await client.speaks()
        await client.is_quiet()
        await client.until("conversation.item.input_audio_transcription.completed")
        options = engines.recogniser.asked[-1]
        assert (options.language, options.candidates) == (language, candidates)


# --- With real models ---


@contextmanager
def real(settings: Settings, llm: str) -> Iterator[Any]:
    changes = {"default_stt_model": WHISPER, "default_tts_model": "speaches/espeak-ng", "chat_completion_base_url": llm}
    yield create_app(settings.model_copy(update=changes))


def spoken(say: Say, text: str) -> Samples:
    """At 24 kHz."""
    return resample(say(text), 16_000, RATE)


LONG = "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
ASKS, SAYS = "What is the weather in London today?", "The meeting starts at nine."


async def until_said(client: Client) -> str:
    completed = await client.until("conversation.item.input_audio_transcription.completed")
    transcript: str = completed["transcript"]
    return transcript


async def test_words_are_shown_while_they_are_spoken(
    settings: Settings, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second half is not spoken before words of the first were shown: those of which two hypotheses agree."""
    hypotheses: asyncio.Queue[Any] = asyncio.Queue()

    async def listened(*arguments: Any) -> Any:
        words = await hearing.listen(*arguments)
        hypotheses.put_nowait(words)
        return words

    monkeypatch.setattr(driver, "listen", listened)
    monkeypatch.setattr(partials, "STEP_SHARE", 0.0)  # a slow machine listens as often
    with real(settings, "http://127.0.0.1:9") as app:
        async with serving(app) as server:
            place = Place(server, SmallLlm())
            async with place.client("/v1/realtime?intent=transcription&language=en") as client:
                speech = np.concatenate((quiet(0.3), spoken(say, LONG), quiet(1.0)))
                quarter = len(speech) // 4
                await client.plays(speech[:quarter])
                assert await asyncio.wait_for(hypotheses.get(), PATIENCE)
                await client.plays(speech[quarter : 2 * quarter])
                first = await client.until("conversation.item.input_audio_transcription.delta")
                assert first["delta"].startswith("And so")
                assert "input_audio_buffer.speech_stopped" not in client.sent()
                await client.plays(speech[2 * quarter :])
                assert await until_said(client) == LONG


async def test_a_conversation_with_real_models(settings: Settings, say: Say) -> None:
    llm = SmallLlm(script=[*written(SAYS), finish(), usage(), DONE])
    async with listening(llm) as url:
        with real(settings, url) as app:
            async with serving(app) as server, Place(server, llm).client() as client:
                await client.update(audio={"input": {"transcription": {"model": WHISPER, "language": "en"}}})
                await client.plays(np.concatenate((quiet(0.3), spoken(say, ASKS), quiet(0.8))))
                assert await until_said(client) == ASKS
                async with asyncio.timeout(PATIENCE):
                    done = await client.until("response.done")
                assert llm.asked[0]["messages"][-1]["content"] == ASKS
                assert done["response"]["output"][0]["content"][0]["transcript"] == SAYS
                # What it said is heard by the same server, as it came.
                heard = client.heard()
                await client.update(audio={"input": {"turn_detection": None}})
                await client.plays(np.concatenate((quiet(0.3), heard, quiet(0.3))))
                await client.send("input_audio_buffer.commit")
                assert await until_said(client) == SAYS

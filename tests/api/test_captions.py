"""POST /v1/audio/speech/captions: when each word is heard."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from speaches.audio.formats import FORMATS
from speaches.audio.pcm import from_pcm16
from speaches.engines.base import Piece, SpokenWord, Utterance
from tests.api.conftest import MakeApp
from tests.api.serving import serving
from tests.audio.files import LAWS, by_law, decode
from tests.fakes import FakeEngines, FakeVoice
from tests.recordings import tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

URL = "/v1/audio/speech/captions"
TEXT = "Hello there, my good old friend. How are you? I am fine."
LONG = "Number one is here. " * 20
BEAT, GAP = 0.1, 0.15  # seconds of a word of `Beeps`, and of the silence after it


class Beeps(FakeVoice):
    """Beeps for each word and is silent between them, so that a recording of it tells where the words are."""

    def synthesize(self, piece: Piece) -> Utterance:
        whole = super().synthesize(piece)
        beat, gap = BEAT / piece.speed, GAP / piece.speed
        one = np.concatenate((tone(440, beat, self.sample_rate), np.zeros(round(gap * self.sample_rate), np.float32)))
        words = [SpokenWord(word.word, n * (beat + gap), n * (beat + gap) + beat) for n, word in enumerate(whole.words)]
        return Utterance(np.tile(one, len(piece.text.split())), tuple(words))


@pytest.fixture
def engines() -> FakeEngines:
    return FakeEngines(voice=Beeps())


def beeps(samples: Samples, rate: int) -> list[float]:
    """Where each beep begins, in seconds."""
    step = rate // 500
    loud = np.abs(samples[: len(samples) // step * step]).reshape(-1, step).max(axis=1) > 0.15
    starts: list[float] = []
    quiet = 1000  # steps
    for number, is_loud in enumerate(loud):
        if is_loud and quiet > 10:
            starts.append(number * step / rate)
        quiet = 0 if is_loud else quiet + 1
    return starts


@asynccontextmanager
async def captioning(make_app: MakeApp) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(make_app()) as server, server.client() as client:
        yield client


async def captions(client: httpx.AsyncClient, text: str = TEXT, **fields: Any) -> httpx.Response:
    answer = await client.post(URL, json={"input": text} | fields)
    assert answer.status_code == 200, answer.text
    return answer


def lines(answer: httpx.Response) -> list[Any]:
    return [json.loads(line) for line in answer.text.splitlines()]


def parts(answer: httpx.Response) -> tuple[bytes, list[Any], float]:
    """Audio, words and duration of an answer, streamed or not."""
    every = lines(answer)
    deltas, done = (every[:-1], every[-1]) if len(every) > 1 else (every, every[0])
    audio = b"".join(base64.b64decode(delta["audio"]) for delta in deltas)
    return audio, [word for delta in deltas for word in delta["words"]], done["duration"]


def heard(audio: bytes, name: str, rate: int = 24_000) -> tuple[Samples, int]:
    if name in LAWS:
        return by_law(name, audio), 8_000
    return (from_pcm16(audio), rate) if name == "pcm" else (decode(audio), 16_000)


# --- JSON ---


async def test_an_answer_has_the_audio_and_its_words(make_app: MakeApp) -> None:
    async with captioning(make_app) as client:
        answer = await captions(client, response_format="wav")
    assert answer.headers["content-type"] == "application/json"
    facts = answer.json()
    audio = decode(base64.b64decode(facts.pop("audio"), validate=True))
    words = facts.pop("words")
    assert facts == {"content_type": "audio/wav", "format": "wav", "duration": 3.0, "text": TEXT, "estimated": False}
    assert len(audio) / 16_000 == pytest.approx(3.0, abs=0.001)
    assert " ".join(word["word"] for word in words) == TEXT
    assert all(word.keys() == {"word", "start", "end"} for word in words)
    assert all(0 <= word["start"] < word["end"] <= 3.0 for word in words)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FORMATS)
async def test_times_are_those_of_the_decoded_audio(make_app: MakeApp, name: str, stream: bool) -> None:
    async with captioning(make_app) as client:
        answer = await captions(client, response_format=name, stream=stream, pause_seconds=0.3)
    audio, words, duration = parts(answer)
    samples, rate = heard(audio, name)
    assert [word["start"] for word in words] == pytest.approx(beeps(samples, rate), abs=0.01)
    assert duration == pytest.approx(len(samples) / rate, abs=0.03)


@pytest.mark.parametrize("fields", [{"speed": 0.5}, {"speed": 2.0}, {"sample_rate": 8_000}, {"sample_rate": 44_100}])
@pytest.mark.parametrize("stream", [False, True])
async def test_times_follow_the_speed_and_the_rate(
    make_app: MakeApp, engines: FakeEngines, fields: dict[str, Any], stream: bool
) -> None:
    engines.voice.speeds = (0.8, 1.25)  # the rest is stretched
    async with captioning(make_app) as client:
        audio, words, _ = parts(await captions(client, response_format="mp3", stream=stream, **fields))
    samples, rate = heard(audio, "mp3")
    # What is stretched to half its speed is put together from windows of some 40 ms.
    within = 0.05 if fields == {"speed": 0.5} else 0.03
    assert [word["start"] for word in words] == pytest.approx(beeps(samples, rate), abs=within)


async def test_phonemes_come_where_they_are_asked_for(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice = engines.voice_kind.engine = FakeVoice()
    async with captioning(make_app) as client:
        for asked in (["word", "phoneme"], ["phoneme"], "word,phoneme"):
            words = (await captions(client, "One two.", timestamp_granularities=asked)).json()["words"]
            assert [word["phonemes"] for word in words] == [
                [{"phoneme": "o", "start": 0.0, "end": 0.1}],
                [{"phoneme": "t", "start": 0.1, "end": 0.2}],
            ]
        assert "phonemes" not in (await captions(client, "One two.")).json()["words"][0]


async def test_guessed_times_are_called_so(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice = engines.voice_kind.engine = FakeVoice(guesses=True)
    async with captioning(make_app) as client:
        assert (await captions(client)).json()["estimated"] is True
        assert lines(await captions(client, stream=True))[-1]["estimated"] is True


async def test_what_is_not_speech_has_no_words(make_app: MakeApp, engines: FakeEngines) -> None:
    nothing = Utterance(np.empty(0, np.float32))
    engines.voice.synthesize = lambda piece: nothing  # type: ignore[method-assign]
    async with captioning(make_app) as client:
        facts = (await captions(client, "...", response_format="pcm")).json()
        assert (facts["words"], facts["duration"]) == ([], 0.1)
        assert len(base64.b64decode(facts["audio"])) == 4_800
        for stream in (False, True):
            assert (await captions(client, "...", caption_format="srt", stream=stream)).text == ""
            assert (await captions(client, "...", caption_format="vtt", stream=stream)).text == "WEBVTT\n\n"


# --- As it is spoken ---


async def test_lines_come_as_pieces_are_spoken(make_app: MakeApp, engines: FakeEngines) -> None:
    async with captioning(make_app) as client:
        answer = await captions(client, LONG, stream=True, response_format="pcm")
    assert answer.headers["content-type"] == "application/x-ndjson"
    *deltas, done = lines(answer)
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    said = [word["word"] for delta in deltas for word in delta["words"]]
    assert " ".join(said) == LONG.strip()
    assert max(len(delta["words"]) for delta in deltas) <= 8
    assert done.keys() == {"type", "duration", "usage", "estimated"}
    assert (done["type"], done["duration"]) == ("speech.audio.done", 20.0)
    assert done["usage"]["output_tokens"] == 400
    at = 0.0
    for delta in deltas:  # no word comes after its sound
        assert all(word["start"] >= at - 0.001 for word in delta["words"])
        at += len(base64.b64decode(delta["audio"])) / 48_000


async def test_a_failure_on_the_way_is_the_last_line(make_app: MakeApp, engines: FakeEngines) -> None:
    says = engines.voice.synthesize

    def fails(piece: Piece) -> Utterance:
        if len(engines.voice.pieces) > 5:
            raise RuntimeError("broken")
        return says(piece)

    engines.voice.synthesize = fails  # type: ignore[method-assign]
    async with captioning(make_app) as client:
        *deltas, last = lines(await captions(client, LONG, stream=True))
        assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
        assert last["error"]["type"] == "server_error"
        with pytest.raises(httpx.RemoteProtocolError):  # text has no place for an error: the answer is cut
            engines.voice.pieces.clear()
            await client.post(URL, json={"input": LONG, "stream": True, "caption_format": "vtt"})
        assert (await client.post(URL, json={"input": LONG})).status_code == 500


# --- Subtitles ---


async def test_subtitles_of_a_text(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice = engines.voice_kind.engine = FakeVoice(pause=0.5)
    async with captioning(make_app) as client:
        srt = await captions(client, caption_format="srt", response_format="wav")
        vtt = await captions(client, caption_format="vtt", response_format="wav")
    assert srt.headers["content-type"] == "application/x-subrip; charset=utf-8"
    assert vtt.headers["content-type"] == "text/vtt; charset=utf-8"
    assert srt.text == (
        "1\n00:00:00,000 --> 00:00:00,800\nHello there, my good old friend.\n\n"
        "2\n00:00:01,100 --> 00:00:01,900\nHow are you?\n\n"
        "3\n00:00:01,900 --> 00:00:02,200\nI am fine.\n\n"
    )
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.800\nHello there, my good old friend.\n\n")


@pytest.mark.parametrize("name", ["srt", "vtt"])
async def test_streamed_subtitles_are_the_same(make_app: MakeApp, name: str) -> None:
    async with captioning(make_app) as client:
        whole = await captions(client, LONG, caption_format=name)
        streamed = await captions(client, LONG, caption_format=name, stream=True)
    assert "transfer-encoding" in streamed.headers
    assert streamed.text == whole.text
    assert streamed.text.count("-->") == 20


async def test_the_size_of_cues_can_be_chosen(make_app: MakeApp) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen"
    async with captioning(make_app) as client:
        short = await captions(client, text, caption_format="srt", max_cue_chars=10)
        brief = await captions(client, text, caption_format="srt", max_cue_seconds=0.5)
    assert max(len(line) for line in short.text.splitlines() if "-->" not in line) <= 10
    assert brief.text.count("-->") > short.text.count("-->") >= 3

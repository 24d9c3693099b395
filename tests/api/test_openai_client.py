"""OpenAI's own SDK against a running server with the tiny models."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import soundfile
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    TranslationVerbose,
)
from pydantic import BaseModel, ConfigDict, TypeAdapter

from speaches.audio.formats import FORMATS
from speaches.engines.base import Window
from tests.api.conftest import KOKORO, WHISPER, MakeApp
from tests.api.serving import Serving, serving, sse, threaded
from tests.audio.files import decode
from tests.fakes import PATIENCE, FakeEngines, FakeRecogniser
from tests.recordings import Say, recording, silence, tone, wav

TEXT = "Hello world, how are you today?"
SPEECH = "Hello there. This is a test of the speech server. It has three sentences."


def strictly(kind: Any, value: Any) -> Any:
    """The value as the SDK's own type; the SDK itself checks nothing, others who use its types do."""
    return TypeAdapter(kind).validate_python(value, strict=True)


@pytest.fixture(scope="module")
def hello(say: Say) -> bytes:
    return wav(recording(say(TEXT)))


def test_speech_in_each_format(client: openai.OpenAI) -> None:
    formats = {
        "mp3": ("audio/mpeg", "MP3"),
        "opus": ("audio/ogg", "OGG"),
        "flac": ("audio/flac", "FLAC"),
        "wav": ("audio/wav", "WAV"),
    }
    for name, (content_type, container) in formats.items():
        answer = client.audio.speech.create(
            model="tts-1",
            voice="alloy",
            input=SPEECH,
            response_format=name,  # type: ignore[arg-type]
        )
        assert answer.response.headers["content-type"] == content_type
        sound = soundfile.info(io.BytesIO(answer.content))
        assert (sound.format, sound.channels) == (container, 1)
    aac = client.audio.speech.create(model="tts-1", voice="alloy", input=SPEECH, response_format="aac")
    assert aac.response.headers["content-type"] == "audio/aac"
    assert aac.content[:2] in (b"\xff\xf1", b"\xff\xf9")  # the sync word of ADTS


def test_pcm_is_24_khz_and_as_long_as_the_wav_of_the_same_text(client: openai.OpenAI) -> None:
    pcm = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="pcm").content
    whole = client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", response_format="wav").content
    with wave.open(io.BytesIO(whole)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert abs(len(pcm) // 2 - file.getnframes()) < 2400  # Kokoro's network draws noise


def test_speech_arrives_as_it_is_spoken(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="nova", input=SPEECH, response_format="pcm"
    ) as answer:
        parts = list(answer.iter_bytes(4096))
    assert answer.headers["content-type"] == "audio/pcm"
    assert "content-length" not in answer.headers
    assert len(parts) > 2
    assert sum(map(len, parts)) % 2 == 0


def test_a_streamed_wav_has_its_audio_right_after_a_header_of_unknown_length(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(model="tts-1", voice="nova", input=SPEECH, response_format="wav").content
    assert answer[:4] + answer[8:16] + answer[36:40] == b"RIFFWAVEfmt data"
    assert answer[4:8] == answer[40:44] == b"\xff\xff\xff\xff"


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_each_format_is_written_to_a_file_as_it_comes(client: openai.OpenAI, tmp_path: Path, name: Any) -> None:
    file = tmp_path / f"speech.{name}"
    asked: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": SPEECH, "response_format": name}
    with client.audio.speech.with_streaming_response.create(**asked) as answer:
        assert answer.headers["content-type"] == FORMATS[name].content_type
        answer.stream_to_file(file)
    data = file.read_bytes()
    seconds = len(data) / 48_000 if name == "pcm" else len(decode(data)) / 16_000
    assert 3 < seconds < 12
    file.unlink()
    client.audio.speech.create(**asked).write_to_file(file)
    assert file.stat().st_size == pytest.approx(len(data), rel=0.3)


def test_bytes_come_one_by_one_where_a_client_wants_them_so(client: openai.OpenAI) -> None:
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="Hello.", response_format="wav"
    ) as answer:
        assert [len(part) for part in itertools.islice(answer.iter_bytes(1), 1000)] == [1] * 1000


async def test_speech_for_an_async_client(server_url: str, tmp_path: Path) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0) as client:
        asked: dict[str, Any] = {"model": "tts-1", "voice": "onyx", "input": SPEECH}
        async with client.audio.speech.with_streaming_response.create(**asked, response_format="pcm") as answer:
            parts = [part async for part in answer.iter_bytes(1024)]
        async with client.audio.speech.with_streaming_response.create(**asked) as answer:
            await answer.stream_to_file(tmp_path / "speech.mp3")
        whole = await client.audio.speech.create(**asked, response_format="wav", instructions="Whisper.")
    assert len(b"".join(parts)) > 3 * 48_000
    assert 3 < len(decode((tmp_path / "speech.mp3").read_bytes())) / 16_000 < 12
    assert (await whole.aread())[:4] == b"RIFF"


def test_events_by_their_lines_as_livekit_reads_them(client: openai.OpenAI) -> None:
    audio, done = b"", None
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="ash", input=SPEECH, response_format="mp3", stream_format="sse", speed=1.0
    ) as answer:
        for line in answer.iter_lines():
            if not line.startswith("data:"):
                assert line == ""
                continue
            event = json.loads(line.removeprefix("data:").strip())
            if event["type"] == "speech.audio.delta":
                audio += base64.b64decode(event["audio"])
            else:
                done = event
    assert done is not None and done["token_usage"] == done["usage"]
    assert 3 < len(decode(audio)) / 16_000 < 12


def test_a_preset_is_a_voice_for_the_sdk(client: openai.OpenAI, http: httpx.Client) -> None:
    kept = http.post("/v1/audio/voices", json={"name": "narrator", "voice": "af_heart", "model": "tts-1", "speed": 4.0})
    assert kept.status_code in (200, 201), kept.text
    try:
        plain = seconds_of(client, "af_heart")
        # The tiny model's sounds have few lengths, so this is rough.
        assert seconds_of(client, "narrator") < plain * 0.6
        assert seconds_of(client, {"id": kept.json()["id"]}) < plain * 0.6
        assert seconds_of(client, "narrator", speed=1.0) > plain * 0.8
    finally:
        http.delete(f"/v1/audio/voices/{kept.json()['id']}")


def seconds_of(client: openai.OpenAI, voice: Any, **fields: Any) -> float:
    """How long it takes to say it."""
    answer = client.audio.speech.create(model="tts-1", voice=voice, input=SPEECH, response_format="pcm", **fields)
    return len(answer.content) / 48_000


def test_speech_as_server_sent_events(client: openai.OpenAI) -> None:
    answer = client.audio.speech.create(
        model="tts-1", voice="nova", input=SPEECH, response_format="pcm", stream_format="sse"
    )
    assert answer.response.headers["content-type"].startswith("text/event-stream")
    *deltas, done = sse(answer.text)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert len(b"".join(base64.b64decode(event["audio"]) for event in deltas)) > 24_000
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"] > 0


def test_a_voice_may_be_an_object_and_null_is_absent(http: httpx.Client) -> None:
    body = {"model": "tts-1", "input": "Hello.", "voice": {"id": "af_heart"}, "instructions": None, "speed": None}
    assert http.post("/v1/audio/speech", json=body | {"unheard_of": [1]}).status_code == 200


def test_transcription(client: openai.OpenAI, hello: bytes) -> None:
    heard = client.audio.transcriptions.create(model="whisper-1", file=("hello.wav", hello), language="en")
    assert strictly(Transcription, heard.model_dump()).text == TEXT
    assert heard.usage is not None and heard.usage.type == "duration"
    assert heard.usage.seconds == round(len(hello) / 32_000)


@pytest.mark.parametrize("name", ["text", "srt", "vtt", "lrc", "tsv"])
def test_transcription_as_text(client: openai.OpenAI, hello: bytes, name: Any) -> None:
    text: Any = client.audio.transcriptions.create(model="whisper-1", file=("hello.wav", hello), response_format=name)
    assert isinstance(text, str)
    match name:
        case "text":
            assert text == f"{TEXT}\n"
        case "srt":
            number, times, words, *rest = text.split("\n")
            assert (number, words, rest) == ("1", TEXT, ["", ""])
            assert _seconds(times.replace(",", ".")) == pytest.approx((0.4, 2.5), abs=0.8)
        case "vtt":
            head, empty, times, words, *rest = text.split("\n")
            assert (head, empty, words, rest) == ("WEBVTT", "", TEXT, ["", ""])
            assert _seconds(times) == pytest.approx((0.4, 2.5), abs=0.8)
        case "lrc":
            line, end, *rest = text.split("\n")
            assert (line[:4], line[10:], end[:4], len(end), rest) == ("[00:", TEXT, "[00:", 10, [""])
        case "tsv":
            head, row, *rest = text.split("\n")
            assert (head, row.split("\t")[2:], rest) == ("start\tend\ttext", [TEXT], [""])


def _seconds(times: str) -> tuple[float, float]:
    start, end = (time.split(":") for time in times.split(" --> "))
    assert [len(part) for part in start] == [2, 2, 6]
    return tuple(int(h) * 3600 + int(m) * 60 + float(s) for h, m, s in (start, end))  # type: ignore[return-value]


def test_verbose_transcription(client: openai.OpenAI, hello: bytes) -> None:
    heard = client.audio.transcriptions.create(
        model="whisper-1",
        file=("hello.wav", hello),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
    )
    strictly(TranscriptionVerbose, json.loads(heard.model_dump_json()))
    assert (heard.text, heard.language) == (TEXT, "english")
    assert heard.duration == pytest.approx((len(hello) - 44) / 32_000, abs=0.01)
    assert heard.segments is not None and heard.words is not None
    assert [word.word for word in heard.words] == TEXT.split()
    assert all(0 <= word.start <= word.end <= heard.duration for word in heard.words)
    assert [segment.id for segment in heard.segments] == list(range(len(heard.segments)))
    assert "".join(segment.text for segment in heard.segments).strip() == TEXT
    assert all(segment.tokens for segment in heard.segments)


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ([], {"segments"}),
        (["segment"], {"segments"}),
        (["word"], {"words"}),
        (["word", "segment"], {"words", "segments"}),
    ],
)
def test_verbose_json_has_exactly_these_fields(
    http: httpx.Client, hello: bytes, asked: list[str], there: set[str]
) -> None:
    fields: dict[str, Any] = {"response_format": "verbose_json"}
    fields |= {"timestamp_granularities[]": asked} if asked else {}
    heard = http.post("/v1/audio/transcriptions", files={"file": hello}, data=fields).json()
    assert set(heard) == {"task", "language", "duration", "speech_seconds", "text", "usage"} | there
    assert heard["task"] == "transcribe"
    for segment in heard.get("segments", []):
        assert set(segment) == {
            "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
            "no_speech_prob", "language",
        }  # fmt: skip
    for word in heard.get("words", []):
        assert set(word) == {"word", "start", "end"}


def test_transcription_as_events(client: openai.OpenAI, say: Say) -> None:
    sentences = ["Good morning and welcome to the show.", "What time is it?"]
    heard = wav(recording(*map(say, sentences)))
    stream = client.audio.transcriptions.create(model="whisper-1", file=("two.wav", heard), language="en", stream=True)
    *deltas, done = [strictly(TranscriptionStreamEvent, event.model_dump(exclude_unset=True)) for event in stream]
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == " ".join(sentences)
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens


def test_silence_is_an_empty_text_in_every_format(http: httpx.Client) -> None:
    silent = wav(recording())
    for name, text in {"text": "\n", "srt": "", "vtt": "WEBVTT\n\n", "lrc": "", "tsv": "start\tend\ttext\n"}.items():
        answer = http.post("/v1/audio/transcriptions", files={"file": silent}, data={"response_format": name})
        assert (answer.status_code, answer.text) == (200, text)
    heard = http.post("/v1/audio/transcriptions", files={"file": silent}, data={"response_format": "verbose_json"})
    assert (heard.json()["text"], heard.json()["segments"]) == ("", [])
    events = sse(http.post("/v1/audio/transcriptions", files={"file": silent}, data={"stream": "true"}).text)
    assert [(event["type"], event["text"]) for event in events] == [("transcript.text.done", "")]


def test_translation(client: openai.OpenAI, say: Say) -> None:
    spoken = wav(recording(say("Hallo, wie geht es dir?", "de", rate=175)))
    assert client.audio.translations.create(model="whisper-1", file=("de.wav", spoken)).text == "Hello, how are you?"
    verbose = client.audio.translations.create(
        model="whisper-1", file=("de.wav", spoken), response_format="verbose_json"
    )
    assert isinstance(verbose, TranslationVerbose)
    assert (verbose.language, verbose.text) == ("english", "Hello, how are you?")


def test_models(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert {"speaches/espeak-ng", "speaches/pocketsphinx-en-us", "silero_vad_v6", KOKORO, WHISPER} <= set(listed)
    assert {"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-tts", "tts-1-hd", "silero_vad_v5"} <= set(listed)
    for model in listed.values():
        strictly(openai.types.Model, model.to_dict())
    one = client.models.retrieve(KOKORO)
    assert (one.id, one.object, one.owned_by) == (KOKORO, "model", "speaches-test")
    assert client.models.retrieve("tts-1").id == "tts-1"


class Envelope(BaseModel):
    """The body of an error."""

    model_config = ConfigDict(extra="forbid", strict=True)
    message: str
    type: str
    param: str | None
    code: str | None


def check_error(error: openai.APIStatusError, param: str | None, code: str | None) -> None:
    assert (error.param, error.code) == (param, code)
    assert error.request_id == error.response.headers["x-request-id"]
    assert Envelope.model_validate(error.body).message == error.response.json()["error"]["message"]


def test_errors_have_the_classes_of_the_sdk(client: openai.OpenAI, hello: bytes) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.audio.speech.create(model="tts-1", voice="alloy", input="Hello.", speed=9)
    check_error(bad.value, "speed", "invalid_value")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.audio.speech.create(model="no/such", voice="alloy", input="Hello.")
    check_error(unknown.value, "model", "model_not_found")
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("no/such")
    check_error(unknown.value, "model", "model_not_found")
    with pytest.raises(
        openai.BadRequestError, match=r"Invalid file format. Supported formats: \['flac', "
    ) as undecodable:
        client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"this is not audio at all"))
    check_error(undecodable.value, "file", "unsupported_audio")


@pytest.fixture
def guarded(make_app: MakeApp) -> Iterator[openai.OpenAI]:
    app = make_app(api_key="right", max_upload_bytes=1000)
    with (
        threaded(app) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="right", max_retries=0, timeout=PATIENCE) as client,
    ):
        yield client


def test_errors_of_the_gate_have_the_classes_of_the_sdk(guarded: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as wrong:
        guarded.with_options(api_key="wrong").models.list()
    check_error(wrong.value, None, "invalid_api_key")
    with pytest.raises(openai.APIStatusError) as large:
        guarded.audio.transcriptions.create(model="fake/recogniser", file=("large.wav", bytes(2000)))
    assert large.value.status_code == 413
    check_error(large.value, None, "request_too_large")


def sdk(server: Serving) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE)


async def test_a_server_that_is_full_is_a_rate_limit_error(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.voice.gate.close()
    async with serving(make_app(tts_concurrency=1, tts_queue_size=0)) as server, sdk(server) as client:
        first = asyncio.create_task(client.audio.speech.create(model="fake/voice", voice="ada", input="Hello."))
        await engines.voice.gate.reached()
        with pytest.raises(openai.RateLimitError) as full:
            await client.audio.speech.create(model="fake/voice", voice="ada", input="Hello.")
        check_error(full.value, None, "rate_limit_exceeded")
        assert full.value.response.headers["retry-after"] == "1"
        engines.voice.gate.open()
        assert len((await first).content) > 0


async def test_a_failure_in_mid_stream_is_raised_by_the_sdk(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.says = once(engines.recogniser)
    heard = wav(np.concatenate([tone(440, 25), silence(1), tone(440, 25)]))
    async with serving(make_app()) as server, sdk(server) as client:
        stream = await client.audio.transcriptions.create(
            model="fake/recogniser", file=("long.wav", heard), language="en", stream=True
        )
        events = []
        with pytest.raises(openai.APIError) as failed:
            async for event in stream:
                events.append(event.type)
        assert events == ["transcript.text.delta"]
        assert "log" in failed.value.message


def once(recogniser: FakeRecogniser) -> Callable[[Window], str]:
    """Hears one window and fails at the next."""

    def hear(window: Window) -> str:
        if len(recogniser.calls) > 1:
            raise RuntimeError("the second window")
        return "hello"

    return hear

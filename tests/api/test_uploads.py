"""How clients send recordings: forms of all sorts, and JSON."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from speaches.audio.pcm import to_pcm16
from tests.api.conftest import KOKORO, MakeApp
from tests.api.serving import form, serving
from tests.fakes import FakeEngines
from tests.recordings import Say, recording, say, silence, tone, wav

TEXT = "Hello world, how are you today?"
URL = "/v1/audio/transcriptions"


@pytest.fixture(scope="module")
def hello() -> bytes:
    return wav(recording(say(TEXT)))


def parts_of(
    hello: bytes, *fields: tuple[str, bytes], first: bool = True, name: str = "a.wav", kind: str = "audio/wav"
) -> Any:
    file = ("file", hello, name, kind)
    return (file, *fields) if first else (*fields, file)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("upload", "application/octet-stream"),
        ("audio.webm", "audio/webm"),
        (".", "audio/x-wav"),
        ("../../x.mp3", "video/mp4; codecs=opus"),
        ("ä \u202e.wav", "audio/wav"),
    ],
)
def test_names_and_types_of_files_tell_nothing(http: httpx.Client, hello: bytes, name: str, kind: str) -> None:
    answer = http.post(URL, files={"file": (name, hello, kind)}, data={"model": "whisper-1"})
    assert answer.json()["text"] == TEXT


@pytest.mark.parametrize("first", [True, False])
def test_the_order_of_fields_does_not_matter(http: httpx.Client, hello: bytes, first: bool) -> None:
    body, kind = form(*parts_of(hello, ("model", b"whisper-1"), ("response_format", b"text"), first=first))
    assert http.post(URL, content=body, headers={"content-type": kind}).text == f"{TEXT}\n"


def test_empty_and_unknown_fields_are_left_out(http: httpx.Client, hello: bytes) -> None:
    """Open WebUI, LibreChat and others send what a user left alone as empty strings."""
    names = ["model", "language", "prompt", "response_format", "temperature", "stream", "hotwords", "keywords"]
    empty = dict.fromkeys([*names, "timestamp_granularities[]", "languages[]"], "")
    unknown = {
        "backend": "x",
        "chunking_strategy[type]": "server_vad",
        "advanced": "true",
        "diarize": "",
        "min_speakers": "",
        "[]": "",
        "a[b]c": "d",
        "]": "e",
        "[": "f",
    }
    answer = http.post(URL, files={"file": hello}, data=empty | unknown)
    assert (answer.status_code, answer.json()["text"]) == (200, TEXT)


@pytest.mark.parametrize(
    "fields",
    [
        [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
        [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
        [("timestamp_granularities", "word,segment")],
        [("timestamp_granularities[]", "word"), ("timestamp_granularities", "segment")],
        [("timestamp_granularities[]", ""), ("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
    ],
)  # fmt: skip
def test_lists_may_be_written_in_several_ways(http: httpx.Client, hello: bytes, fields: list[tuple[str, str]]) -> None:
    body, kind = form(*parts_of(hello, ("response_format", b"verbose_json"), *((n, v.encode()) for n, v in fields)))
    heard = http.post(URL, content=body, headers={"content-type": kind}).json()
    assert [word["word"] for word in heard["words"]] == TEXT.split()
    assert len(heard["segments"]) == 1


@pytest.mark.parametrize("language", ["en", "en-US", "en_gb", "EN", "english", "English", "", " en "])
def test_languages_may_be_written_in_several_ways(http: httpx.Client, hello: bytes, language: str) -> None:
    answer = http.post(URL, files={"file": hello}, data={"language": language, "response_format": "verbose_json"})
    assert (answer.json()["language"], answer.json()["text"]) == ("english", TEXT)


async def test_parameters_reach_the_engine(make_app: MakeApp, engines: FakeEngines) -> None:
    fields = {
        "prompt": "Before.",
        "language": "de-DE",
        "temperature": "0.5",
        "hotwords": "one",
        "keywords[]": ["two", "three"],
    }
    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(URL, files={"file": wav(tone(440, 1))}, data=fields)
        assert answer.status_code == 200
        (asked,) = engines.recogniser.asked
        assert (asked.prompt, asked.language, asked.hotwords) == ("Before.", "de", "one, two, three")
        assert asked.temperatures == (0.5,)
        assert asked.task == "transcribe"
        one = await client.post(URL, files={"file": wav(tone(440, 1))}, data={"languages[]": ["es"]})
        two = await client.post(URL, files={"file": wav(tone(440, 1))}, data={"languages[]": ["es", "fr"]})
        assert (one.status_code, two.status_code) == (200, 200)
        assert [options.language for options in engines.recogniser.asked[1:]] == ["es", None]


async def test_an_upload_in_chunks_without_a_length(make_app: MakeApp) -> None:
    """As Open WebUI streams it."""
    body, kind = form(*parts_of(wav(tone(440, 2))))

    async def chunks() -> Any:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    async with serving(make_app()) as server, server.client() as client:
        answer = await client.post(URL, content=chunks(), headers={"content-type": kind})
        assert "content-length" not in answer.request.headers
        assert answer.json()["text"] == "hello"


async def test_events_are_lines_for_every_client(make_app: MakeApp, engines: FakeEngines) -> None:
    """httpx, for one, ends a line also at U+2028, U+0085 and others that a text may have in it."""
    engines.recogniser.says = "a\u2028b\x85c\u2029d\x0be\n f"
    async with serving(make_app()) as server, server.client() as client:
        files, data = {"file": wav(tone(440, 1))}, {"stream": "true"}
        async with client.stream("POST", URL, files=files, data=data) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        delta, done = (json.loads(line.removeprefix("data: ")) for line in lines)
        assert delta["delta"] == done["text"] == engines.recogniser.says


def test_json_as_open_webui_sends_it(http: httpx.Client, hello: bytes) -> None:
    data = base64.b64encode(hello).decode()
    for body in (
        {"model": "whisper-1", "language": "en", "input_audio": {"data": data, "format": "wav"}},
        {"model": "whisper-1", "language": "", "input_audio": {"data": data, "format": "mp3"}},
        {"model": "whisper-1", "language": None, "temperature": None, "file": data},
        {"file": f"data:audio/wav;base64,{data}"},
        {"file": base64.encodebytes(hello).decode()},  # in lines, as `base64 audio.wav` prints it
    ):
        assert http.post(URL, json=body).json()["text"] == TEXT


def test_raw_pcm_is_known_by_its_content_type(http: httpx.Client, hello: bytes) -> None:
    pcm = to_pcm16(recording(say(TEXT)))
    assert http.post(URL, files={"file": ("a.pcm", pcm, "audio/pcm")}).json()["text"] == TEXT
    data = base64.b64encode(pcm).decode()
    assert http.post(URL, json={"file": f"data:audio/pcm;base64,{data}"}).json()["text"] == TEXT


def test_large_json_is_taken_where_recordings_are(http: httpx.Client) -> None:
    """The detector's path begins like that of speech, which takes no more than the longest text."""
    data = base64.b64encode(wav(tone(440, 1))).decode()
    body = {"file": data, "padding": " " * 13_000_000}
    answer = http.post("/v1/audio/speech/timestamps", json=body)
    assert (answer.status_code, isinstance(answer.json(), list)) == (200, True)
    assert http.post("/v1/audio/speech", json={"input": "Hello.", "padding": " " * 13_000_000}).status_code == 413


def test_voice_activity_is_in_milliseconds(http: httpx.Client, say: Say) -> None:
    spoken = say(TEXT)
    answer = http.post("/v1/audio/speech/timestamps", files={"file": wav(recording(spoken, spoken, pause=2))})
    found = answer.json()
    assert [set(region) for region in found] == [{"start", "end"}] * 2
    seconds = len(spoken) / 16_000
    for region, start in zip(found, (2, 4 + seconds), strict=True):
        assert isinstance(region["start"], int)
        assert region["start"] == pytest.approx(start * 1000, abs=300)
        assert region["end"] == pytest.approx((start + seconds) * 1000, abs=500)


def test_voice_activity_is_found_as_well_after_minutes_of_silence(http: httpx.Client, say: Say) -> None:
    spoken = np.concatenate([say(TEXT), silence(1), say(TEXT)])

    def starts(pause: float) -> list[float]:
        answer = http.post(
            "/v1/audio/speech/timestamps", files={"file": wav(np.concatenate([silence(pause), spoken, silence(1)]))}
        )
        return [region["start"] - pause * 1000 for region in answer.json()]

    assert len(starts(1)) == 2
    assert starts(150) == pytest.approx(starts(1), abs=64)


async def curl(*arguments: str) -> bytes:
    program = shutil.which("curl")
    assert program, "curl is needed"
    process = await asyncio.create_subprocess_exec(program, "-sS", *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output


async def test_the_examples_of_whisper_api(server_url: str, hello: bytes, tmp_path: Path) -> None:
    recorded, spoken = tmp_path / "audio.wav", tmp_path / "speech.wav"
    recorded.write_bytes(hello)
    heard = await curl("-X", "POST", f"{server_url}{URL}", "-F", f"file=@{recorded}", "-F", "model=whisper-1")
    assert json.loads(heard)["text"] == TEXT
    body = {
        "model": "tts-1",
        "voice": "alloy",
        "input": "Today is a wonderful day to build something people love.",
        "response_format": "wav",
    }
    await curl(
        "-X",
        "POST",
        f"{server_url}/v1/audio/speech",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
        "--output",
        str(spoken),
    )
    assert spoken.read_bytes()[:4] == b"RIFF"


def test_without_stream_the_header_tells_the_true_length(http: httpx.Client) -> None:
    body = {"input": "Hello there. How are you? I am well.", "model": "speaches/espeak-ng", "response_format": "wav"}
    answer = http.post("/v1/audio/speech", json=body | {"stream": False})
    assert int(answer.headers["content-length"]) == len(answer.content)
    with wave.open(io.BytesIO(answer.content)) as file:
        assert file.getnframes() * 2 == len(answer.content) - 44


@pytest.mark.parametrize("model", [KOKORO, "speaches-test/piper-en_US-synth-medium", "speaches/espeak-ng"])
def test_odd_text_is_spoken_or_passed_over(http: httpx.Client, model: str) -> None:
    for text in (
        "\U0001f600",
        "...",
        "a\0b",
        "\u202e\u0301",
        "&#x0;<speak>",
        "\ud83d",
        "[[",
        "$1,000.50 @ 3:00",
        "word " * 100,
    ):
        body = json.dumps({"model": model, "input": text, "response_format": "wav"})
        answer = http.post("/v1/audio/speech", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.content[:4]) == (200, b"RIFF"), ascii(text)
        assert len(answer.content) > 44


@pytest.mark.parametrize(("speed", "rate"), [(0.25, 48_000), (1, 24_000), (4, 8000)])
def test_speed_and_sample_rate_in_every_format(http: httpx.Client, speed: float, rate: int) -> None:
    for name in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        body = {
            "input": "Hello there, world. How are you?",
            "speed": speed,
            "sample_rate": rate,
            "response_format": name,
            "model": "speaches/espeak-ng",
        }
        answer = http.post("/v1/audio/speech", json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.content) > 500

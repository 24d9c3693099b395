"""Every answer of a transcription: as OpenAI's SDK types have it, and as independent readers of subtitles read it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import av
import httpx
import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionStreamEvent,
    TranscriptionVerbose,
    Translation,
    TranslationVerbose,
)

from tests.api.conftest import MakeApp
from tests.api.serving import serving, sse, upload
from tests.api.test_openai_client import strictly
from tests.conftest import LONGEST_TEST
from tests.fakes import FakeEngines
from tests.recordings import Say, english_sentences, recording, tone, wav

TEXT = "Hello world, how are you today?"
SPANISH, MEANING = "Buenos días.", "Good morning."
URL = "/v1/audio/transcriptions"
# Beyond the SDK's types; OpenAI sends `task` too. `language` is that of a segment.
OURS = {"task", "speech_seconds", "language"}


@pytest.fixture(scope="module")
def hello(say: Say) -> bytes:
    return wav(recording(say(TEXT)))


@pytest.fixture(scope="module")
def spanish(say: Say) -> bytes:
    return wav(recording(say(SPANISH, "es", rate=175)))


def beyond(value: Any) -> set[str]:
    """Names of fields that the SDK's types do not have."""
    if isinstance(value, list):
        return {name for one in value for name in beyond(one)}
    if not isinstance(value, openai.BaseModel):
        return set()
    known = {name for one in type(value).model_fields for name in beyond(getattr(value, one))}
    return known | set(value.model_extra or {})


def read(kind: Any, body: bytes, ours: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    """A body as the SDK's type: nothing missing, nothing of another type, nothing it does not know."""
    value = strictly(kind, json.loads(body))
    assert beyond(value) == ours
    return value


def logprobs_spell(logprobs: Any, text: str) -> None:
    assert b"".join(bytes(map(int, one.bytes)) for one in logprobs).decode().strip() == text
    assert "".join(one.token for one in logprobs).strip() == text
    assert all(one.logprob <= 0 for one in logprobs)


# --- Whole answers ---


class Asking:
    """Both clients of the SDK, as one that is called in the same way."""

    def __init__(self, url: str, *, wait: bool) -> None:
        options: dict[str, Any] = {
            "base_url": f"{url}/v1",
            "api_key": "none",
            "max_retries": 0,
            "timeout": LONGEST_TEST,
        }
        self._client: Any = openai.OpenAI(**options) if wait else openai.AsyncOpenAI(**options)
        self._wait = wait

    async def create(self, what: str, **parameters: Any) -> Any:
        answer = getattr(self._client.audio, what).create(model="whisper-1", **parameters)
        return answer if self._wait else await answer

    async def body(self, what: str, **parameters: Any) -> bytes:
        """By `with_raw_response`, which must give the same when it is parsed."""
        answer = getattr(self._client.audio, what).with_raw_response.create(model="whisper-1", **parameters)
        raw = answer if self._wait else await answer
        assert raw.parse() is not None
        content: bytes = raw.content
        return content

    async def events(self, **parameters: Any) -> list[Any]:
        stream = await self.create("transcriptions", stream=True, **parameters)
        return list(stream) if self._wait else [event async for event in stream]

    async def close(self) -> None:
        if self._wait:
            self._client.close()
        else:
            await self._client.close()


@pytest.fixture(params=["sync", "async"])
def asking(server_url: str, request: pytest.FixtureRequest) -> Iterator[Asking]:
    yield Asking(server_url, wait=request.param == "sync")


async def test_json(asking: Asking, hello: bytes) -> None:
    body = await asking.body("transcriptions", file=("a.wav", hello), response_format="json")
    heard = read(Transcription, body)
    assert (heard.text, heard.logprobs, heard.usage.type) == (TEXT, None, "duration")
    assert (await asking.create("transcriptions", file=("a.wav", hello))).text == TEXT
    await asking.close()


async def test_json_with_log_probabilities(asking: Asking, hello: bytes) -> None:
    body = await asking.body("transcriptions", file=("a.wav", hello), include=["logprobs"], language="en")
    heard = read(Transcription, body)
    assert heard.text == TEXT
    logprobs_spell(heard.logprobs, TEXT)
    typed = await asking.create("transcriptions", file=("a.wav", hello), include=["logprobs"], language="en")
    logprobs_spell(typed.logprobs, TEXT)
    await asking.close()


async def test_verbose_json(asking: Asking, hello: bytes) -> None:
    parameters: dict[str, Any] = {"file": ("a.wav", hello), "response_format": "verbose_json"}
    body = await asking.body("transcriptions", timestamp_granularities=["word", "segment"], **parameters)
    heard = read(TranscriptionVerbose, body, OURS)
    assert (heard.text, heard.language, len(heard.segments)) == (TEXT, "english", 1)
    assert [word.word for word in heard.words] == TEXT.split()
    typed = await asking.create("transcriptions", **parameters)
    assert isinstance(typed, TranscriptionVerbose)
    assert (typed.text, typed.words, beyond(typed)) == (TEXT, None, OURS)
    await asking.close()


@pytest.mark.parametrize("name", ["text", "srt", "vtt"])
async def test_texts_are_strings(asking: Asking, hello: bytes, name: str) -> None:
    whole = await asking.create("transcriptions", file=("a.wav", hello), response_format=name)
    body = await asking.body("transcriptions", file=("a.wav", hello), response_format=name)
    assert isinstance(whole, str)
    assert (TEXT in whole, whole) == (True, body.decode())
    await asking.close()


@pytest.mark.parametrize("logprobs", [False, True])
async def test_events(asking: Asking, hello: bytes, logprobs: bool) -> None:
    include = {"include": ["logprobs"]} if logprobs else {}
    events = await asking.events(file=("a.wav", hello), language="en", **include)
    *deltas, done = [read(TranscriptionStreamEvent, event.to_json().encode()) for event in events]
    assert [event.type for event in (*deltas, done)] == ["transcript.text.delta"] * len(deltas) + [
        "transcript.text.done"
    ]
    assert "".join(event.delta for event in deltas) == done.text == TEXT
    if logprobs:
        logprobs_spell([one for event in deltas for one in event.logprobs], TEXT)
        logprobs_spell(done.logprobs, TEXT)
    else:
        assert {event.logprobs for event in events} == {None}
    usage = done.usage
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > usage.input_tokens > 0
    assert usage.input_token_details.audio_tokens + usage.input_token_details.text_tokens == usage.input_tokens
    await asking.close()


async def test_translations(asking: Asking, spanish: bytes) -> None:
    file = ("a.wav", spanish)
    assert read(Translation, await asking.body("translations", file=file), {"usage"}).text == MEANING
    body = await asking.body("translations", file=file, response_format="verbose_json")
    verbose = read(TranslationVerbose, body, OURS | {"usage"})
    assert (verbose.text, verbose.language, len(verbose.segments)) == (MEANING, "english", 1)
    for name in ("text", "srt", "vtt"):
        whole = await asking.create("translations", file=file, response_format=name)
        assert isinstance(whole, str)
        assert MEANING in whole
    await asking.close()


def test_translations_as_events(http: httpx.Client, spanish: bytes) -> None:
    """The SDK has no `stream` for translations; the events are those of transcriptions."""
    answer = http.post("/v1/audio/translations", **upload(spanish, stream="true"))
    *deltas, done = [read(TranscriptionStreamEvent, json.dumps(event).encode()) for event in sse(answer.text)]
    assert "".join(event.delta for event in deltas) == done.text == MEANING


async def test_a_stream_that_is_left_early_is_closed(server_url: str, hello: bytes) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0) as client:
        create = client.audio.transcriptions.with_streaming_response.create
        async with create(model="whisper-1", file=("a.wav", hello), stream=True) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert "transcript.text.delta" in await anext(answer.iter_lines())
        heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", hello))
        assert heard.text == TEXT


# --- Subtitles ---

Read = list[tuple[float, float, str]]


def by_ffmpeg(subtitles: str, name: str) -> Read:
    """(start, end, text) of each cue, by FFmpeg's own reader."""
    with av.open(io.BytesIO(subtitles.encode()), "r", format={"srt": "srt", "vtt": "webvtt"}[name]) as container:
        packets = [packet for packet in container.demux(container.streams.subtitles[0]) if packet.size]
    return [
        (
            float(packet.pts * packet.time_base),
            float((packet.pts + packet.duration) * packet.time_base),
            bytes(packet).decode(),
        )
        for packet in packets
    ]


def check_cues(cues: Read, duration: float, *, chars: int = 42, seconds: float = 7.0) -> None:
    place = 0.0
    for start, end, text in cues:
        assert place <= start < end <= duration + 0.05, text
        assert end - start <= seconds + 0.001, text
        lines = text.split("\n")
        assert len(lines) <= 2 and all(0 < len(line) <= chars for line in lines), text
        place = end - 0.041  # a word of no length is shown for a frame


@pytest.fixture(scope="module")
def minutes(say: Say) -> bytes:
    """More than a minute of sentences, several windows."""
    return wav(recording(*map(say, english_sentences()[:26]), pause=0.6))


def test_subtitles_of_a_long_recording_are_read_by_others(http: httpx.Client, minutes: bytes) -> None:
    duration = len(minutes) / 32_000
    assert duration > 65
    answers = {
        name: http.post(URL, **upload(minutes, response_format=name, language="en")).text
        for name in ("srt", "vtt", "text")
    }
    cues = {name: by_ffmpeg(answers[name], name) for name in ("srt", "vtt")}
    for read_back in cues.values():
        check_cues(read_back, duration)
        assert " ".join(text for _, _, text in read_back).split() == answers["text"].split()
    assert cues["srt"] == [(start, end, text) for start, end, text in cues["vtt"]]
    sentences = answers["text"].count(".") + answers["text"].count("?")
    assert len(cues["srt"]) >= sentences  # a cue ends with its sentence


@pytest.mark.parametrize(("chars", "seconds"), [(42, 7.0), (20, 3.0), (8, 0.5), (100, 20.0)])
async def test_cues_keep_to_their_limits_whatever_is_said(
    make_app: MakeApp, engines: FakeEngines, chars: int, seconds: float
) -> None:
    texts = iter(
        [
            "one, two three four five, six " * 20, "word", "a " * 100, "A short one. Another! And one more? Yes…",
            "odd <i>signs</i> & --> arrows \u2028 and\u00a0spaces", "", "the end",
        ] * 20
    )  # fmt: skip
    said: list[str] = []

    def says(window: Any) -> str:
        said.append(next(texts))
        return said[-1]

    engines.recogniser.says = says
    long = wav(recording(*[tone(440, 25, rate=8000)] * 7, pause=1.0), rate=8000)
    fields = {"language": "en", "max_cue_chars": str(chars), "max_cue_seconds": str(seconds)}
    async with serving(make_app()) as server, server.client() as client:
        for name in ("srt", "vtt"):
            said.clear()
            answer = await client.post(URL, **upload(long, response_format=name, **fields))
            cues = by_ffmpeg(answer.text, name)
            texts_read = " ".join(text for _, _, text in cues)
            if name == "vtt":
                texts_read = texts_read.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
                cues = [(a, b, t.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")) for a, b, t in cues]
            assert texts_read.split() == " ".join(said).replace("-->", "->").split()
            check_cues(cues, 190, chars=max(chars, 15), seconds=seconds)

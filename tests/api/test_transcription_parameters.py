"""Every parameter of a transcription, in every way it may be written: what reaches the engine, and what is refused."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import pytest

from speaches.engines.base import SAMPLE_RATE, DecodeOptions
from tests.api.conftest import MakeApp
from tests.api.serving import Serving, form, serving, sse
from tests.api.test_bad_input import SECOND, Row, ask, check, send_form, send_json
from tests.fakes import FakeEngines
from tests.recordings import silence, tone, wav

URL = "/v1/audio/transcriptions"
TRANSLATIONS = "/v1/audio/translations"
Pairs = list[tuple[str, str]]
DEFAULTS = DecodeOptions()


async def sent(server: Serving, pairs: Pairs, audio: bytes = SECOND, path: str = URL) -> tuple[int, bytes]:
    """The answer to a form with these fields."""
    body, kind = form(*((name, value.encode()) for name, value in pairs), ("file", audio, "a.wav", "audio/wav"))
    async with server.send(f"POST {path}", body, content_type=kind) as connection:
        status, _, answer = await connection.answer()
        return status, answer


async def sent_as_json(server: Serving, fields: dict[str, Any], audio: bytes = SECOND) -> tuple[int, bytes]:
    body = {"file": base64.b64encode(audio).decode()} | fields
    status, _, answer = await ask(server, send_json(f"POST {URL}", body))
    return status, answer


# --- What reaches the engine ---


@dataclass(frozen=True)
class Reaches:
    """Ways to write a parameter, and the option that the engine gets by it."""

    option: str
    value: Any
    pairs: tuple[Pairs, ...]
    json: tuple[dict[str, Any], ...] = ()


REACHES = [
    Reaches(
        "language",
        "en",
        ([("language", "en")], [("language", "en-US")], [("language", "English")]),
        ({"language": "en"},),
    ),
    Reaches(
        "language",
        "de",
        ([("languages[]", "de")], [("languages", "german")]),
        ({"languages": ["de"]}, {"languages": "de"}),
    ),
    Reaches(
        "language", None, ([("language", "Auto")], [("advanced", '{"language": "auto"}')]), ({"language": "detect"},)
    ),
    Reaches("language", "es", ([("language", "spa")],), ({"language": "es-419"},)),
    Reaches("language", None, ([("language", "")], []), ({"language": None}, {"language": ""}, {"languages": [""]})),
    Reaches(
        "candidates",
        ("es", "fr"),
        (
            [("languages[]", "es"), ("languages[]", "fr")],
            [("languages", "es"), ("languages", "fr")],
            [("languages", "es,fr")],
            [("languages[]", "es"), ("languages", "french"), ("languages[]", "es-MX")],
        ),
        ({"languages": ["es", "fr"]}, {"languages": "es, fr"}, {"languages": ["es", "fr"], "language": None}),
    ),
    Reaches("prompt", "Before.", ([("prompt", "Before.")],), ({"prompt": "Before."},)),
    # The others of the ladder follow where a text is doubtful.
    Reaches("temperatures", (0.0,), ([("temperature", "0")], []), ({"temperature": 0}, {"temperature": None})),
    Reaches("temperatures", (0.3,), ([("temperature", "0.3")],), ({"temperature": 0.3},)),
    Reaches("temperatures", (1.0,), ([("temperature", "1")],), ({"temperature": 1},)),
    Reaches("beam_size", 1, ([("beam_size", "1")],), ({"beam_size": 1}, {"beam_size": "1"})),
    Reaches("beam_size", 5, ([],), ({},)),
    Reaches("hotwords", "one two", ([("hotwords", "one two")],), ({"hotwords": "one two"},)),
    Reaches(
        "hotwords",
        "a, b",
        ([("keywords[]", "a"), ("keywords[]", "b")], [("keywords", "a,b")]),
        ({"keywords": ["a", "b"]},),
    ),
    Reaches(
        "hotwords",
        "one, a, b",
        ([("keywords[]", "a"), ("hotwords", "one"), ("keywords[]", "b")],),
        ({"hotwords": "one", "keywords": "a,b"},),
    ),
    Reaches("hotwords", None, ([("hotwords", ""), ("keywords[]", "")],), ({"keywords": []}, {"hotwords": None})),
    Reaches("timestamps", False, ([("without_timestamps", "true")],), ({"without_timestamps": True},)),
    Reaches("timestamps", True, ([("without_timestamps", "false")], []), ({"without_timestamps": False},)),
    Reaches(
        "logprobs",
        True,
        ([("include[]", "logprobs")], [("include", "logprobs")]),
        ({"include": ["logprobs"]}, {"include": "logprobs"}),
    ),
    Reaches("logprobs", False, ([],), ({"include": []},)),
    Reaches(
        "words",
        True,
        (
            [("response_format", "verbose_json"), ("timestamp_granularities[]", "word")],
            [("response_format", "srt")],
            [("response_format", "vtt"), ("timestamp_granularities", "word")],
            [("response_format", "vtt"), ("timestamp_granularities", "segment")],
        ),
        ({"response_format": "verbose_json", "timestamp_granularities": ["segment", "word"]},),
    ),
    Reaches(
        "beam_size",
        2,
        ([("advanced", '{"beam_size": 2}')], [("advanced[beam_size]", "2")]),
        ({"advanced": {"beam_size": 2}},),
    ),
    Reaches(
        "beam_size",
        3,
        ([("advanced", '{"beam_size": 2}'), ("beam_size", "3")],),
        ({"advanced": {"beam_size": 2}, "beam_size": 3},),
    ),
    Reaches(
        "beam_size",
        2,
        ([("advanced", '{"beam_size": 2}'), ("beam_size", "")],),
        ({"advanced": {"beam_size": 2}, "beam_size": None},),
    ),
    Reaches(
        "language",
        "de",
        ([("advanced", '{"language": "de"}'), ("language", "")],),
        ({"advanced": {"language": "de"}, "language": ""},),
    ),
    Reaches(
        "beam_size",
        5,
        ([("advanced", "true")], [("advanced", "false")]),
        ({"advanced": True}, {"advanced": False}, {"advanced": {}}),
    ),
    Reaches(
        "hotwords",
        "a, b",
        ([("advanced", '{"keywords": ["a", "b"], "unheard_of": [1]}')],),
        ({"advanced": {"keywords": "a,b"}},),
    ),
    Reaches(
        "task",
        "transcribe",
        ([("unheard_of", "1"), ("task", "translate"), ("stream_options[a]", "b")],),
        ({"unheard_of": {"a": 1}},),
    ),
    Reaches("short_window", True, ([],), ({},)),
]


async def test_parameters_reach_the_engine_however_they_are_written(make_app: MakeApp, engines: FakeEngines) -> None:
    wrong = []
    async with serving(make_app()) as server:
        for row in REACHES:
            ways = [(str(pairs), sent(server, pairs)) for pairs in row.pairs]
            ways += [(json.dumps(fields), sent_as_json(server, fields)) for fields in row.json]
            for what, request in ways:
                engines.recogniser.calls.clear()
                status, answer = await request
                got = [getattr(asked, row.option) for asked in engines.recogniser.asked]
                if status != 200 or got != [row.value]:
                    wrong.append(f"{what}: {status} {row.option}={got} {answer[:200]!r}")
    assert wrong == []


async def test_what_nobody_asked_for_is_as_the_engine_has_it(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app()) as server:
        await sent(server, [])
        # Each window is heard once, with words: by their times it is seen whether any are missing.
        assert engines.recogniser.asked == [replace(DEFAULTS, temperatures=(0.0,), words=True, short_window=True)]


async def test_a_short_window_is_the_servers_choice(make_app: MakeApp, engines: FakeEngines) -> None:
    async with serving(make_app(encoder_window="full")) as server:
        await sent(server, [])
        assert [asked.short_window for asked in engines.recogniser.asked] == [False]


async def test_a_translation_takes_what_makes_sense_for_it(make_app: MakeApp, engines: FakeEngines) -> None:
    pairs = [
        ("prompt", "Before."),
        ("temperature", "0.9"),
        ("beam_size", "2"),
        ("hotwords", "one"),
        ("language", "de"),
        ("response_format", "srt"),
    ]
    async with serving(make_app()) as server:
        status, _ = await sent(server, pairs, path=TRANSLATIONS)
        (asked,) = engines.recogniser.asked
        assert (status, asked.task, asked.language) == (200, "translate", None)
        assert (asked.prompt, asked.temperatures, asked.beam_size, asked.hotwords) == ("Before.", (0.9,), 2, "one")
        assert asked.words


async def test_previous_text_is_told_when_it_is_asked_for(make_app: MakeApp, engines: FakeEngines) -> None:
    long = wav(np.concatenate([tone(440, 13.8), silence(1), tone(440, 13.8)]))
    numbers = iter("abcdefgh")
    engines.recogniser.says = lambda window: next(numbers)
    async with serving(make_app()) as server:
        for value, told in (("true", "a"), ("false", None)):
            engines.recogniser.calls.clear()
            await sent(server, [("condition_on_previous_text", value)], long)
            assert [asked.prompt for asked in engines.recogniser.asked] == [None, told]


# --- The detector's numbers, by their effect ---

TALK = np.concatenate([silence(2), tone(440, 2), silence(0.5), tone(440, 2), silence(2)])


@dataclass(frozen=True)
class Effect:
    """Ways to say what the detector is to do, and the seconds of speech that are left by it."""

    seconds: float
    pairs: tuple[Pairs, ...]
    json: tuple[dict[str, Any], ...] = ()


EFFECTS = [
    Effect(
        5.3,
        ([], [("chunking_strategy", "auto")], [("chunking_strategy", "")], [("chunking_strategy[type]", "server_vad")]),
        ({"chunking_strategy": "auto"}, {"chunking_strategy": None}, {"chunking_strategy": {"type": "server_vad"}}),
    ),
    Effect(8.5, ([("vad_filter", "false")],), ({"vad_filter": False},)),
    Effect(
        4.0,
        (
            [("chunking_strategy[type]", "server_vad"), ("chunking_strategy[prefix_padding_ms]", "0")],
            [("chunking_strategy", '{"type": "server_vad", "prefix_padding_ms": 0}')],
            [("vad_parameters", '{"speech_pad_ms": 0}')],
            [("vad_parameters[speech_pad_ms]", "0")],
            [("advanced", '{"vad_parameters": {"speech_pad_ms": 0}}')],
            [("chunking_strategy[prefix_padding_ms]", "300"), ("vad_parameters[speech_pad_ms]", "0")],
        ),
        (
            {"chunking_strategy": {"type": "server_vad", "prefix_padding_ms": 0}},
            {"vad_parameters": {"speech_pad_ms": 0}},
            {"vad_parameters": '{"speech_pad_ms": 0}'},
            {"advanced": {"chunking_strategy": {"prefix_padding_ms": 0}}},
        ),
    ),
    Effect(
        4.5,
        (
            [("chunking_strategy[prefix_padding_ms]", "0"), ("chunking_strategy[silence_duration_ms]", "700")],
            [("vad_parameters", '{"speech_pad_ms": 0, "min_silence_duration_ms": 700}')],
        ),
        ({"chunking_strategy": {"prefix_padding_ms": 0, "silence_duration_ms": 700}},),
    ),
    Effect(
        0.0,
        ([("vad_parameters", '{"min_speech_duration_ms": 3000}')],),
        ({"vad_parameters": {"min_speech_duration_ms": 3000}},),
    ),
    Effect(
        8.5,
        ([("chunking_strategy[threshold]", "0"), ("vad_parameters[neg_threshold]", "0")],),
        ({"chunking_strategy": {"threshold": 0}},),
    ),
    Effect(8.5, ([("chunking_strategy[prefix_padding_ms]", "100000")], [("vad_parameters[speech_pad_ms]", "1e300")])),
]


async def test_the_detector_obeys_however_it_is_told(make_app: MakeApp, engines: FakeEngines) -> None:
    audio, wrong = wav(TALK), []
    async with serving(make_app()) as server:
        for row in EFFECTS:
            ways = [(str(pairs), sent(server, pairs, audio)) for pairs in row.pairs]
            ways += [(json.dumps(fields), sent_as_json(server, fields, audio)) for fields in row.json]
            for what, request in ways:
                engines.recogniser.calls.clear()
                status, answer = await request
                seconds = sum(len(window.samples) for window in engines.recogniser.heard) / SAMPLE_RATE
                if status != 200 or seconds != pytest.approx(row.seconds, abs=0.15):
                    wrong.append(f"{what}: {status} {seconds} s {answer[:200]!r}")
        assert server.log.tracebacks() == []
    assert wrong == []


async def test_long_speech_is_cut_as_it_is_asked_for(make_app: MakeApp, engines: FakeEngines) -> None:
    audio = wav(np.concatenate([tone(440, 9), silence(0.12), tone(440, 9)]))
    async with serving(make_app()) as server:
        status, body = await sent(
            server,
            [
                ("vad_parameters", '{"max_speech_duration_s": 11, "speech_pad_ms": 0}'),
                ("response_format", "verbose_json"),
            ],
            audio,
        )
        assert (status, json.loads(body)["speech_seconds"]) == (200, pytest.approx(18, abs=0.2))


async def test_cues_are_as_long_as_they_are_asked_to_be(make_app: MakeApp, engines: FakeEngines) -> None:
    engines.recogniser.says = "one two three four five six seven eight nine ten"
    async with serving(make_app()) as server:
        for pairs, cues in (([], 1), ([("max_cue_chars", "8")], 4), ([("max_cue_seconds", "0.5")], 2)):
            status, body = await sent(server, [("response_format", "srt"), *pairs])
            assert (status, body.count(b" --> ")) == (200, cues)
            assert b" ".join(body.replace(b"\n", b" ").split()).count(b"ten") == 1


# --- What is refused ---


def refused(what: str, param: str, word: str, pairs: Pairs, code: str = "invalid_value", path: str = URL) -> Row:
    parts = [(name, value.encode()) for name, value in pairs]
    return Row(what, send_form(f"POST {path}", *parts, ("file", SECOND, "a", "audio/wav")), 400, code, param, word)


def refused_json(what: str, param: str, word: str, fields: dict[str, Any]) -> Row:
    body = {"file": base64.b64encode(SECOND).decode()} | fields
    return Row(what, send_json(f"POST {URL}", body), 400, "invalid_value", param, word)


TIMES = "timestamp_granularities"
REFUSED = [
    *(
        refused(f"times with {name}", TIMES, "verbose_json", [("response_format", name), (f"{TIMES}[]", "word")])
        for name in ("json", "text")
    ),
    refused("times without a format", TIMES, "verbose_json", [(f"{TIMES}[]", "word")]),
    refused(
        "times of letters",
        TIMES,
        "'word' or 'segment'",
        [("response_format", "verbose_json"), (f"{TIMES}[]", "letter")],
    ),
    *(
        refused(f"logprobs with {name}", "include", "json", [("response_format", name), ("include[]", "logprobs")])
        for name in ("text", "srt", "vtt", "verbose_json")
    ),
    refused("unknown include", "include", "logprobs", [("include[]", "everything")]),
    refused(
        "diarized_json", "response_format", "not yet", [("response_format", "diarized_json")], code="unsupported_value"
    ),
    refused("beam_size 0", "beam_size", "1", [("beam_size", "0")]),
    refused("beam_size 21", "beam_size", "20", [("beam_size", "21")]),
    refused("beam_size five", "beam_size", "integer", [("beam_size", "five")]),
    refused("beam_size 1.5", "beam_size", "integer", [("beam_size", "1.5")]),
    refused("an unknown language", "language", "'xx'", [("language", "xx")]),
    refused("an unknown language among others", "languages", "'xx'", [("languages[]", "en"), ("languages[]", "xx")]),
    refused("one unknown language in a list", "languages", "'xx'", [("languages[]", "xx")]),
    refused("a language the model lacks", "language", "de, en, es, fr", [("language", "ja")]),
    refused(
        "a listed language the model lacks",
        "languages",
        "de, en, es, fr",
        [("languages[]", "en"), ("languages[]", "ja")],
    ),
    refused("one listed language the model lacks", "languages", "de, en, es, fr", [("languages[]", "ja")]),
    refused("two languages as one", "language", "string", [("language", "en"), ("language", "de")]),
    refused("temperature 1.1", "temperature", "1", [("temperature", "1.1")]),
    refused("temperature -1", "temperature", "0", [("temperature", "-1")]),
    refused("vad_filter perhaps", "vad_filter", "boolean", [("vad_filter", "perhaps")]),
    refused("stream perhaps", "stream", "boolean", [("stream", "perhaps")]),
    refused("condition perhaps", "condition_on_previous_text", "boolean", [("condition_on_previous_text", "7")]),
    refused("without_timestamps perhaps", "without_timestamps", "boolean", [("without_timestamps", "x")]),
    refused("no room in a cue", "max_cue_chars", "8", [("max_cue_chars", "7")]),
    refused("no time in a cue", "max_cue_seconds", "0.5", [("max_cue_seconds", "0")]),
    refused("a cue for ever", "max_cue_seconds", "60", [("max_cue_seconds", "inf")]),
    refused(
        "a chunking of another kind", "chunking_strategy", "server_vad", [("chunking_strategy[type]", "semantic_vad")]
    ),
    refused("a chunking that is a word", "chunking_strategy", "JSON object", [("chunking_strategy", "server_vad")]),
    refused("a chunking that is a number", "chunking_strategy", "JSON object", [("chunking_strategy", "5")]),
    refused(
        "a chunking threshold of 2", "chunking_strategy", "threshold should", [("chunking_strategy[threshold]", "2")]
    ),
    refused(
        "a chunking of endless padding",
        "chunking_strategy",
        "prefix_padding_ms should",
        [("chunking_strategy[prefix_padding_ms]", "inf")],
    ),
    refused(
        "a chunking of no padding",
        "chunking_strategy",
        "prefix_padding_ms should",
        [("chunking_strategy[prefix_padding_ms]", "-1")],
    ),
    refused(
        "endless silence",
        "chunking_strategy",
        "silence_duration_ms",
        [("chunking_strategy", '{"silence_duration_ms": Infinity}')],
    ),
    refused("vad_parameters that are no object", "vad_parameters", "JSON object", [("vad_parameters", "[1]")]),
    refused("vad_parameters that are no JSON", "vad_parameters", "JSON object", [("vad_parameters", "threshold=0.5")]),
    refused("deep vad_parameters", "vad_parameters", "JSON object", [("vad_parameters", "[" * 5000)]),
    refused(
        "an unknown vad parameter",
        "vad_parameters",
        "'treshold' is none of its fields: threshold",
        [("vad_parameters[treshold]", "1")],
    ),
    refused(
        "the same as JSON", "vad_parameters", "min_silence_duration_ms", [("vad_parameters", '{"min_silence_ms": 1}')]
    ),
    refused(
        "a vad threshold of 2", "vad_parameters", "threshold should be less", [("vad_parameters", '{"threshold": 2}')]
    ),
    refused(
        "speech over what Whisper hears at once",
        "vad_parameters",
        "30",
        [("vad_parameters[max_speech_duration_s]", "31")],
    ),
    refused("no speech", "vad_parameters", "max_speech_duration_s", [("vad_parameters[max_speech_duration_s]", "0")]),
    refused("vad NaN", "vad_parameters", "threshold", [("vad_parameters", '{"threshold": NaN}')]),
    refused("advanced that is a list", "advanced", "JSON object", [("advanced", "[1]")]),
    refused("advanced twice", "advanced", "JSON object", [("advanced", "{}"), ("advanced", "{}")]),
    refused("advanced that is a word", "advanced", "JSON object", [("advanced", "fast")]),
    refused("advanced that is a number", "advanced", "JSON object", [("advanced", "7")]),
    refused("a wrong value in advanced", "beam_size", "20", [("advanced", '{"beam_size": 99}')]),
    refused(
        "a contradiction in advanced",
        "include",
        "json",
        [("advanced", '{"include": ["logprobs"], "response_format": "srt"}')],
    ),
    refused_json("keywords of numbers", "keywords", "string", {"keywords": [1]}),
    refused_json("languages of numbers", "languages", "string", {"languages": [1]}),
    refused_json("a language that is a list", "language", "string", {"language": ["en"]}),
    refused_json("a prompt that is an object", "prompt", "string", {"prompt": {}}),
    refused_json("advanced that is a list in JSON", "advanced", "JSON object", {"advanced": [1]}),
    refused_json("a format that is a number", "response_format", "verbose_json", {"response_format": 1}),
    refused(
        "translated diarized_json",
        "response_format",
        "not yet",
        [("response_format", "diarized_json")],
        "unsupported_value",
        path=TRANSLATIONS,
    ),
    refused("translation, temperature 2", "temperature", "1", [("temperature", "2")], path=TRANSLATIONS),
]


async def test_what_is_wrong_or_contradicts_itself_is_named(make_app: MakeApp) -> None:
    async with serving(make_app()) as server:
        await check(server, REFUSED)


@pytest.mark.parametrize("stream", ["true", "false"])
async def test_a_translation_by_a_model_of_english_alone_is_refused(
    make_app: MakeApp, engines: FakeEngines, stream: str
) -> None:
    engines.recogniser.translates, engines.recogniser.languages = False, ("en",)
    table = [
        refused("translate", "model", "translate", [("stream", stream)], "unsupported_value", TRANSLATIONS),
        refused("another language", "language", "understands: en", [("language", "de"), ("stream", stream)]),
    ]
    async with serving(make_app()) as server:
        await check(server, table)


async def test_streams_ignore_the_format_and_have_logprobs_only_when_asked(
    make_app: MakeApp, engines: FakeEngines
) -> None:
    async with serving(make_app()) as server, server.client() as client:
        for name in ("json", "text", "srt", "vtt", "verbose_json", "lrc", "tsv"):
            answer: httpx.Response = await client.post(
                URL, files={"file": SECOND}, data={"stream": "true", "response_format": name}
            )
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert [set(event) for event in sse(answer.text)] == [{"type", "delta"}, {"type", "text", "usage"}]

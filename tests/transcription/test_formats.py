from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)

from speaches.engines.base import Segment, TokenLogprob, Word
from speaches.text.cues import CueOptions
from speaches.transcription import formats
from speaches.transcription.transcribe import Outcome

SEGMENTS = [
    Segment(
        " Hello world.", 0.5, 1.5, tokens=(1, 2), words=(Word(" Hello", 0.5, 0.9, 0.9), Word(" world.", 0.9, 1.5, 0.8))
    ),
    Segment(" And <on> & on.", 2.0, 3.25, tokens=(3,), avg_logprob=-0.5, words=(Word(" And", 2.0, 2.5, 0.7),)),
]
OUTCOME = Outcome("en", 4.6, 2.25)


def verbose(*, task: str = "transcribe", words: bool = False, with_segments: bool = True) -> dict[str, object]:
    return formats.as_verbose_json(SEGMENTS, OUTCOME, task=task, words=words, with_segments=with_segments)


def test_json_is_the_text_and_what_it_costs() -> None:
    answer = formats.as_json(SEGMENTS, OUTCOME)
    assert answer == {"text": "Hello world. And <on> & on.", "usage": {"type": "duration", "seconds": 5}}
    assert Transcription.model_validate(answer, strict=True).text == answer["text"]


def test_verbose_json_is_what_openais_sdk_takes() -> None:
    parsed = TranscriptionVerbose.model_validate(verbose(words=True))
    assert (parsed.language, parsed.duration) == ("english", 4.6)
    assert parsed.segments and [segment.id for segment in parsed.segments] == [0, 1]
    assert parsed.segments[1].seek == 200
    assert parsed.words and [word.word for word in parsed.words] == ["Hello", "world.", "And"]


def test_segments_and_words_are_there_only_where_asked_for() -> None:
    assert "words" not in verbose()
    assert "segments" not in verbose(with_segments=False)


def test_a_translation_is_english_whatever_was_said() -> None:
    answer = formats.as_verbose_json(SEGMENTS, Outcome("de", 1.0), task="translate", words=False, with_segments=True)
    assert (answer["task"], answer["language"]) == ("translate", "english")


def as_text(name: str, segments: Sequence[Segment] = SEGMENTS, **options: float) -> str:
    return formats.as_text(name, segments, CueOptions(**options))  # type: ignore[arg-type]


def test_text_is_one_line_that_ends() -> None:
    assert as_text("text") == "Hello world. And <on> & on.\n"
    assert as_text("text", []) == "\n"


def test_subtitles_have_the_times_of_words() -> None:
    assert as_text("srt").splitlines()[:3] == ["1", "00:00:00,500 --> 00:00:01,500", "Hello world."]
    assert as_text("vtt", []) == "WEBVTT\n\n"


def test_lrc_has_a_line_for_each_cue() -> None:
    assert as_text("lrc") == "[00:00.50]Hello world.\n[00:02.00]And\n[00:02.80]\n"
    assert as_text("lrc", []) == ""


def test_a_table_is_whispers() -> None:
    assert as_text("tsv") == "start\tend\ttext\n500\t1500\tHello world.\n2000\t3250\tAnd <on> & on.\n"
    assert as_text("tsv", []) == "start\tend\ttext\n"


def test_a_table_can_be_read_whatever_was_said() -> None:
    said = ['"Yes', 'a "b" c', '"Quoted," she said.', "a\tb\nc\rd\u2028e", "'", "=1+1"]
    segments = [Segment(f" {text}", 1.0005 * number, number + 1) for number, text in enumerate(said)]
    rows = list(csv.reader(io.StringIO(as_text("tsv", segments)), delimiter="\t"))
    assert [row[2] for row in rows[1:]] == [" ".join(text.split()) for text in said]
    assert [row[:2] for row in rows[1:3]] == [["0", "1000"], ["1000", "2000"]]


def test_segments_have_the_language_that_is_spoken_in_them() -> None:
    mixed = [Segment(" Hola.", 0, 1, language="es"), Segment(" Hello.", 1, 2, language="en"), Segment(" Salut.", 2, 3)]
    answer = formats.as_verbose_json(mixed, Outcome("fr", 3.0), task="transcribe", words=False, with_segments=True)
    assert [one["language"] for one in answer["segments"]] == ["spanish", "english", "french"]
    assert TranscriptionVerbose.model_validate(answer).language == "french"
    answer = formats.as_verbose_json(mixed, Outcome("fr", 3.0), task="translate", words=False, with_segments=True)
    assert {one["language"] for one in answer["segments"]} == {"english"}


def test_subtitles_of_a_recogniser_without_word_times_share_the_segments_time() -> None:
    segment = Segment(" One two, <three> & four.", 1.0, 3.0)
    assert as_text("vtt", [segment], max_chars=9).splitlines() == [
        "WEBVTT",
        "",
        "00:00:01.000 --> 00:00:02.500",
        "One two,",
        "&lt;three&gt; &amp;",
        "",
        "00:00:02.500 --> 00:00:03.300",
        "four.",
        "",
    ]


def test_the_deltas_of_a_stream_are_its_text() -> None:
    text = formats.StreamedText()
    deltas = [text.delta(segment) for segment in SEGMENTS]
    done = text.done(OUTCOME)
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == "Hello world. And <on> & on."
    assert all(TranscriptionTextDeltaEvent.model_validate(delta) for delta in deltas)
    usage = TranscriptionTextDoneEvent.model_validate(done).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (230, 3, 233)


def test_log_probabilities_are_there_only_where_asked_for() -> None:
    segment = Segment(" Hé", 0, 1, logprobs=(TokenLogprob(" H", b" H", -0.1), TokenLogprob("\ufffd", b"\xc3", -0.2)))
    wanted = [{"token": " H", "bytes": [32, 72], "logprob": -0.1}, {"token": "\ufffd", "bytes": [195], "logprob": -0.2}]
    answer = formats.as_json([segment], OUTCOME, logprobs=True)
    assert answer["logprobs"] == wanted
    assert Transcription.model_validate(answer, strict=True).logprobs is not None
    assert "logprobs" not in formats.as_json([segment], OUTCOME)
    text = formats.StreamedText(logprobs=True)
    assert text.delta(segment)["logprobs"] == wanted
    assert TranscriptionTextDoneEvent.model_validate(text.done(OUTCOME)).logprobs is not None

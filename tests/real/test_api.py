"""The API of speech to text with real weights and human speech: formats, and languages that a recording goes through."""

from __future__ import annotations

import csv
import io
import re

import httpx
import numpy as np
import openai
import pytest

from tests.real.conftest import Transcribe
from tests.real.recordings import HELLO, JFK, OTHERS, silence
from tests.recordings import wav


def seconds(times: str) -> float:
    minutes, rest = times.split(":")
    return int(minutes) * 60 + float(rest)


def test_every_text_format_has_the_same_words_and_times(client: openai.OpenAI, transcribe: Transcribe) -> None:
    verbose = transcribe(JFK.samples, response_format="verbose_json", beam_size=1)
    said = " ".join(verbose["text"].split())
    file = ("jfk.wav", wav(JFK.samples))
    answers = {
        name: str(
            client.audio.transcriptions.create(
                model="whisper-1", file=file, language="en", response_format=name, extra_body={"beam_size": 1}
            )  # type: ignore[call-overload]
        )
        for name in ("lrc", "tsv", "srt")
    }
    rows = list(csv.DictReader(io.StringIO(answers["tsv"]), delimiter="\t"))
    assert " ".join(row["text"] for row in rows) == said
    assert [(int(row["start"]), int(row["end"])) for row in rows] == [
        (round(one["start"] * 1000), round(one["end"] * 1000)) for one in verbose["segments"]
    ]
    lines = re.findall(r"^\[(\d\d:\d\d\.\d\d)\] ?(.*)$", answers["lrc"], re.MULTILINE)
    assert " ".join(text for _, text in lines if text) == said
    assert [seconds(time) for time, _ in lines] == sorted(seconds(time) for time, _ in lines)
    assert lines[-1][1] == ""
    starts = [seconds(start[3:].replace(",", ".")) for start in re.findall(r"^(.*) -->", answers["srt"], re.MULTILINE)]
    assert starts == pytest.approx([seconds(time) for time, text in lines if text], abs=0.006)


def test_each_segment_has_the_language_that_is_spoken_in_it(transcribe: Transcribe) -> None:
    spanish = np.concatenate([one.samples for one in OTHERS if one.language == "es"])
    mixed = np.concatenate([spanish, silence(6), JFK.samples, silence(6), spanish])
    answer = transcribe(mixed, language="auto", beam_size=1, response_format="verbose_json")
    for segment in answer["segments"]:
        middle = (segment["start"] + segment["end"]) / 2
        is_english = len(spanish) < middle * 16_000 - 3 * 16_000 < len(spanish) + len(JFK.samples) + 6 * 16_000
        assert segment["language"] == ("english" if is_english else "spanish"), segment
    assert {segment["language"] for segment in answer["segments"]} == {"english", "spanish"}


def test_a_language_may_be_called_by_three_letters(transcribe: Transcribe) -> None:
    assert transcribe(HELLO.samples, language="eng") == transcribe(HELLO.samples, language="en")


def test_an_upload_that_is_no_audio_is_openais_error(client: openai.OpenAI, http: httpx.Client) -> None:
    with pytest.raises(openai.BadRequestError, match="Invalid file format"):
        client.audio.transcriptions.create(model="whisper-1", file=("a.mp3", b"no audio at all"))
    answer = http.post(
        "/v1/audio/transcriptions", files={"file": wav(silence(1))}, data={"backend": "x", "diarize": "false"}
    )
    assert (answer.status_code, answer.headers["x-ignored-parameters"]) == (200, "backend")

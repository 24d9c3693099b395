"""Segments -> the answers of OpenAI's transcription API. Rules only.

Shapes: openai-python `types/audio/transcription.py`, `transcription_verbose.py`, `transcription_stream_event.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from speaches.engines.base import Segment
from speaches.text import subtitles
from speaches.text.cues import CueOptions, Spoken, cues
from speaches.transcription.languages import name_of
from speaches.transcription.transcribe import Outcome

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt", "lrc", "tsv"]
SUBTITLES = ("srt", "vtt", "lrc")
"""Those that are made of cues."""
CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "lrc": "text/x-lrc; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
}


def text_of(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments).strip()


def usage(outcome: Outcome) -> dict[str, Any]:
    """What OpenAI bills whisper-1 by: whole seconds."""
    return {"type": "duration", "seconds": round(outcome.duration)}


def as_json(segments: Sequence[Segment], outcome: Outcome, *, logprobs: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": text_of(segments)}
    if logprobs:
        answer["logprobs"] = _logprobs(segments)
    return answer | {"usage": usage(outcome)}


def as_verbose_json(
    segments: Sequence[Segment], outcome: Outcome, *, task: str, words: bool, with_segments: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": task,
        "language": _language(outcome.language, task),
        "duration": round(outcome.duration, 3),
        "speech_seconds": outcome.speech_seconds,
        "text": text_of(segments),
    }
    if with_segments:
        answer["segments"] = [
            _segment(number, segment) | {"language": _language(segment.language or outcome.language, task)}
            for number, segment in enumerate(segments)
        ]
    if words:
        answer["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for segment in segments
            for word in segment.words
        ]
    return answer | {"usage": usage(outcome)}


def _language(code: str, task: str) -> str:
    """The full name of the language that a text is in, as OpenAI has it."""
    return "english" if task == "translate" else name_of(code)


def as_text(name: str, segments: Sequence[Segment], options: CueOptions, duration: float = math.inf) -> str:
    """`text`, `tsv`, or subtitles of a recording of `duration` seconds."""
    if name == "text":
        return text_of(segments) + "\n"
    if name == "tsv":
        return as_tsv(segments)
    made = cues((spoken for segment in segments for spoken in _spoken(segment)), options, duration)
    return {"srt": subtitles.srt, "vtt": subtitles.vtt, "lrc": subtitles.lrc}[name](made)


def as_tsv(segments: Sequence[Segment]) -> str:
    """A table of segments as openai/whisper writes it: start and end in milliseconds, and the text."""
    rows = [f"{round(one.start * 1000)}\t{round(one.end * 1000)}\t{_cell(one.text)}\n" for one in segments]
    return "".join(["start\tend\ttext\n", *rows])


def _cell(text: str) -> str:
    """A text in a table. One that begins with a quote has to be quoted, else readers of tables look for the other one in later rows."""
    text = " ".join(text.split())
    return '"' + text.replace('"', '""') + '"' if text.startswith('"') else text


def _spoken(segment: Segment) -> Iterator[Spoken]:
    """The words of a segment. Where the recogniser gives no times for them, each takes its share of the segment's by its length."""
    if segment.words:
        for number, word in enumerate(segment.words):
            # A segment's first word is never part of the word before it.
            text = word.word if number or word.word[:1].isspace() else f" {word.word}"
            yield Spoken(text, word.start, word.end)
        return
    words = segment.text.split()
    per_letter = (segment.end - segment.start) / max(1, sum(map(len, words)))
    start = segment.start
    for text in words:
        end = start + len(text) * per_letter
        yield Spoken(f" {text}", start, end)
        start = end


class StreamedText:
    """The events of a stream. The deltas, put together, are the text at the end."""

    def __init__(self, *, logprobs: bool = False) -> None:
        self._text = ""
        self._tokens = 0
        self._logprobs: list[dict[str, Any]] | None = [] if logprobs else None

    def delta(self, segment: Segment) -> dict[str, Any]:
        event: dict[str, Any] = {
            "type": "transcript.text.delta",
            "delta": segment.text if self._text else segment.text.lstrip(),
        }
        self._text += event["delta"]
        self._tokens += len(segment.tokens)
        if self._logprobs is not None:
            event["logprobs"] = _logprobs([segment])
            self._logprobs += event["logprobs"]
        return event

    def done(self, outcome: Outcome) -> dict[str, Any]:
        """The SDK types this `usage` as tokens. Whisper's encoder makes 50 of a second of audio."""
        heard = round(outcome.duration * 50)
        usage = {
            "type": "tokens",
            "input_tokens": heard,
            "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
            "output_tokens": self._tokens,
            "total_tokens": heard + self._tokens,
        }
        event: dict[str, Any] = {"type": "transcript.text.done", "text": self._text}
        if self._logprobs is not None:
            event["logprobs"] = self._logprobs
        return event | {"usage": usage}


def _logprobs(segments: Sequence[Segment]) -> list[dict[str, Any]]:
    return [
        {"token": one.token, "bytes": list(one.bytes), "logprob": one.logprob}
        for segment in segments
        for one in segment.logprobs
    ]


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": round(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }

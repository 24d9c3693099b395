"""Segments -> the answers of OpenAI's transcription API. Rules only.

Shapes: openai-python `types/audio/transcription.py`, `transcription_verbose.py`, `transcription_stream_event.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from speaches.engines.base import Segment
from speaches.text import subtitles
from speaches.transcription.languages import name_of
from speaches.transcription.transcribe import Outcome

ResponseFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]
CONTENT_TYPES = {
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
}


def text_of(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments).strip()


def usage(outcome: Outcome) -> dict[str, Any]:
    """What OpenAI bills whisper-1 by: whole seconds."""
    return {"type": "duration", "seconds": round(outcome.duration)}


def as_json(segments: Sequence[Segment], outcome: Outcome) -> dict[str, Any]:
    return {"text": text_of(segments), "usage": usage(outcome)}


def as_verbose_json(
    segments: Sequence[Segment], outcome: Outcome, *, task: str, words: bool, with_segments: bool
) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": task,
        "language": "english" if task == "translate" else name_of(outcome.language),
        "duration": round(outcome.duration, 3),
        "speech_seconds": outcome.speech_seconds,
        "text": text_of(segments),
    }
    if with_segments:
        answer["segments"] = [_segment(number, segment) for number, segment in enumerate(segments)]
    if words:
        answer["words"] = [
            {"word": word.word.strip(), "start": word.start, "end": word.end}
            for segment in segments
            for word in segment.words
        ]
    return answer | {"usage": usage(outcome)}


def as_text(name: str, segments: Sequence[Segment]) -> str:
    """`text`, `srt` or `vtt`."""
    if name == "text":
        return text_of(segments) + "\n"
    cues = [subtitles.Cue(segment.start, segment.end, segment.text) for segment in segments]
    return subtitles.srt(cues) if name == "srt" else subtitles.vtt(cues)


def delta_event(segment: Segment, *, first: bool) -> dict[str, Any]:
    """The deltas of a stream, put together, are the text of `done_event`."""
    return {"type": "transcript.text.delta", "delta": segment.text.lstrip() if first else segment.text}


def done_event(text: str, tokens: int, outcome: Outcome) -> dict[str, Any]:
    """The SDK types this `usage` as tokens. Whisper's encoder makes 50 of a second of audio."""
    audio_tokens = round(outcome.duration * 50)
    return {
        "type": "transcript.text.done",
        "text": text,
        "usage": {
            "type": "tokens",
            "input_tokens": audio_tokens,
            "input_token_details": {"audio_tokens": audio_tokens, "text_tokens": 0},
            "output_tokens": tokens,
            "total_tokens": audio_tokens + tokens,
        },
    }


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

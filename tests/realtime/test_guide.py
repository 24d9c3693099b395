"""Every example of docs/realtime.md works as it is written, against `speaches serve` with a small LLM."""

from __future__ import annotations

from pathlib import Path

from speaches.audio.pcm import to_pcm16
from speaches.audio.resample import resample
from speaches.engines.base import SAMPLE_RATE
from tests import recordings
from tests.chat.test_guide import STORY, llm, run, served  # noqa: F401 (fixtures)
from tests.test_readme import ROOT, SENTENCE, blocks

GUIDE = (ROOT / "docs" / "realtime.md").read_text()


def test_a_conversation_is_heard(served: tuple[str, Path]) -> None:  # noqa: F811
    assert len(blocks("python", GUIDE)) == 2
    assert run(blocks("python", GUIDE)[0], served) == STORY


def test_speech_is_transcribed(served: tuple[str, Path]) -> None:  # noqa: F811
    _, folder = served
    (folder / "speech.pcm").write_bytes(to_pcm16(resample(recordings.say(SENTENCE), SAMPLE_RATE, 24_000)))
    assert run(blocks("python", GUIDE)[1], served) == f"{SENTENCE}\n"

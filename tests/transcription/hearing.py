"""The whole path from a file to segments, as the server takes it."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from speaches.audio.decode import AudioLimits
from speaches.concurrency import Threads
from speaches.engines.base import DecodeOptions, Segment, Task
from speaches.models.catalogue import Model
from speaches.models.pool import Loaded
from speaches.scheduling import Scheduler
from speaches.transcription.transcribe import Outcome, Source, TranscribeOptions, transcribe
from tests.recordings import wav

if TYPE_CHECKING:
    from speaches.engines.base import Samples

MODEL = Model("tests/hearing", Task.STT, "fake", None, created=0, owned_by="tests")


@dataclass
class Ears:
    """A recogniser and a detector, ready to hear recordings."""

    recogniser: Loaded
    activity: Loaded
    threads: Threads
    limits: AudioLimits = field(default_factory=AudioLimits)

    async def hear(self, recording: Samples | bytes | BinaryIO, **options: Any) -> tuple[list[Segment], Outcome]:
        """All segments of a recording."""
        outcome = Outcome()
        return [segment async for segment in self.segments(recording, outcome, **options)], outcome

    def segments(
        self, recording: Samples | bytes | BinaryIO, outcome: Outcome, **options: Any
    ) -> AsyncGenerator[Segment, None]:
        """The segments as they come. Options are those of DecodeOptions and of TranscribeOptions."""
        file = wav(recording) if isinstance(recording, np.ndarray) else recording
        source = Source(io.BytesIO(file) if isinstance(file, bytes) else file)
        names = ("vad_filter", "activity", "condition_on_previous_text")
        given = {name: options.pop(name) for name in names if name in options}
        how = TranscribeOptions(decode=DecodeOptions(**options), **given)
        return transcribe(
            source,
            how,
            outcome,
            recogniser=self.recogniser,
            activity=self.activity,
            limits=self.limits,
            threads=self.threads,
        )


@asynccontextmanager
async def ears(recogniser: Any, detector: Any, **limits: Any) -> AsyncIterator[Ears]:
    """These engines behind schedulers of this event loop."""
    scheduler = Scheduler(
        recogniser.decode,
        workers=recogniser.workers,
        batch_size=recogniser.batch_size,
        batch_key=recogniser.batch_key,
        concurrency=100,
        name="hearing",
    )
    threads = Threads(4, "files")
    loaded = (Loaded(MODEL, recogniser, scheduler), Loaded(MODEL, detector, None))
    try:
        yield Ears(*loaded, threads, AudioLimits(**limits))
    finally:
        await scheduler.close()
        threads.close()


def text_of(segments: list[Segment]) -> str:
    return "".join(segment.text for segment in segments).strip()

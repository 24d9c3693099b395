"""The server against the bare recogniser: what does everything around it cost?

    python -m bench.engines

Each figure is a ratio within one run, on the same audio and with the same threads. The limit is the bare engine; 1.00 is no cost.
Rounds alternate between the two, and the medians count, because the machine is shared.
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.serving import server
from bench.widen import write
from speaches.audio.encode import encode
from speaches.audio.resample import resample
from speaches.engines import espeak
from speaches.engines.base import SAMPLE_RATE, Piece
from speaches.settings import Settings

ROUNDS = 5
WORKERS = 2
CLIENTS = 4
CLIPS = 16
SENTENCES = (
    "Hello from Run pod! This is text-to-speech in action.",
    "What is the weather in London today?",
    "My name is Anna and I live in Paris.",
    "Please turn on the kitchen light.",
    "The quick brown fox jumps over the lazy dog.",
    "Testing, one two three.",
)


def spoken(*sentences: str) -> Any:
    """Speech with pauses, 16 kHz."""
    engine = espeak.load(None, Settings())
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    parts = [
        resample(engine.synthesize(Piece(s, "en-us", 160 / 175)).samples, engine.sample_rate, SAMPLE_RATE)
        for s in sentences
    ]
    return np.concatenate([samples for part in parts for samples in (part, pause)])


def alternate(bare: Callable[[], object], served: Callable[[], object], rounds: int = ROUNDS) -> tuple[float, float]:
    """Median seconds of each, after one round that does not count."""
    bare(), served()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for work, seconds in zip((bare, served), times, strict=True):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def show(name: str, audio_seconds: float, bare: float, served: float) -> None:
    print(
        f"| {name} | {audio_seconds:.0f} s | {bare:.2f} s ({audio_seconds / bare:.0f}x) "
        f"| {served:.2f} s ({audio_seconds / served:.0f}x) | {bare / served:.2f} |"
    )


def recognition(folder: Path) -> None:
    """Whisper in the shape of whisper-tiny, one thread a worker: one long file, and many short ones at once."""
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(
        str(folder / "bench" / "whisper"), device="cpu", compute_type="int8", cpu_threads=1, num_workers=WORKERS
    )
    batched = BatchedInferencePipeline(model)
    long = spoken(*SENTENCES * 8)
    clips = [spoken(SENTENCES[i % len(SENTENCES)]) for i in range(CLIPS)]

    def bare_long() -> str:
        segments, _ = batched.transcribe(long, language="en", batch_size=1, without_timestamps=False)
        return "".join(segment.text for segment in segments)

    def bare_clip(clip: Any) -> str:
        return "".join(segment.text for segment in model.transcribe(clip, language="en", vad_filter=True)[0])

    def bare_clips() -> list[str]:
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(bare_clip, clips))

    with (
        server(MODEL_DIRS=str(folder), WHISPER__NUM_WORKERS="1") as running,
        httpx.Client(base_url=running.address, timeout=300) as client,
    ):
        send = transcriber(client)
        wav = encode("wav", SAMPLE_RATE, long)
        show("Whisper, one file, 1 thread", len(long) / SAMPLE_RATE, *alternate(bare_long, lambda: send(wav)))
    with (
        server(MODEL_DIRS=str(folder), WHISPER__NUM_WORKERS=str(WORKERS)) as running,
        httpx.Client(base_url=running.address, timeout=300) as client,
    ):
        send = transcriber(client)
        wavs = [encode("wav", SAMPLE_RATE, clip) for clip in clips]

        def served_clips() -> list[str]:
            with ThreadPoolExecutor(CLIENTS) as pool:
                return list(pool.map(send, wavs))

        total = sum(map(len, clips)) / SAMPLE_RATE
        show(
            f"Whisper, {CLIPS} clips, {WORKERS} x 1 thread, {CLIENTS} clients",
            total,
            *alternate(bare_clips, served_clips),
        )


def transcriber(client: httpx.Client) -> Callable[[bytes], str]:
    def send(wav: bytes) -> str:
        answer = client.post(
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", io.BytesIO(wav))},
            data={"model": "bench/whisper", "language": "en"},
        )
        return str(answer.raise_for_status().json()["text"])

    return send


def main() -> None:
    print(f"{os.cpu_count()} cores\n\n| what | audio | bare engine | server | server / bare |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "bench" / "whisper", "tiny")
        recognition(Path(folder))


if __name__ == "__main__":
    main()

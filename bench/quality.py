"""Words: the server against the bare library, on real weights and human speech, with the speed of the same run beside them.

    scripts/real-models                      # once: 450 MB
    python -m bench.quality                  # a quarter of an hour
    python -m bench.quality --plot docs/quality.png

The bare library is faster-whisper on samples in memory with two threads: its sequential mode, the same with its VAD, and its batched
pipeline. The server runs two workers of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.serving import server
from speaches.audio.encode import encode
from speaches.engines.base import SAMPLE_RATE
from tests.real import recordings as real
from tests.real import weights
from tests.real.scoring import Score, score

MODES: dict[str, dict[str, str]] = {
    "default": {},
    "no VAD": {"vad_filter": "false"},
    "context": {"condition_on_previous_text": "true"},
    "no timestamps": {"without_timestamps": "true"},
    "words": {"response_format": "verbose_json", "timestamp_granularities[]": "word"},
}


@dataclass(frozen=True)
class Row:
    recording: str
    who: str
    heard: Score
    seconds: float

    def __str__(self) -> str:
        one = self.heard
        return f"| {self.recording} | {self.who} | {one.rate:.1%} | {one.lost} | {one.longest_lost} | {one.added} | {self.seconds:.1f} s |"


def recordings(quick: bool) -> Iterator[real.Made]:
    yield real.repeated(real.TWO_CITIES, 3 if quick else 7)
    yield real.mix_of_recordings(seed=1, times=2)
    yield real.mix_of_clips(seed=2, words=600)
    if not quick:
        yield real.mix_of_clips(seed=7, words=987)
        yield real.long_mix(seed=3, minutes=20)
    yield real.with_pause(real.JFK, 60, real.FOX, noise=3e-4)
    yield real.with_pause(real.JFK, 300, real.LJ8)
    quiet = real.TWO_CITIES.samples * (10 ** (-50 / 20) / abs(real.TWO_CITIES.samples).max())
    yield real.Made("two_cities at -50 dB", quiet, real.TWO_CITIES.text)


def bare(folder: Path) -> dict[str, Callable[[Any], str]]:
    from faster_whisper import BatchedInferencePipeline, WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)
    batched = BatchedInferencePipeline(model)

    def text(segments: Any) -> str:
        return "".join(segment.text for segment in segments)

    return {
        "bare, sequential": lambda samples: text(model.transcribe(samples, language="en")[0]),
        "bare, sequential, VAD": lambda samples: text(model.transcribe(samples, language="en", vad_filter=True)[0]),
        "bare, batched": lambda samples: text(
            batched.transcribe(samples, language="en", batch_size=1, without_timestamps=False)[0]
        ),
    }


def ask(address: str, model: str, wav: bytes, **form: str) -> str:
    answer = httpx.post(
        f"{address}/v1/audio/transcriptions",
        files={"file": ("a.wav", wav)},
        data={"model": model, "language": "en", **form},
        timeout=3600,
    )
    return str(answer.raise_for_status().json()["text"])


def measure(made: real.Made, who: str, hear: Callable[[], str]) -> Row:
    started = time.perf_counter()
    text = hear()
    return Row(made.name, who, score(made.text, text), time.perf_counter() - started)


def rows(model: str, modes: Sequence[str], quick: bool) -> Iterator[Row]:
    folder = weights.fetch(weights.folder()) / "models"
    limits = bare(folder / model)
    with server(MODEL_DIRS=str(folder), WHISPER__NUM_WORKERS="2", STT_MODEL_TTL="-1") as (address, _):
        ask(address, model, encode("wav", SAMPLE_RATE, real.HELLO.samples))  # loads it
        for made in recordings(quick):
            for name, hear in limits.items():
                yield measure(made, name, lambda hear=hear, made=made: hear(made.samples))  # type: ignore[misc]
            wav = encode("wav", SAMPLE_RATE, made.samples)
            for mode in modes:
                yield measure(made, mode, lambda wav=wav, mode=mode: ask(address, model, wav, **MODES[mode]))  # type: ignore[misc]


def plot(measured: Sequence[Row], path: Path) -> None:
    """Words lost, of each recording and mode."""
    from matplotlib import pyplot

    names = list(dict.fromkeys(row.recording for row in measured))
    who = list(dict.fromkeys(row.who for row in measured))
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    for number, one in enumerate(who):
        lost = [
            next((row.heard.rate for row in measured if (row.recording, row.who) == (name, one)), 0) for name in names
        ]
        axes.bar([place + number / (len(who) + 1) for place in range(len(names))], lost, 1 / (len(who) + 1), label=one)
    axes.set_xticks([place + 0.4 for place in range(len(names))], names, rotation=20, ha="right")
    axes.set(ylabel="word error rate")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default=weights.BASE)
    arguments.add_argument("--modes", default=",".join(MODES), help="of " + ", ".join(MODES))
    arguments.add_argument("--quick", action="store_true", help="without the longest recordings")
    arguments.add_argument("--plot", type=Path, help="a PNG (needs the extra `bench`)")
    given = arguments.parse_args()
    print(
        "| recording | who | word error rate | words lost | longest run lost | added | time |\n|---|---|---|---|---|---|---|"
    )
    measured = []
    for row in rows(given.model, given.modes.split(","), given.quick):
        measured.append(row)
        print(row, flush=True)
    if given.plot:
        plot(measured, given.plot)


if __name__ == "__main__":
    main()

"""Speech to text: the server against the bare engine, with one client and with many, and its memory.

    python -m bench.stt                    # the tests' tiny Whisper, and the same in the shape of whisper-tiny
    python -m bench.stt --like small       # also in the shape of whisper-small (minutes)
    python -m bench.stt --device cuda --model owner/name --folder MODELS    # on a GPU, with a real model
    python -m bench.stt --plot docs/benchmarks-stt.png

The bare engine is faster-whisper in its fastest setting on the same threads, with the samples in memory. Rounds alternate, medians count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.engines import SENTENCES, alternate, spoken
from bench.serving import server
from bench.widen import TINY, write
from speaches.audio.encode import encode
from speaches.concurrency import step_back
from speaches.engines.base import SAMPLE_RATE

WORKERS = 2
CLIENTS = (1, 4, 16, 64)
ROUNDS = 3
MEMORY_MINUTES = (10, 60, 180)


def clip(seconds: float) -> Any:
    """Speech of about this length."""
    samples = spoken(*SENTENCES)
    return samples[: int(seconds * SAMPLE_RATE)]


def long_recording(minutes: float) -> Any:
    once = spoken(*SENTENCES)
    return np.tile(once, int(minutes * 60 * SAMPLE_RATE / len(once)) + 1)[: int(minutes * 60 * SAMPLE_RATE)]


@dataclass
class Row:
    """One line of the table."""

    model: str
    what: str
    clients: int
    bare: float
    served: float
    more: str = ""

    def show(self) -> None:
        ratio = self.bare / self.served
        print(
            f"| {self.model}: {self.what} | {self.bare:.2f} s | {self.served:.2f} s | {ratio:.2f} | {self.more} |",
            flush=True,
        )


class Bare:
    """faster-whisper with the same number of threads."""

    def __init__(self, folder: Path, device: str) -> None:
        from faster_whisper import BatchedInferencePipeline, WhisperModel

        how: dict[str, Any] = {"device": "cpu", "compute_type": "int8", "cpu_threads": 1, "num_workers": WORKERS}
        if device == "cuda":
            how = {"device": "cuda", "compute_type": "float16"}
        self._model = WhisperModel(str(folder), **how)
        self._batched = BatchedInferencePipeline(self._model)
        self._batch = 8 if device == "cuda" else 1

    def long(self, samples: Any) -> str:
        segments, _ = self._batched.transcribe(samples, language="en", batch_size=self._batch, without_timestamps=False)
        return "".join(segment.text for segment in segments)

    def clip(self, samples: Any) -> str:
        segments, _ = self._model.transcribe(samples, language="en", vad_filter=True)
        return "".join(segment.text for segment in segments)

    def clips(self, samples: Any, count: int, clients: int) -> None:
        # At the priority of the server's threads: on a machine that does other things too, it is a tenth of the time or more.
        with ThreadPoolExecutor(min(WORKERS, clients), initializer=step_back) as pool:
            list(pool.map(self.clip, [samples] * count))


class Served:
    """The same over HTTP."""

    def __init__(self, address: str, model: str) -> None:
        self._address = address
        self._model = model

    def long(self, wav: bytes) -> str:
        return asyncio.run(self._all([wav], 1))[0][1]

    def clips(self, wav: bytes, clients: int, count: int) -> list[float]:
        """Seconds that each request took."""
        return [seconds for seconds, _ in asyncio.run(self._all([wav] * count, clients))]

    def first_delta(self, wav: bytes) -> float:
        """Seconds until the first text of a stream."""
        form = {"model": self._model, "language": "en", "stream": "true"}
        started = time.perf_counter()
        with httpx.stream(
            "POST", f"{self._address}/v1/audio/transcriptions", files={"file": ("a.wav", wav)}, data=form, timeout=3600
        ) as answer:
            next(line for line in answer.iter_lines() if "transcript.text.delta" in line)
            return time.perf_counter() - started

    async def _all(self, wavs: Sequence[bytes], clients: int) -> list[tuple[float, str]]:
        limits = httpx.Limits(max_connections=clients)
        # Without certificates, which it would read for 25 ms.
        async with httpx.AsyncClient(base_url=self._address, timeout=3600, limits=limits, verify=False) as client:
            places = asyncio.Semaphore(clients)
            return list(await asyncio.gather(*(self._one(client, places, wav) for wav in wavs)))

    async def _one(self, client: httpx.AsyncClient, places: asyncio.Semaphore, wav: bytes) -> tuple[float, str]:
        async with places:
            started = time.perf_counter()
            form = {"model": self._model, "language": "en"}
            answer = await client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav)}, data=form)
            return time.perf_counter() - started, answer.raise_for_status().json()["text"]


def throughput(name: str, bare: Bare, served: Served, minutes: float) -> Iterator[Row]:
    """One long file, and clips of 5 s from more and more clients."""
    long = long_recording(minutes)
    wav = encode("wav", SAMPLE_RATE, long)
    limit, ours = alternate(partial(bare.long, long), partial(served.long, wav), ROUNDS)
    yield Row(name, f"one file of {minutes:g} min", 1, limit, ours, f"{minutes * 60 / ours:.0f}x real time")
    samples = clip(5)
    wav = encode("wav", SAMPLE_RATE, samples)
    for clients in CLIENTS:
        count = max(8, clients)
        seconds: list[float] = []
        limit, ours = alternate(
            partial(bare.clips, samples, count, clients),
            partial(collected, seconds, served.clips, wav, clients, count),
            ROUNDS,
        )
        p50, p95 = np.percentile(seconds, [50, 95])
        more = f"{count / ours:.1f}/s, p50 {p50:.2f} s, p95 {p95:.2f} s"
        yield Row(name, f"{count} clips of 5 s, {clients} clients", clients, limit, ours, more)


def collected(into: list[float], function: Callable[..., list[float]], *arguments: Any) -> None:
    into.extend(function(*arguments))


def latency(name: str, served: Served) -> None:
    """The first text of a long file, against a file of one window."""
    window, long = (encode("wav", SAMPLE_RATE, long_recording(minutes)) for minutes in (0.5, 10))
    one, first = alternate(partial(served.first_delta, window), partial(served.first_delta, long), ROUNDS)
    print(
        f"\n{name}: first text of a 30 s file after {one:.2f} s, of a 10 min file after {first:.2f} s ({first / one:.2f})"
    )


def health(name: str, address: str, model: str) -> None:
    """How long /health takes while 64 clients are served."""
    wav = encode("wav", SAMPLE_RATE, clip(5))

    async def ask() -> list[float]:
        busy = asyncio.create_task(Served(address, model)._all([wav] * 96, 64))
        seconds = []
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            while not busy.done():
                started = time.perf_counter()
                (await client.get("/health")).raise_for_status()
                seconds.append(time.perf_counter() - started)
                await asyncio.sleep(0.02)
        await busy
        return seconds

    p50, p99 = np.percentile(asyncio.run(ask()), [50, 99]) * 1000
    print(f"\n{name}: /health with 64 requests in flight: p50 {p50:.0f} ms, p99 {p99:.0f} ms\n", flush=True)


def memory(folder: Path, model: str) -> None:
    """What a long file costs beyond the loaded model: the server's peak, in a server of its own for each."""
    print("| file | peak beyond the loaded model |\n|---|---|")
    for minutes in MEMORY_MINUTES:
        peak = subprocess.run(
            [sys.executable, "-m", "bench.stt", "--peak", str(minutes), "--model", model, "--folder", str(folder)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        print(f"| {minutes} min | {peak.stdout.strip()} MB |", flush=True)


def peak(folder: Path, model: str, minutes: float) -> float:
    """Megabytes. The file goes up from disk in chunks, as a client would send it."""
    with tempfile.NamedTemporaryFile(suffix=".flac") as file, server(MODEL_DIRS=str(folder)) as (address, pid):
        warm = {"model": model, "language": "en"}
        short = encode("wav", SAMPLE_RATE, clip(5))
        httpx.post(f"{address}/v1/audio/transcriptions", files={"file": ("a.wav", short)}, data=warm, timeout=600)
        before = _status(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
        file.write(encode("flac", SAMPLE_RATE, long_recording(minutes)))
        file.seek(0)
        httpx.post(f"{address}/v1/audio/transcriptions", files={"file": ("a.flac", file)}, data=warm, timeout=36000)
        return (_status(pid, "VmHWM") - before) / 1024


def _status(pid: int, name: str) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def plot(rows: Sequence[Row], path: Path) -> None:
    """The ratio to the bare engine by the number of clients."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    for model in dict.fromkeys(row.model for row in rows):
        clips = [row for row in rows if row.model == model and "clips" in row.what]
        axes.plot(
            [str(row.clients) for row in clips], [row.bare / row.served for row in clips], marker="o", label=model
        )
    axes.axhline(1.0, color="grey", linewidth=1, label="the bare engine")
    axes.set(xlabel="clients, each sending clips of 5 s", ylabel="server / bare engine", ylim=(0, 1.3))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--like", choices=["tiny", "small"], default="tiny")
    arguments.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments.add_argument("--model", help="a model on disk, in place of the tests'")
    arguments.add_argument("--folder", type=Path, help="MODEL_DIRS of that model")
    arguments.add_argument("--minutes", type=float, default=4.6, help="length of the long file")
    arguments.add_argument("--no-memory", action="store_true", help="leave out the files of hours")
    arguments.add_argument("--plot", type=Path, help="a PNG of the ratios (needs the extra `bench`)")
    arguments.add_argument("--peak", type=float, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    rows: list[Row] = []
    if given.peak:
        print(round(peak(given.folder, given.model, given.peak)))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        models = [(given.model, given.folder)] if given.model else [("speaches-test/whisper-synth", TINY.parent.parent)]
        if not given.model:
            for like in ["tiny"] if given.like == "tiny" else ["tiny", "small"]:
                write(folder / "bench" / like, like)
                models.append((f"bench/{like}", folder))
        print(f"{os.cpu_count()} cores, {WORKERS} workers of one thread\n")
        print("| what | bare engine | server | server / bare | |\n|---|---|---|---|---|")
        for model, where in models:
            environ = {
                "MODEL_DIRS": str(where),
                "WHISPER__INFERENCE_DEVICE": given.device,
                "WHISPER__NUM_WORKERS": str(WORKERS),
            }
            with server(**environ) as (address, _):
                for row in throughput(model, Bare(where / model, given.device), Served(address, model), given.minutes):
                    row.show()
                    rows.append(row)
                latency(model, Served(address, model))
                health(model, address, model)
        if not given.no_memory:
            memory(models[0][1], models[0][0])
    if given.plot:
        plot(rows, given.plot)


if __name__ == "__main__":
    main()

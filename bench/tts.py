"""Text to speech: the server against the bare engines, in every format, with one client and with many; its cost and its memory.

    python -m bench.tts                         # all sections, about three minutes
    python -m bench.tts first total             # some of them
    python -m bench.tts --rounds 9 --plot docs/benchmarks-tts.png

Sections: first (byte), total, clients, cost, memory, again. The server is a process of its own, asked over HTTP on loopback; the bare
engine says the same pieces in this process. `paced` is a voice at a real-time factor of 0.3, about Kokoro's on a few cores, that leaves
the CPU alone; the other engines are real, Kokoro and Piper with the tests' tiny weights. Rounds alternate, medians count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

from bench import pacing
from bench.engines import SENTENCES
from bench.serving import Running, server
from speaches.audio.encode import streaming_encoder
from speaches.audio.formats import FORMATS
from speaches.audio.resample import resample
from speaches.engines import espeak, kokoro, piper
from speaches.engines.base import Piece, TextToSpeech
from speaches.settings import Settings
from speaches.text.sentences import pieces

if TYPE_CHECKING:
    from speaches.engines.base import Samples

MODELS = Path(__file__).parent.parent / "tests" / "models"
TEXT = " ".join(SENTENCES)
SHORT = SENTENCES[0]  # two pieces, three seconds
CLIENTS = (1, 4, 16)
FIRST_AIM = 15.0  # ms by which the server's first byte may come after the engine's first clause
TOTAL_AIM = 0.97  # of the engine's time to the server's
LONG_TEXT = 100_000  # characters
SLOW_BYTES = 100_000  # a second, two to eight times as fast as speech is heard
SLOW_SECONDS = 8.0  # after which the slow client leaves


@dataclass(frozen=True)
class Engine:
    """A voice model, in this process and on the server."""

    name: str
    model: str
    voice: str
    load: Callable[[], TextToSpeech]


ENGINES = (
    Engine("paced", pacing.MODEL, "en-us", pacing.PacedVoice),
    Engine(
        "Kokoro",
        "speaches-test/kokoro-synth",
        "af_heart",
        lambda: kokoro.load(MODELS / "speaches-test" / "kokoro-synth", Settings()),
    ),
    Engine(
        "Piper",
        "speaches-test/piper-en_US-synth-medium",
        "",
        lambda: piper.load(MODELS / "speaches-test" / "piper-en_US-synth-medium", Settings()),
    ),
    Engine("espeak-ng", "speaches/espeak-ng", "en-us", lambda: espeak.load(None, Settings())),
)


class Bare:
    """An engine, called in this process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.load()
        self._voice = engine.voice or self._engine.voices()[0].id
        self.sample_rate = self._engine.sample_rate

    def say(self, text: str) -> Samples:
        said = [self._piece(piece) for piece in pieces(text) if isinstance(piece, str)]
        return np.concatenate(said)

    def say_often(self, text: str, times: int) -> None:
        for _ in range(times):
            self.say(text)

    def first(self, text: str) -> Samples:
        return self._piece(next(piece for piece in pieces(text) if isinstance(piece, str)))

    def _piece(self, text: str) -> Samples:
        return self._engine.synthesize(Piece(text, self._voice)).samples


@dataclass
class Heard:
    """What a client saw of one answer: seconds from the request, and bytes."""

    first: float = 0.0
    total: float = 0.0
    size: int = 0


class Client:
    """Asks the server for speech, over one connection for each thread."""

    def __init__(self, running: Running, engine: Engine) -> None:
        self._http = httpx.Client(base_url=running.address, timeout=600)
        self._body = {"model": engine.model} | ({"voice": engine.voice} if engine.voice else {})

    def say(self, text: str, response_format: str) -> Heard:
        heard = Heard()
        started = time.perf_counter()
        body = {**self._body, "input": text, "response_format": response_format}
        with self._http.stream("POST", "/v1/audio/speech", json=body) as answer:
            answer.raise_for_status()
            for part in answer.iter_raw():
                heard.first = heard.first or time.perf_counter() - started
                heard.size += len(part)
        heard.total = time.perf_counter() - started
        return heard

    def first(self, text: str, response_format: str) -> float:
        """Seconds to the first byte. The answer is read to its end, so that the next does not wait behind it."""
        return self.say(text, response_format).first

    def slowly(self, text: str, response_format: str) -> None:
        """Read at SLOW_BYTES a second for a while, and leave."""
        body = {**self._body, "input": text, "response_format": response_format}
        end = time.monotonic() + SLOW_SECONDS
        with self._http.stream("POST", "/v1/audio/speech", json=body) as answer:
            for part in answer.raise_for_status().iter_raw(8192):
                time.sleep(len(part) / SLOW_BYTES)
                if time.monotonic() > end:
                    return


@dataclass
class Results:
    """What the plot shows."""

    first: dict[str, dict[str, float]] = field(default_factory=dict)
    """Milliseconds that the server adds before the first byte, by engine and format."""
    clients: dict[int, float] = field(default_factory=dict)
    """The server's throughput to the bare engine's."""


def first_byte(
    running: Running, engines: Sequence[Engine], formats: Sequence[str], rounds: int, results: Results
) -> None:
    """The first byte of a text of two pieces, against the bare engine's first clause."""
    print(
        "\n| engine | format | bare engine, first clause | server, first byte | added | aim |\n|---|---|---|---|---|---|"
    )
    for engine in engines:
        bare, client = Bare(engine), Client(running, engine)
        for name in formats:
            client.first(SHORT, name)
            clause, first = [], []
            for _ in range(rounds):
                clause.append(seconds(partial(bare.first, SHORT)))
                first.append(client.first(SHORT, name))
            one, other = statistics.median(clause) * 1000, statistics.median(first) * 1000
            results.first.setdefault(engine.name, {})[name] = other - one
            print(
                f"| {engine.name} | {name} | {one:.1f} ms | {other:.1f} ms | {other - one:+.1f} ms | {FIRST_AIM:g} ms |",
                flush=True,
            )


def total(running: Running, formats: Sequence[str], rounds: int) -> None:
    """All of a text by the paced voice: is everything else hidden behind it?"""
    print("\n| format | speech | bare engine | server | server / bare | aim |\n|---|---|---|---|---|---|")
    engine = ENGINES[0]
    bare, client = Bare(engine), Client(running, engine)
    speech = len(bare.say(TEXT)) / bare.sample_rate
    client.say(SHORT, formats[0])
    for name in formats:
        times = [(seconds(partial(bare.say, TEXT)), client.say(TEXT, name).total) for _ in range(max(1, rounds // 5))]
        one, other = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"| {name} | {speech:.1f} s | {one:.2f} s | {other:.2f} s | {one / other:.3f} | {TOTAL_AIM} |", flush=True
        )


def clients(running: Running, results: Results) -> None:
    """More and more clients of the paced voice, which speaks for one at a time; each wants the same."""
    print("\n| clients | bare engine | server | server / bare | aim | first byte p50, p95 | done, first to last |")
    print("|---|---|---|---|---|---|---|")
    engine, text = ENGINES[0], SHORT
    bare, client = Bare(engine), Client(running, engine)
    client.say(text, "mp3")
    for count in CLIENTS:
        one = seconds(partial(bare.say_often, text, count))
        started = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            heard = list(pool.map(partial(client.say, text), ["mp3"] * count))
        other = time.perf_counter() - started
        results.clients[count] = one / other
        p50, p95 = np.percentile([answer.first for answer in heard], [50, 95])
        ends = [answer.total for answer in heard]
        print(
            f"| {count} | {one:.2f} s | {other:.2f} s | {one / other:.3f} | {TOTAL_AIM} "
            f"| {p50:.2f} s, {p95:.2f} s | {min(ends):.2f} s, {max(ends):.2f} s |",
            flush=True,
        )


def cost(running: Running, formats: Sequence[str], rounds: int) -> None:
    """Processor time for a second of speech: of the server with tiny Kokoro, of that engine, and of the encoder alone."""
    print("\n| format | rate | server | bare engine | resampler and encoder alone | bytes |\n|---|---|---|---|---|---|")
    engine, text = ENGINES[1], " ".join([TEXT] * 3)
    bare, client = Bare(engine), Client(running, engine)
    samples = bare.say(text)
    speech = client.say(text, "pcm").size / 2 / FORMATS["pcm"].rate
    own = min(_cpu_of(partial(bare.say, text)) for _ in range(rounds)) / speech * 1000
    for name in formats:
        client.say(text, name)
        before = _cpu(running.pid)
        size = max(client.say(text, name).size for _ in range(rounds))
        served = (_cpu(running.pid) - before) / rounds / speech * 1000
        alone = min(_cpu_of(partial(_encode, name, samples, bare.sample_rate)) for _ in range(rounds)) / speech * 1000
        print(
            f"| {name} | {FORMATS[name].rate} Hz | {served:.1f} ms | {own:.1f} ms | {alone:.1f} ms | {size / speech / 1000:.1f} kB |",
            flush=True,
        )


def _encode(name: str, samples: Samples, rate: int) -> None:
    encoder = streaming_encoder(name, FORMATS[name].rate)
    for block in np.array_split(resample(samples, rate, FORMATS[name].rate), 12):
        encoder.push(block)
    encoder.finish()


def memory() -> None:
    """What a long text adds to a server's memory, when its speech is read at once and when it is read slowly."""
    print(f"\n| {LONG_TEXT // 1000} kB of text, tiny Kokoro, pcm | peak beyond the loaded model |\n|---|---|")
    long = (TEXT + " ") * (LONG_TEXT // len(TEXT))
    for what in ("fast", "slow"):
        with server(MODEL_DIRS=str(MODELS)) as running:
            client = Client(running, ENGINES[1])
            client.say(TEXT, "pcm")
            before = _status(running.pid, "VmRSS")
            Path(f"/proc/{running.pid}/clear_refs").write_text("5")  # the peak begins anew
            started = time.perf_counter()
            if what == "fast":
                client.say(long, "pcm")
            else:
                client.slowly(long, "pcm")
            took = time.perf_counter() - started
            peak = (_status(running.pid, "VmHWM") - before) / 1024
            print(f"| a {what} client, {took:.0f} s | {peak:.0f} MB |", flush=True)


def again(rounds: int) -> None:
    """A text that was spoken before: by the engines, which may remember phonemes, and by a server that keeps speech."""
    print("\n| said again | the first time | again | |\n|---|---|---|---|")
    for engine in ENGINES[1:3]:
        bare = Bare(engine)
        bare.say("Ready.")
        texts = [f"{TEXT} This is round number {n}." for n in range(rounds)]
        one = statistics.median(seconds(partial(bare.say, text)) for text in texts)
        other = statistics.median(seconds(partial(bare.say, text)) for text in texts)
        print(f"| {engine.name}, bare | {one * 1000:.1f} ms | {other * 1000:.1f} ms | {other / one:.2f} |", flush=True)
    with server(("-m", "bench.pacing"), MODEL_DIRS=str(MODELS), SPEECH_CACHE_BYTES="64000000") as running:
        client = Client(running, ENGINES[0])
        client.say("Ready.", "mp3")
        one, other = (client.say(" ".join(SENTENCES[2:4]), "mp3").total for _ in range(2))
        print(
            f"| paced, server with SPEECH_CACHE_BYTES | {one * 1000:.1f} ms | {other * 1000:.1f} ms | {other / one:.2f} |"
        )


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _cpu_of(work: Callable[[], object]) -> float:
    """Seconds of processor time of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def _cpu(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def plot(results: Results, path: Path) -> None:
    """What the server adds before the first byte, and its throughput by the number of clients."""
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.5), layout="constrained", width_ratios=(2, 1))
    width = 0.8 / max(1, len(results.first))
    for number, (engine, added) in enumerate(results.first.items()):
        places = np.arange(len(added)) + (number - (len(results.first) - 1) / 2) * width
        left.bar(places, list(added.values()), width, label=engine)
        left.set_xticks(range(len(added)), list(added))
    left.axhline(FIRST_AIM, color="grey", linewidth=1, label="the aim")
    top = 1.6 * max([FIRST_AIM, *(value for added in results.first.values() for value in added.values())])
    left.set(ylabel="ms after the engine's first clause", title="first byte", ylim=(None, top))
    left.legend(ncols=2, fontsize="small")
    right.plot([str(count) for count in results.clients], list(results.clients.values()), marker="o")
    right.axhline(TOTAL_AIM, color="grey", linewidth=1)
    right.set(xlabel="clients", ylabel="server / bare engine", ylim=(0, 1.1), title="throughput, paced voice")
    figure.savefig(path, dpi=120)


SECTIONS = ("first", "total", "clients", "cost", "memory", "again")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; all by default")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    arguments.add_argument(
        "--engines", nargs="+", choices=[engine.name for engine in ENGINES], help="of `first`; all by default"
    )
    arguments.add_argument("--plot", type=Path, help="a PNG of the first two results (needs the extra `bench`)")
    given = arguments.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        arguments.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    wanted, results = given.sections or SECTIONS, Results()
    print(f"{os.cpu_count()} cores")
    with server(("-m", "bench.pacing"), MODEL_DIRS=str(MODELS)) as running:
        if "first" in wanted:
            engines = [engine for engine in ENGINES if engine.name in (given.engines or engine.name)]
            first_byte(running, engines, given.formats, given.rounds, results)
        if "total" in wanted:
            total(running, given.formats, given.rounds)
        if "clients" in wanted:
            clients(running, results)
        if "cost" in wanted:
            cost(running, given.formats, given.rounds)
    if "memory" in wanted:
        memory()
    if "again" in wanted:
        again(given.rounds)
    if given.plot:
        plot(results, given.plot)


if __name__ == "__main__":
    main()

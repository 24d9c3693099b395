"""A conversation over the Realtime API in real time: how long after the user, the LLM and the engines does each event come?

    python -m bench.realtime                             # all, about four minutes
    python -m bench.realtime --only replay --turns 10
    python -m bench.realtime --only crowd --sessions 20
    python -m bench.realtime --plot docs/benchmarks-realtime.png

The user interrupts each answer with the next sentence. An LLM with set delays answers on loopback; the bare engines are measured in this
process, before and after, on the same audio and text with the same options. What is beyond them is ours, and the machine's noise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench.hours import memory
from bench.llm import FIRST_SENTENCE, PacedLlm
from bench.serving import server
from bench.talking import RATE, Client, Heard, Said, Sentence, sentence, session
from bench.widen import TINY
from speaches.audio.resample import resample
from speaches.engines import espeak, whisper
from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Piece, Window
from speaches.settings import Settings
from tests.chat.llm import listening

RECOGNISER = "speaches-test/whisper-synth"
VOICE_MODEL, VOICE = "speaches/espeak-ng", "en-us"
SILENCE_MS = 500
PADDING_MS, PAUSE_MS = (
    300,
    96,
)  # the session's audio begins so much before the speech, and is heard so much after its end
SENTENCES = (
    "What is the weather in London today?",
    "Stop talking, please.",
    "And so my fellow Americans, ask not what your country can do for you, ask what you can do for your country.",
    "What time is it?",
    "Please turn on the kitchen light.",
    "My name is Anna and I live in Paris.",
    "Hello world.",
    "The quick brown fox jumps over the lazy dog.",
)
LISTENS = 1.5  # seconds of an answer that the user listens to before interrupting
ROUNDS = 3
FRAME = 0.032  # seconds
Settled = dict[str, Any]


def settings(detection: Settled | None) -> Settled:
    hears = {"transcription": {"model": RECOGNISER, "language": "en"}, "turn_detection": detection}
    return {"audio": {"input": hears, "output": {"model": VOICE_MODEL, "voice": VOICE}}}


SERVER_VAD = {"type": "server_vad", "silence_duration_ms": SILENCE_MS, "prefix_padding_ms": PADDING_MS}


# --- The bare engines ---


@cache
def _recogniser() -> Any:
    return whisper.load(TINY, Settings())


@cache
def _voice() -> Any:
    return espeak.load(None, Settings())


def hearing(what: Sentence) -> float:
    """Seconds that the bare engine takes for a turn, median."""
    around = [np.zeros(RATE * ms // 1000, np.float32) for ms in (PADDING_MS, PAUSE_MS)]
    samples = resample(np.concatenate((around[0], what.samples, around[1])), RATE, SAMPLE_RATE)
    options = DecodeOptions(language="en", short_window=True)
    engine = _recogniser()
    return taken(lambda: engine.decode([Window(samples, options, engine.prepare(samples, options))]))


def speaking() -> float:
    """Seconds that the bare engine takes for the answer's first sentence, median."""
    engine = _voice()
    return taken(lambda: engine.synthesize(Piece(FIRST_SENTENCE, VOICE, timed=True)))


def taken(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


# --- The table ---


@dataclass
class Stage:
    """One row: how long it takes, and without the time that is not ours."""

    name: str
    aim: str = ""
    without: str = ""
    """What is taken off."""

    def __post_init__(self) -> None:
        self.seconds: list[float] = []
        self.beyond: list[float] = []

    def add(self, seconds: float, off: float = 0.0) -> None:
        self.seconds.append(seconds)
        self.beyond.append(seconds - off)

    def show(self) -> None:
        ours = _shown(self.beyond) if self.without else ""
        print(f"| {self.name} | {_shown(self.seconds)} | {self.without} | {ours} | {self.aim} |", flush=True)


def _shown(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    p50, p95 = np.percentile(seconds, [50, 95]) * 1000
    return f"{p50:.0f} / {p95:.0f} ms"


# --- A conversation ---


@dataclass
class Turn:
    """What came of one sentence."""

    said: Said
    started: Heard
    stopped: Heard
    completed: Heard
    asked: float
    """When the LLM was asked."""
    wrote: float
    """When it had written its first sentence."""
    audio: Heard
    """The first of the answer."""


async def converse(address: str, llm: PacedLlm, turns: int) -> tuple[list[Turn], Client]:
    """Say one sentence after the other, each into the answer to the one before."""
    done: list[Turn] = []
    async with session(address, settings(SERVER_VAD)) as client:
        await asyncio.sleep(0.5)
        for number in range(turns):
            done.append(await exchange(client, llm, sentence(SENTENCES[number % len(SENTENCES)])))
            await asyncio.sleep(LISTENS)
        client.say(sentence(SENTENCES[1]))  # the last one is interrupted too
        await client.until("input_audio_buffer.speech_started", since=done[-1].audio.at)
        await asyncio.sleep(0.5)
    return done, client


async def exchange(client: Client, llm: PacedLlm, what: Sentence) -> Turn:
    said, answers = client.say(what), len(llm.asked)
    started = await client.until("input_audio_buffer.speech_started", since=said.start)
    stopped = await client.until("input_audio_buffer.speech_stopped", since=said.end)
    completed = await client.until(
        "conversation.item.input_audio_transcription.completed", since=stopped.at - 0.01, where=same_item(stopped)
    )
    audio = await client.until("response.output_audio.delta", since=stopped.at)
    return Turn(said, started, stopped, completed, llm.asked[answers], llm.wrote_sentence[answers], audio)


def same_item(other: Heard) -> Callable[[Heard], bool]:
    return lambda one: bool(one.event["item_id"] == other.event["item_id"])


def stages(turns: Sequence[Turn], client: Client, engine: Mapping[str, float], voice: float) -> list[Stage]:
    detected = Stage("speech start -> `speech_started`")
    stopped = Stage("speech end -> `speech_stopped`", "+40 ms", f"silence, {SILENCE_MS} ms")
    counted = Stage("the same in the audio's own time: the detector and its rules", "", f"silence, {SILENCE_MS} ms")
    completed = Stage("`speech_stopped` -> `completed`, heard ahead in the pause", "+20 ms", "recogniser")
    spoken = Stage("LLM's first sentence and one word more -> first audio delta", "+20 ms", "voice")
    cut = Stage("`speech_started` -> last audio delta of the interrupted response", "+30 ms")
    whole = Stage("speech end -> first audio delta of the answer", "", "silence, LLM, voice")
    words = Stage("word's end -> its delta, while the user speaks")
    for turn in turns:
        detected.add(turn.started.at - turn.said.start)
        stopped.add(turn.stopped.at - turn.said.end, SILENCE_MS / 1000)
        place = turn.said.end - client.began
        counted.add(turn.stopped.event["audio_end_ms"] / 1000 - place, SILENCE_MS / 1000)
        completed.add(turn.completed.at - turn.stopped.at, engine[turn.said.sentence.text])
        spoken.add(turn.audio.at - turn.wrote, voice)
        cut.add(overrun(turn, client))
        whole.add(turn.audio.at - turn.said.end, SILENCE_MS / 1000 + turn.wrote - turn.asked + voice)
        for seconds in word_delays(turn, client):
            words.add(seconds)
    return [detected, stopped, counted, completed, spoken, cut, whole, words]


def overrun(turn: Turn, client: Client) -> float:
    """How long the answer's audio went on to come after the user was heard to interrupt it."""
    interrupted = client.all("input_audio_buffer.speech_started", since=turn.audio.at)[0]
    response = turn.audio.event["response_id"]
    last = max(one.at for one in client.all("response.output_audio.delta") if one.event["response_id"] == response)
    return max(0.0, last - interrupted.at)


def word_delays(turn: Turn, client: Client) -> list[float]:
    """For each word that was shown while the user spoke, how long after its end that was."""
    ends = turn.said.sentence.words
    if len(ends) != len(turn.said.sentence.text.split()):  # espeak-ng says some pairs as one
        return []
    found, text = list[float](), ""
    for delta in client.all("conversation.item.input_audio_transcription.delta", turn.started.at, turn.stopped.at):
        before, text = len(text.split()), text + delta.event["delta"]
        found += [delta.at - turn.said.start - end for end in ends[before : len(text.split())]]
    return found


async def push_to_talk(address: str, engine: Mapping[str, float], rounds: int) -> Stage:
    """Without turn detection nothing can be heard ahead."""
    stage = Stage("commit -> `completed`, nothing heard ahead", "+20 ms", "recogniser")
    async with session(address, settings(None)) as client:
        for number in range(rounds):
            what = sentence(SENTENCES[number % len(SENTENCES)])
            await client.tell("input_audio_buffer.clear")
            await asyncio.sleep(PADDING_MS / 1000)
            said = client.say(what)
            await asyncio.sleep(said.end + PAUSE_MS / 1000 - time.perf_counter())
            committed = time.perf_counter()
            await client.tell("input_audio_buffer.commit")
            completed = await client.until("conversation.item.input_audio_transcription.completed", since=committed)
            stage.add(completed.at - committed, engine[what.text])
            await asyncio.sleep(0.3)
    return stage


async def replay(address: str, llm: PacedLlm, turns: int, path: Path | None) -> None:
    texts = SENTENCES[:turns]
    await converse(address, llm, 1)  # models load, and connections are made
    before = {text: hearing(sentence(text)) for text in texts}, speaking()
    done, client = await converse(address, llm, turns)
    pushed = await push_to_talk(address, before[0], min(turns, len(SENTENCES)))
    after = {text: hearing(sentence(text)) for text in texts}, speaking()
    engine = {text: (before[0][text] + after[0][text]) / 2 for text in texts}
    detected, stopped, counted, completed, *rest = stages(done, client, engine, (before[1] + after[1]) / 2)
    pushed.beyond = [seconds - engine[texts[number]] for number, seconds in enumerate(pushed.seconds)]
    print(f"| {turns} turns | p50 / p95 | not ours | beyond that, p50 / p95 | aim |\n|---|---|---|---|---|")
    for stage in (detected, stopped, counted, completed, pushed, *rest):
        stage.show()
    print(
        f"\nThe bare recogniser takes {_shown(list(engine.values()))}, the voice {before[1] * 1000:.0f} ms."
        f" The client's own chunks left {_shown(client.late)} late.\n",
        flush=True,
    )
    if path:
        from bench.timeline import plot

        plot(done, client, path)


# --- Many at once ---

GAP = 2.5  # seconds between a user's sentences: time for the silence and some of the answer
LONGEST_DELAY = 4.0  # seconds; what has not come by then counts as this late
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"
Delays = dict[tuple[str, str], list[float]]
"""By event and sentence, how long after the speech's start or end it came."""


async def crowd(address: str, pid: int, sessions: int, seconds: float) -> None:
    """Detection in each of many sessions, against that in one session alone, which hears the same sentences in the same frames."""
    alone: Delays = defaultdict(list)
    together: Delays = defaultdict(list)
    lag: list[float] = []
    await talk(address, sum(sentence(text).seconds + GAP for text in SENTENCES), 0, alone, [])
    before = [*scheduled(pid), time.perf_counter()]
    asking = asyncio.create_task(ask_health(address, seconds))
    await asyncio.gather(*(talk(address, seconds, number, together, lag) for number in range(sessions)))
    late = Stage(
        f"{sessions * seconds / 60:.0f} min of talk: starts and ends of turns, later than of one session alone"
    )
    for which, delays in together.items():
        for delay in delays:
            late.add(delay - statistics.median(alone[which]))
    asked = Stage("`GET /health` meanwhile")
    asked.seconds = await asking
    ran, waited, lasted = (now - then for now, then in zip([*scheduled(pid), time.perf_counter()], before, strict=True))
    print(
        f"| {sessions} sessions at once | p50 / p95 | most | more than a frame (32 ms) | aim |\n|---|---|---|---|---|"
    )
    for stage, aim in ((late, "none"), (asked, "")):
        over = f"{sum(one > FRAME for one in stage.seconds)} of {len(stage.seconds)}"
        print(f"| {stage.name} | {_shown(stage.seconds)} | {max(stage.seconds) * 1000:.0f} ms | {over} | {aim} |")
    print(
        f"\nThe server's event loop ran {ran / lasted:.0%} of the time, and waited for a core {waited / lasted:.0%} of it."
        f" The clients' own chunks left {_shown(lag)} late, {max(lag) * 1000:.0f} ms at most.\n",
        flush=True,
    )


def scheduled(pid: int) -> tuple[float, float]:
    """Seconds that a process's first thread, here the event loop, ran, and that it would have run but had to wait for a core."""
    ran, waited, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


async def talk(address: str, seconds: float, number: int, delays: Delays, lag: list[float]) -> None:
    """One user of several. They don't begin together: that would be a choir."""
    await asyncio.sleep(0.37 * number)
    async with session(address, settings(SERVER_VAD)) as client:
        said, ends = list[Said](), time.perf_counter() + seconds
        await asyncio.sleep(0.5)
        while time.perf_counter() < ends:
            said.append(client.say(sentence(SENTENCES[(number + len(said)) % len(SENTENCES)])))
            await asyncio.sleep(said[-1].end + GAP - time.perf_counter())
        await asyncio.sleep(LONGEST_DELAY - GAP)
    lag += client.late
    for one in said:
        for event_type, since in ((STARTED, one.start), (STOPPED, one.end)):
            came = client.all(event_type, since, since + LONGEST_DELAY)
            delays[event_type, one.sentence.text].append(came[0].at - since if came else LONGEST_DELAY)


async def ask_health(address: str, seconds: float) -> list[float]:
    """How long each request took."""
    found, ends = [], time.perf_counter() + seconds
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        while time.perf_counter() < ends:
            started = time.perf_counter()
            (await client.get("/health")).raise_for_status()
            found.append(time.perf_counter() - started)
            await asyncio.sleep(0.1)
    return found


async def run(given: argparse.Namespace) -> None:
    wanted = given.only or SECTIONS
    print(f"{os.cpu_count()} cores\n")
    llm = PacedLlm()
    async with listening(llm) as url:
        with server(MODEL_DIRS=str(TINY.parent.parent), CHAT_COMPLETION_BASE_URL=url) as (address, pid):
            if "replay" in wanted:
                await replay(address, llm, given.turns, given.plot)
            if "crowd" in wanted:
                await converse(address, llm, 1)
                await crowd(address, pid, given.sessions, given.seconds)
    if "memory" in wanted:
        await memory(given.hours)


SECTIONS = ("replay", "crowd", "memory")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", nargs="+", choices=SECTIONS, help="some of the sections")
    arguments.add_argument("--turns", type=int, default=16, help="turns of the conversation, about five seconds each")
    arguments.add_argument("--sessions", type=int, default=20, help="at once")
    arguments.add_argument("--seconds", type=float, default=30, help="that they talk")
    arguments.add_argument("--hours", type=float, default=1, help="of silence, and of talk")
    arguments.add_argument("--plot", type=Path, help="a PNG of one exchange (needs the extra `bench`)")
    asyncio.run(run(arguments.parse_args()))


if __name__ == "__main__":
    main()

"""`speaches serve` on the tiny models and a small LLM, for clients that need a real server; and what they say to it.

python -m scripts.clients.server    # runs until it is interrupted, and prints the environment of the scripts beside it
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from scripts.clients.llm import Attendant
from speaches.audio.resample import resample
from speaches.engines.base import SAMPLE_RATE
from tests import recordings
from tests.chat.llm import listening
from tests.test_readme import running as serving
from tests.worker.helpers import free_port

API_KEY = "sk-clients"
WIRE_RATE = 24_000  # Hz
SPOKEN = {
    "hello": "Hello world, how are you today?",
    "weather": "What is the weather in London today?",
    "story": "Tell me a story about a little bird.",
    "meeting": "The meeting starts at nine.",
}
"""Recordings, and what is said in them."""

WHISPER, KOKORO = "speaches-test/whisper-synth", "speaches-test/kokoro-synth"
ALIASES = {
    # OpenAI's other names lead to these two.
    "whisper-1": WHISPER,
    "tts-1": "speaches/espeak-ng",
    # What the guides name.
    "Systran/faster-whisper-tiny.en": WHISPER,
    "deepdml/faster-whisper-large-v3-turbo-ct2": WHISPER,
    "hexgrad/Kokoro-82M": KOKORO,
}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Serve, and write the recordings to `folder`. Yields what the scripts want to find in their environment."""
    for name, text in SPOKEN.items():
        samples = resample(recordings.say(text), SAMPLE_RATE, WIRE_RATE)
        (folder / f"{name}.wav").write_bytes(recordings.wav(samples, WIRE_RATE))
    (folder / "spoken.json").write_text(json.dumps(SPOKEN))
    url = f"http://127.0.0.1:{(port := free_port())}"
    with (
        _llm() as llm,
        serving(
            ["-m", "speaches", "serve"],
            folder,
            f"{url}/readyz",
            UVICORN_PORT=str(port),
            API_KEY=API_KEY,
            MODEL_ALIASES=json.dumps(ALIASES),
            DEFAULT_STT_MODEL="whisper-1",
            DEFAULT_TTS_MODEL="tts-1",
            PRELOAD_MODELS="whisper-1,tts-1",
            CHAT_COMPLETION_BASE_URL=llm,
            CHAT_COMPLETION_MODEL="small",
            LOG_LEVEL="info",
        ),
    ):
        yield {"SPEACHES_URL": url, "SPEACHES_KEY": API_KEY, "RECORDINGS": str(folder)}


def problems(folder: Path) -> list[str]:
    """What the server has logged as an error."""
    return [line for line in (folder / "log").read_text().splitlines() if " ERROR " in line or "Traceback" in line]


@contextlib.contextmanager
def _llm() -> Iterator[str]:
    """The LLM's address; it runs in a thread."""
    found: list[tuple[asyncio.AbstractEventLoop, str]] = []
    started, ended = threading.Event(), asyncio.Event()

    async def listen() -> None:
        async with listening(Attendant()) as url:
            found.append((asyncio.get_running_loop(), url))
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    started.wait()
    ((loop, url),) = found
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as environ,
        contextlib.suppress(KeyboardInterrupt),
    ):
        print(*(f"export {name}={value}" for name, value in environ.items()), sep="\n", flush=True)
        threading.Event().wait()

"""Every example of docs/voice-chat.md works as it is written, against `speaches serve` with a small LLM."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests import recordings
from tests.chat.llm import DONE, SmallLlm, finish, listening, written
from tests.fakes import PATIENCE
from tests.test_readme import ROOT, SENTENCE, blocks, curl, running
from tests.worker.helpers import free_port

GUIDE = (ROOT / "docs" / "voice-chat.md").read_text()
STORY = "Once upon a time there was a server. It spoke, and everybody heard it."


@pytest.fixture(scope="module")
def llm() -> Iterator[tuple[SmallLlm, str]]:
    """An LLM in a thread of its own, and where it is."""
    small = SmallLlm(says="The recording says hello.", script=[*written(STORY, words=3), finish(), DONE])
    started, ended = threading.Event(), asyncio.Event()
    found: list[tuple[asyncio.AbstractEventLoop, str]] = []

    async def listen() -> None:
        async with listening(small) as url:
            found.append((asyncio.get_running_loop(), url))
            started.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert started.wait(PATIENCE)
    ((loop, url),) = found
    yield small, url
    loop.call_soon_threadsafe(ended.set)
    thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, llm: tuple[SmallLlm, str]) -> Iterator[tuple[str, Path]]:
    """`speaches serve`, and a folder with a recording to work in."""
    folder, address = tmp_path_factory.mktemp("chat"), f"http://localhost:{(port := free_port())}"
    (folder / "speech.wav").write_bytes(recordings.wav(recordings.say(SENTENCE)))
    settings = {"UVICORN_PORT": str(port), "CHAT_COMPLETION_BASE_URL": llm[1], "CHAT_COMPLETION_MODEL": "llama3.2"}
    with running(["-m", "speaches", "serve"], folder, f"{address}/health", **settings):
        yield address, folder


def run(example: str, served: tuple[str, Path]) -> str:
    """What an example prints."""
    address, folder = served
    script = example.replace("http://localhost:8000", address)
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_text_is_spoken(served: tuple[str, Path]) -> None:
    address, folder = served
    (example,) = blocks("bash", GUIDE)
    curl(example.replace("http://localhost:8000", address).strip(), folder)
    audio = json.loads((folder / "answer.json").read_text())["choices"][0]["message"]["audio"]
    assert audio["transcript"] == "The recording says hello."
    assert base64.b64decode(audio["data"])[:2] in (b"\xff\xfb", b"\xff\xf3")  # a frame of mp3


def test_a_recording_is_answered(served: tuple[str, Path], llm: tuple[SmallLlm, str]) -> None:
    assert len(blocks("python", GUIDE)) == 3
    assert run(blocks("python", GUIDE)[0], served) == "The recording says hello.\n"
    assert llm[0].asked[-1]["messages"][0]["content"][1]["text"] == SENTENCE
    assert llm[0].asked[-1]["model"] == "llama3.2"
    samples, rate = soundfile.read(served[1] / "answer.wav")
    assert 0.5 < len(samples) / rate < 5


def test_a_story_is_heard_while_it_is_written(served: tuple[str, Path]) -> None:
    assert run(blocks("python", GUIDE)[1], served).strip() == STORY
    assert 2 < (served[1] / "answer.pcm").stat().st_size / 48_000 < 12


def test_a_conversation_goes_on(served: tuple[str, Path], llm: tuple[SmallLlm, str]) -> None:
    assert run(blocks("python", GUIDE)[2], served) == "The recording says hello.\n"
    said = [message["content"] for message in llm[0].asked[-1]["messages"]]
    assert said == [[{"type": "text", "text": SENTENCE}], "The recording says hello.", "Are you sure?"]

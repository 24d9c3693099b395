"""What the clients' scripts share. It needs the standard library alone.

with checked("text in, speech out"):
    ...
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import time
import urllib.request
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

URL = os.environ["SPEACHES_URL"]
KEY = os.environ["SPEACHES_KEY"]
WS_URL = URL.replace("http", "ws", 1)
RECORDINGS = Path(os.environ["RECORDINGS"])
SPOKEN: dict[str, str] = json.loads((RECORDINGS / "spoken.json").read_text())
WIRE_RATE = 24_000  # Hz
CHUNK = WIRE_RATE // 10  # samples of one append: 100 ms
PATIENCE = 30.0  # seconds until what does not come is a failure

# What the LLM says: scripts/clients/llm.py.
GREETING = "Thank you for calling, how can I help you?"
FORECAST = "The weather is nice today."
FAREWELL = "Goodbye, see you tomorrow."
STORY_BEGINS = "Good morning and welcome to the show. The quick brown fox jumps over the lazy dog."


@contextmanager
def checked(what: str) -> Iterator[None]:
    """Do a part of the script, and print how it went. The next part follows in any case; `finish` tells of it."""
    started = time.monotonic()
    problem = None
    try:
        yield
    except Exception as error:
        import traceback

        traceback.print_exc()
        problem = f"{type(error).__name__}: {error}"[:300]
        _failed.append(what)
    seconds = round(time.monotonic() - started, 1)
    print(json.dumps({"check": what, "seconds": seconds, "problem": problem}), flush=True)


_failed: list[str] = []


def finish() -> None:
    sys.exit(1 if _failed else 0)


def recorded(name: str) -> bytes:
    """One of SPOKEN as s16le at 24 kHz."""
    with wave.open(str(RECORDINGS / f"{name}.wav")) as file:
        return file.readframes(file.getnframes())


def quiet(seconds: float) -> bytes:
    return bytes(2 * round(seconds * WIRE_RATE))


def chunks(pcm: bytes) -> list[bytes]:
    return [pcm[start : start + 2 * CHUNK] for start in range(0, len(pcm), 2 * CHUNK)]


def wav(pcm: bytes, rate: int = WIRE_RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def same(heard: str | None, said: str) -> None:
    """The right words, whatever their case and what stands between them."""
    assert heard is not None and words(heard) == words(said), f"{heard!r} is not {said!r}"


def audible(pcm: bytes, said: str, rate: int = WIRE_RATE) -> None:
    """Samples (s16le) that are loud enough, and take about as long as these words do."""
    assert len(pcm) % 2 == 0, f"{len(pcm)} bytes are no whole samples"
    loudest = max(abs(value) for value in array("h", pcm)) if pcm else 0
    assert loudest > 3000, f"the loudest of {len(pcm) // 2} samples is {loudest}"
    seconds, expected = len(pcm) / 2 / rate, len(words(said)) / 3
    assert 0.4 * expected < seconds < 2.5 * expected, f"{seconds:.1f} s for {said!r}"


def understood(audio: bytes, said: str) -> None:
    """A file of speech of which our own recogniser gets half the words or more.

    It knows one of espeak-ng's voices well, and clients choose others: `GREETING` is what it understands of all of them.
    """
    heard, wanted = words(transcript_of(audio)), words(said)
    known = sum(word in heard for word in wanted)
    assert known >= len(wanted) / 2, f"of {said!r} was heard {' '.join(heard)!r}"


def spoken(pcm: bytes, said: str) -> None:
    """Both."""
    audible(pcm, said)
    understood(wav(pcm), said)


def transcript_of(audio: bytes) -> str:
    """By a plain request, without the help of any client."""
    head = '--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n'
    tail = '\r\n--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n--b--\r\n'
    request = urllib.request.Request(
        f"{URL}/v1/audio/transcriptions",
        head.encode() + audio + tail.encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "multipart/form-data; boundary=b"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return str(json.load(answer)["text"])

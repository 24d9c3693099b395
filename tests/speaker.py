"""espeak-ng that says a sentence always in the same way.

Within one process it never does: noise and flutter of its voice go on from one sentence to the next. So that a test hears the same
whatever ran before it, a process that has never spoken makes a child for each sentence.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

ROOT = Path(__file__).parent.parent


def spoken(text: str, voice: str, words_per_minute: int) -> bytes:
    """s16le at espeak-ng's rate."""
    speaker = _speaker()
    assert speaker.stdin and speaker.stdout
    speaker.stdin.write(json.dumps([text, voice, words_per_minute]).encode() + b"\n")
    speaker.stdin.flush()
    size = int(speaker.stdout.readline())
    assert size, f"espeak-ng said nothing of {text!r} as {voice!r}"
    return speaker.stdout.read(size)


@functools.cache
def _speaker() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.speaker"]
    speaker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(_dismiss, speaker)
    return speaker


def _dismiss(speaker: subprocess.Popen[bytes]) -> None:
    assert speaker.stdin and speaker.stdout
    speaker.stdin.close()
    speaker.wait()
    speaker.stdout.close()


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    from speaches.engines import espeak

    library = espeak._library()
    for line in requests:
        text, voice, words_per_minute = json.loads(line)
        language, plus, variant = voice.partition("+")
        _, file = espeak._files()[language]
        if not os.fork():
            pcm = library.speak(text, f"{file}{plus}{variant}", words_per_minute)
            answers.write(b"%d\n" % len(pcm) + pcm)
            answers.flush()
            os._exit(0)
        os.wait()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)

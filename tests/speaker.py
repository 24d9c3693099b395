"""espeak-ng that says a sentence always in the same way.

Within one process it never does: noise and flutter of its voice go on from one sentence to the next. So that a test hears the same
whatever ran before it, a process that has never spoken makes a child for each sentence.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

ROOT = Path(__file__).parent.parent


def spoken(text: str, voice: str, words_per_minute: int) -> bytes:
    """s16le at espeak-ng's rate."""
    pcm, _ = _answer(text, voice, words_per_minute)
    return pcm


def word_starts(text: str, voice: str, words_per_minute: int) -> list[tuple[int, float]]:
    """Words by espeak-ng itself: the place in the text where each begins, and when in what `spoken` gives, in seconds.

    It says some pairs as one word, such as "of the".
    """
    _, starts = _answer(text, voice, words_per_minute)
    return starts


def _answer(text: str, voice: str, words_per_minute: int) -> tuple[bytes, list[tuple[int, float]]]:
    speaker = _speaker()
    assert speaker.stdin and speaker.stdout
    speaker.stdin.write(json.dumps([text, voice, words_per_minute]).encode() + b"\n")
    speaker.stdin.flush()
    size, starts = json.loads(speaker.stdout.readline())
    assert size, f"espeak-ng said nothing of {text!r} as {voice!r}"
    return speaker.stdout.read(size), [(place, start) for place, start in starts]


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


class _Event(ctypes.Structure):
    """espeak_EVENT of `speak_lib.h`."""

    _fields_: ClassVar[Any] = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_uint64),
    ]


_LIST_TERMINATED, _WORD = 0, 1


def _listening(library: Any) -> list[tuple[int, float]]:
    """Have the library's own callback see each block, and keep where words begin."""
    starts: list[tuple[int, float]] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))  # type: ignore[untyped-decorator]
    def receive(wav: Any, count: int, events: Any) -> int:
        index = 0
        while events[index].type != _LIST_TERMINATED:
            if events[index].type == _WORD:
                starts.append((events[index].text_position - 1, events[index].audio_position / 1000))
            index += 1
        return int(library._receive(wav, count, events))

    library._heard = receive  # the library holds only a pointer
    library._lib.espeak_SetSynthCallback(receive)
    return starts


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    from speaches.engines import espeak
    from speaches.engines.espeak_library import library as loaded

    library = loaded()
    for line in requests:
        text, voice, words_per_minute = json.loads(line)
        language, plus, variant = voice.partition("+")
        _, file = espeak._files()[language]
        if not os.fork():
            starts = _listening(library)
            pcm = library.speak(text, f"{file}{plus}{variant}", words_per_minute).pcm
            answers.write(json.dumps([len(pcm), starts]).encode() + b"\n" + pcm)
            answers.flush()
            os._exit(0)
        os.wait()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)

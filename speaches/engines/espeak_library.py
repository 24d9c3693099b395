"""espeak-ng's C library, as `speak_lib.h` declares it: text in, samples out, and marks that tell when what was said."""

from __future__ import annotations

import ctypes
import functools
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from speaches.text.plain import plain

__all__ = ["SAMPLE_RATE", "Mark", "Speech", "data", "library"]

SAMPLE_RATE = 22_050  # Hz, what espeak_Initialize answers for the data in the wheel

# espeak-ng/speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS, _INITIALIZE_PHONEME_IPA = 1, 2
_CHARS_UTF8, _PHONEMES = 1, 0x100
_POSITION_CHARACTER = 1
_PARAMETER_RATE = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _Event(ctypes.Structure):
    """espeak_EVENT. What the phoneme is called stands in a union of eight bytes, without NUL where it fills them."""

    _fields_: ClassVar[Any] = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("string", ctypes.c_char * 8),
    ]


@dataclass(frozen=True)
class Mark:
    """Where a word or a phoneme begins."""

    sample: int
    """Samples from the start of the speech."""
    place: int
    """Characters from the start of the text; only words tell it reliably."""
    phoneme: str | None = None
    """None for a word; in IPA, empty for a pause."""


@dataclass(frozen=True)
class Speech:
    pcm: bytes
    """s16le at SAMPLE_RATE."""
    marks: tuple[Mark, ...] = ()
    """In order."""


@functools.cache
def data() -> Path:
    """The folder of voices and dictionaries."""
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


class _Library:
    """The library's one copy in this process. All of its state is global, so one lock guards every use."""

    def __init__(self) -> None:
        import espeakng_loader

        self.lock = threading.Lock()
        self._lib: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._blocks: list[bytes] = []
        self._marks: list[Mark] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only a pointer
        options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_PHONEME_IPA
        rate = self._lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(data()).encode(), options)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng did not start (espeak_Initialize returned {rate})")
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            self._blocks.append(ctypes.string_at(wav, count * 2))
        if events:
            self._marks += _marks(ctypes.cast(events, ctypes.POINTER(_Event)))
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int, *, phonemes: bool = False) -> Speech:
        """Speak a text.

        Args:
            voice: A file, and perhaps a way to speak: `gmw/en+f2`.
            phonemes: Whether `[[...]]` in the text holds espeak-ng's phonemes.
        """
        encoded = plain(text).encode()
        flags = _CHARS_UTF8 | (_PHONEMES if phonemes else 0)
        with self.lock:
            if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._lib.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
            self._blocks, self._marks = [], []
            self._lib.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, flags, None, None)
            self._lib.espeak_Synchronize()
            speech = Speech(b"".join(self._blocks), tuple(self._marks))
            self._blocks, self._marks = [], []
            return speech


library = functools.cache(_Library)


def _marks(events: Any) -> list[Mark]:
    """The words and phonemes of a block's events."""
    found, index = [], 0
    while (event := events[index]).type != _EVENT_LIST_TERMINATED:
        index += 1
        if event.type in (_EVENT_WORD, _EVENT_PHONEME):
            # Milliseconds are all that there is where the library was built without the other.
            sample = event.sample or event.audio_position * SAMPLE_RATE // 1000
            phoneme = event.string.decode(errors="ignore") if event.type == _EVENT_PHONEME else None
            found.append(Mark(sample, event.text_position - 1, phoneme))
    return found

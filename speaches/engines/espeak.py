"""espeak-ng: the built-in voice. Formant synthesis in over 100 languages; robotic, but it needs no download.

espeak-ng is GPL-3; it is loaded when a request chooses it.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.text.plain import plain

if TYPE_CHECKING:
    from speaches.settings import Settings

NAME = "espeak-ng"
TASK = Task.TTS
BUILTIN = ("speaches/espeak-ng",)
PATTERNS: tuple[str, ...] = ()

SAMPLE_RATE = 22_050  # Hz, what espeak_Initialize answers for the data in the wheel
NORMAL_RATE = 175  # words a minute, espeak-ng's default
SLOWEST, FASTEST = 80, 449  # words a minute; from 450 on it switches to another library that is not in the wheel

# espeak-ng/speak_lib.h
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1
_PARAMETER_RATE = 1
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def recognises(folder: Path) -> bool:
    return False


def describe(folder: Path | None) -> Description:
    return Description(languages=_languages(), voices=_voices(), sample_rate=SAMPLE_RATE)


def load(folder: Path | None, settings: Settings) -> Espeak:
    return Espeak(_library())


@functools.cache
def _data() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


@functools.cache
def _files() -> dict[str, tuple[Voice, str]]:
    """Language, in small letters -> a voice and its file, such as `gmw/en`, by which the library finds it.

    Read from the files, so that listing voices loads no library. By its language alone it would not find `en-gb` or `fr-fr`.
    """
    folder = _data() / "lang"
    found: dict[str, tuple[int, Voice, str]] = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        name, languages = _read(file)
        # Some have no dictionary in the wheel: they would be silent.
        if not languages or not (_data() / f"{languages[0][1].split('-')[0]}_dict").is_file():
            continue
        own = languages[0][1]
        voice = Voice(own, name, _tag(own), "male")
        for priority, language in [(-1, own), *languages[1:]]:  # `en` is a language of several; the lowest wins
            entry = (priority, voice, file.relative_to(folder).as_posix())
            found[language.lower()] = min(found.get(language.lower(), entry), entry, key=lambda one: one[0])
    return {language: (voice, file) for language, (_, voice, file) in found.items()}


def _read(file: Path) -> tuple[str, list[tuple[int, str]]]:
    """The name of a voice, and its languages with their priorities."""
    lines = [line.split("//")[0].split() for line in file.read_text(errors="replace").splitlines()]
    name = next((" ".join(line[1:]) for line in lines if line[:1] == ["name"]), file.name)
    languages = [line for line in lines if line[:1] == ["language"] and len(line) > 1]
    return name, [(int(line[2]) if line[2:3] and line[2].isdigit() else 5, line[1]) for line in languages]


@functools.cache
def _voices() -> tuple[Voice, ...]:
    """A voice for each language, e.g. `en-us`."""
    own = (voice for language, (voice, _) in _files().items() if language == voice.id.lower())
    return tuple(sorted(own, key=lambda v: v.id))


def _tag(language: str) -> str:
    """`en-us` as BCP 47 writes it: `en-US`."""
    first, *rest = language.split("-")
    return "-".join([first, *(part.upper() if len(part) == 2 else part for part in rest)])


@functools.cache
def _languages() -> tuple[str, ...]:
    return tuple(dict.fromkeys(voice.language.split("-")[0] for voice in _voices()))


@functools.cache
def variants() -> tuple[str, ...]:
    """Ways to speak that go after a `+`, as in `en-us+f2`."""
    return tuple(sorted(file.name for file in (_data() / "voices" / "!v").iterdir()))


class _Library:
    """The library's one copy in this process. All of its state is global, so one lock guards every use."""

    def __init__(self) -> None:
        import espeakng_loader

        self.lock = threading.Lock()
        self._lib: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._blocks: list[bytes] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library holds only a pointer
        rate = self._lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, str(_data()).encode(), 0)
        if rate != SAMPLE_RATE:
            raise RuntimeError(f"espeak-ng did not start (espeak_Initialize returned {rate})")
        self._lib.espeak_SetSynthCallback(self._callback)

    def _receive(self, wav: Any, count: int, events: Any) -> int:
        if wav and count > 0:
            self._blocks.append(ctypes.string_at(wav, count * 2))
        return 0

    def speak(self, text: str, voice: str, words_per_minute: int) -> bytes:
        """s16le at SAMPLE_RATE. A voice is a file, and perhaps a way to speak: `gmw/en+f2`."""
        encoded = plain(text).encode()
        with self.lock:
            if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng has no voice {voice!r}")
            self._lib.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
            self._blocks.clear()
            self._lib.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)
            self._lib.espeak_Synchronize()
            pcm = b"".join(self._blocks)
            self._blocks.clear()
            return pcm


_library = functools.cache(_Library)


class Espeak:
    sample_rate = SAMPLE_RATE
    speeds = (SLOWEST / NORMAL_RATE, FASTEST / NORMAL_RATE)
    workers = 1  # the lock would keep two from running
    pause = 0.0  # it makes its own between sentences

    def __init__(self, library: _Library) -> None:
        self._library = library
        self.languages: Sequence[str] = tuple(dict.fromkeys(voice.language for voice in _voices()))

    def voices(self) -> Sequence[Voice]:
        return _voices()

    def voice(self, name: str) -> Voice | None:
        """A language (`en-us`), or one with a way to speak it (`en-us+f2`)."""
        base, plus, variant = name.partition("+")
        found, _ = _files().get(base.lower(), (None, ""))
        if found is None or not plus:
            return found
        return Voice(f"{found.id}+{variant}", found.name, found.language) if variant in variants() else None

    def synthesize(self, piece: Piece) -> Utterance:
        from speaches.audio.pcm import from_pcm16

        base, plus, variant = piece.voice.partition("+")
        if base.lower() not in _files():
            raise ValueError(f"espeak-ng has no voice {piece.voice!r}")
        _, file = _files()[base.lower()]
        pcm = self._library.speak(piece.text, f"{file}{plus}{variant}", round(NORMAL_RATE * piece.speed))
        samples = from_pcm16(pcm)
        return Utterance(samples if samples.any() else samples[:0])  # of "..." it makes some milliseconds of silence

    def close(self) -> None:
        """Nothing: the library stays for the next one, it can't be loaded twice."""

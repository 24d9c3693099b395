"""espeak-ng: the built-in voice. Formant synthesis in over 100 languages; robotic, but it needs no download.

A voice is a language (`en-us`), or a language and a variant, which is a way to speak it (`en-us+f2`; `f2` for short). espeak-ng is GPL-3;
it is loaded when a request chooses it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from speaches.engines.base import Piece, Task, Utterance, Voice
from speaches.engines.description import Description
from speaches.engines.espeak_library import SAMPLE_RATE, data, library
from speaches.text.markup import Phonemes, Words, spans
from speaches.text.plain import breakable, speakable

if TYPE_CHECKING:
    from speaches.settings import Settings

__all__ = ["BUILTIN", "NAME", "PATTERNS", "SAMPLE_RATE", "TASK", "Espeak", "describe", "load", "recognises", "variants"]

NAME = "espeak-ng"
TASK = Task.TTS
BUILTIN = ("speaches/espeak-ng",)
PATTERNS: tuple[str, ...] = ()

NORMAL_RATE = 175  # words a minute, espeak-ng's default
SLOWEST, FASTEST = 80, 449  # words a minute; from 450 on it switches to another library that is not in the wheel
USUAL = "en-us"  # the language of a variant that comes without one

TAGS = {"cmn": "zh", "cmn-latn-pinyin": "zh-Latn-pinyin"}
"""Languages that BCP 47, as others use it, calls otherwise than espeak-ng."""

# One word of espeak-ng's phonemes. Not `^` and brackets, which switch languages; not longer, its buffers are fixed.
_MNEMONICS = re.compile(r"[\w@:;,'|~!?*\"`\-#%&=.<>+/{}$]{1,60}", re.ASCII)


def recognises(folder: Path) -> bool:
    return False


def describe(folder: Path | None) -> Description:
    return Description(languages=_languages(), voices=_voices(), sample_rate=SAMPLE_RATE)


def load(folder: Path | None, settings: Settings) -> Espeak:
    library()
    return Espeak()


# --- Voices ---


@functools.cache
def _files() -> dict[str, tuple[Voice, str]]:
    """Language, in small letters -> a voice and its file, such as `gmw/en`, by which the library finds it.

    Read from the files, so that listing voices loads no library. By its language alone it would not find `en-gb` or `fr-fr`.
    """
    folder = data() / "lang"
    found: dict[str, tuple[int, Voice, str]] = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        lines = _lines(file)
        languages = [
            (int(line[2]) if line[2:3] and line[2].isdigit() else 5, line[1])
            for line in lines
            if line[0] == "language" and len(line) > 1
        ]
        # Some have no dictionary in the wheel: they would be silent.
        if not languages or not (data() / f"{languages[0][1].split('-')[0]}_dict").is_file():
            continue
        own = languages[0][1]
        name = next((" ".join(line[1:]) for line in lines if line[0] == "name"), file.name)
        voice = Voice(own, name, _tag(own), "male")
        for priority, language in [(-1, own), *languages[1:]]:  # `en` is a language of several; the lowest wins
            entry = (priority, voice, file.relative_to(folder).as_posix())
            found[language.lower()] = min(found.get(language.lower(), entry), entry, key=lambda one: one[0])
    return {language: (voice, file) for language, (_, voice, file) in found.items()}


def _lines(file: Path) -> list[list[str]]:
    """The words of each line that has some."""
    lines = (line.split("//")[0].split() for line in file.read_text(errors="replace").splitlines())
    return [line for line in lines if line]


def _tag(language: str) -> str:
    """`en-us` as BCP 47 writes it: `en-US`."""
    first, *rest = language.split("-")
    return TAGS.get(language) or "-".join([first, *(part.upper() if len(part) == 2 else part for part in rest)])


@functools.cache
def variants() -> dict[str, tuple[str, Literal["female", "male"] | None]]:
    """Ways to speak, in small letters -> as it is written after a `+`, and its gender where the file tells."""
    genders: dict[str, Literal["female", "male"]] = {"female": "female", "male": "male"}
    found = {}
    for file in sorted((data() / "voices" / "!v").iterdir()):
        told = next((line[1].lower() for line in _lines(file) if line[0] == "gender" and len(line) > 1), "")
        found[file.name.lower()] = (file.name, genders.get(told))
    return found


@functools.cache
def _voices() -> tuple[Voice, ...]:
    """A voice for each language, then one for each variant. All of their combinations would be over ten thousand."""
    languages = sorted({voice.id: voice for voice, _ in _files().values()}.values(), key=lambda voice: voice.id)
    return (*languages, *(_varied(_files()[USUAL][0], variant) for variant in variants()))


def _varied(voice: Voice, variant: str) -> Voice:
    name, gender = variants()[variant.lower()]
    return Voice(f"{voice.id}+{name}", f"{voice.name}, {name}", voice.language, gender)


@functools.cache
def _languages() -> tuple[str, ...]:
    return tuple(dict.fromkeys(voice.language.split("-")[0] for voice in _voices()))


def _in_language(voice: Voice, language: str | None) -> str:
    """The file of a voice's language, or of the one that is asked for in its place."""
    own = voice.id.partition("+")[0].lower()
    if language is None or language.lower() == voice.language.lower().split("-")[0]:
        return _files()[own][1]
    wanted = language.lower()
    by_tag = {one.language.lower(): one.id.lower() for one, _ in _files().values()}
    first = wanted.split("-")[0]
    for found in (by_tag.get(wanted), wanted, by_tag.get(first), first):
        if found in _files():
            return _files()[found][1]
    return next((file for one, file in _files().values() if one.language.split("-")[0] == first), _files()[own][1])


# --- Speech ---


class Espeak:
    sample_rate = SAMPLE_RATE
    speeds = (SLOWEST / NORMAL_RATE, FASTEST / NORMAL_RATE)
    workers = 1  # the library's lock would keep two from running
    pause = 0.0  # it makes its own between sentences

    def __init__(self) -> None:
        self.languages: Sequence[str] = tuple(dict.fromkeys(voice.language for voice in _voices()))

    def voices(self) -> Sequence[Voice]:
        return _voices()

    def voice(self, name: str) -> Voice | None:
        """A language (`en-us`), a variant (`f2`), or both (`en-us+f2`)."""
        base, plus, variant = name.partition("+")
        found, _ = _files().get(base.lower(), (None, ""))
        if found is None and (not base or not plus) and (variant or base).lower() in variants():
            return _varied(_files()[USUAL][0], variant or base)
        if found is None or not plus:
            return found
        return _varied(found, variant) if variant.lower() in variants() else None

    def synthesize(self, piece: Piece) -> Utterance:
        from speaches.audio.pcm import from_pcm16
        from speaches.engines.espeak_words import spoken_words

        voice = self.voice(piece.voice)
        if voice is None:
            raise ValueError(f"espeak-ng has no voice {piece.voice!r}")
        _, plus, variant = voice.id.partition("+")
        text, phonemes = _to_speak(piece.text)
        file = f"{_in_language(voice, piece.language)}{plus}{variant}"
        speech = library().speak(text, file, round(NORMAL_RATE * piece.speed), phonemes=phonemes)
        samples = from_pcm16(speech.pcm)
        if not samples.any():  # of "..." it makes some milliseconds of silence
            return Utterance(samples[:0])
        words = spoken_words(text, speech.marks, len(samples), SAMPLE_RATE) if piece.timed else ()
        return Utterance(samples, words)

    def close(self) -> None:
        """Nothing: the library stays for the next one, it can't be loaded twice."""


def _to_speak(text: str) -> tuple[str, bool]:
    """The text as the library takes it, and whether it holds phonemes in brackets.

    The library knows its own phonemes only, which are written in ASCII. For others the word is spoken that they stand for; where it is
    not told, they are left out.
    """
    parts = spans(speakable(text))
    with_phonemes = any(_is_own_phonemes(part) for part in parts)
    return "".join(_to_library(part, with_phonemes) for part in parts), with_phonemes


def _to_library(part: Words | Phonemes, with_phonemes: bool) -> str:
    if isinstance(part, Phonemes):
        return f"[[{part.phonemes}]]" if _is_own_phonemes(part) else part.written
    # Where there are phonemes, brackets that are no notation would be taken for the start of some.
    return breakable(part.text.replace("[[", "[ ") if with_phonemes else part.text)


def _is_own_phonemes(part: Words | Phonemes) -> bool:
    return (
        isinstance(part, Phonemes)
        and not part.written
        and all(_MNEMONICS.fullmatch(word) for word in part.phonemes.split())
    )

"""Text -> Kokoro's phonemes: by espeak-ng, and by misaki where Kokoro learned Japanese and Chinese from it.

espeak-ng has no Chinese characters in Japanese text (it says "Chinese letter"), and its Chinese has other phonemes than Kokoro's.
"""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from speaches.text.plain import portions

if TYPE_CHECKING:
    Pronounce: TypeAlias = Callable[[str], str]

logger = logging.getLogger(__name__)

JAPANESE, CHINESE = "ja", "cmn"  # espeak-ng's names
BOPOMOFO = "ㄅ"  # in the vocabulary of Kokoro v1.1-zh, whose Chinese has phonemes of its own

_LEARNED_FROM_MISAKI = {JAPANESE: "Japanese", CHINESE: "Chinese"}

# Not between two digits: those of "3.5" and "12:30" are espeak-ng's to read.
_MARKS = re.compile(r"""(\s*+(?:[;!?¡¿—…"«»“”(){}\[\]]|(?<![0-9])[.,:]|[.,:](?![0-9]))++\s*+)""")
_LATIN = re.compile(r"([A-Za-zÀ-ɏ][A-Za-zÀ-ɏ'’-]*+(?:\s++[A-Za-zÀ-ɏ][A-Za-zÀ-ɏ'’-]*+)*+)")
_LONG_NUMBER = re.compile(r"[0-9]{16}(?=[0-9])")  # misaki leaves longer ones as they are

_misaki_lock = threading.Lock()  # its dictionaries are not made for several threads

# It warns of every word of another language, with the words.
_quiet = logging.getLogger(f"{__name__}.espeak")
_quiet.setLevel(logging.ERROR)


def pronounced(text: str, language: str, *, bopomofo: bool = False) -> str:
    """The phonemes of a text, with its punctuation, in groups between spaces.

    Args:
        language: espeak-ng's name for it.
        bopomofo: Whether the model takes Chinese as Kokoro v1.1-zh does.
    """
    if language not in _LEARNED_FROM_MISAKI:
        return by_espeak(text, language)
    fallback = functools.partial(by_espeak, language=language)
    pronounce = misaki(language, bopomofo)
    try:
        return _mixed(text, pronounce or fallback)
    except Exception as error:  # it knows few of the texts that strangers send
        logger.warning("misaki failed on a text (%s): pronouncing it with espeak-ng.", type(error).__name__)
        return _mixed(text, fallback)


def by_espeak(text: str, language: str) -> str:
    """As kokoro-onnx does it, but for two things that its phonemizer would have the voice say.

    In "It costs 3.5 dollars." it ends a sentence after the 3, and it tells of a foreign word with `(en)`.
    """
    return " ".join(phonemes for portion in portions(text) if (phonemes := _portion_by_espeak(portion, language)))


def _portion_by_espeak(text: str, language: str) -> str:
    import phonemizer
    from kokoro_onnx.tokenizer import _espeak_lock

    spoken = []
    with _espeak_lock:  # espeak-ng's state is the whole process's
        for index, part in enumerate(_MARKS.split(text)):
            if index % 2 or not part.strip():
                spoken.append(part)
            else:
                spoken.append(
                    phonemizer.phonemize(
                        part, language, with_stress=True, strip=True, language_switch="remove-flags", logger=_quiet
                    )
                )
    return " ".join("".join(spoken).split())


@functools.cache
def misaki(language: str, bopomofo: bool) -> Pronounce | None:
    """What pronounces Japanese or Chinese as Kokoro learned it; None, with a warning, where it is not installed."""
    try:
        return _japanese() if language == JAPANESE else _chinese(bopomofo)
    except Exception as error:  # it is an extra, and its dictionaries are more packages
        name = _LEARNED_FROM_MISAKI[language]
        logger.warning(
            "Kokoro's %s is pronounced by espeak-ng, which it was not trained with. Install `speaches[%s]` for a better one (%s).",
            name,
            name.lower(),
            error,
        )
        return None


def _japanese() -> Pronounce:
    # Not `misaki.ja`, which asks for pyopenjtalk, which asks the network for a dictionary.
    from misaki.cutlet import Cutlet

    cutlet: Any = Cutlet()
    return lambda text: str(cutlet(text)[0])


def _chinese(bopomofo: bool) -> Pronounce:
    import jieba
    from misaki.zh import ZHG2P

    jieba.setLogLevel(logging.WARNING)
    chinese: Any = ZHG2P("1.1", unk="", en_callable=lambda text: text) if bopomofo else ZHG2P()
    return lambda text: str(chinese(text)[0])


def _mixed(text: str, pronounce: Pronounce) -> str:
    """Latin words are English: misaki would leave them as they are, and espeak-ng's Chinese would spell them."""
    parts = []
    for index, part in enumerate(_LATIN.split(text)):
        if index % 2:
            parts.append(by_espeak(part, "en-us"))
        elif part.strip():
            with _misaki_lock:
                parts.append(pronounce(_LONG_NUMBER.sub(r"\g<0> ", part)))
    return " ".join(" ".join(parts).split())

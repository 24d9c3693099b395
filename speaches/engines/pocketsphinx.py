"""CMU PocketSphinx: the built-in recogniser of US English. Modest, but it needs no download."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Hypothesis, Segment, Task, Window, Word
from speaches.engines.description import Description

if TYPE_CHECKING:
    from speaches.engines.base import Samples
    from speaches.settings import Settings

NAME = "pocketsphinx"
TASK = Task.STT
BUILTIN = ("speaches/pocketsphinx-en-us",)
PATTERNS: tuple[str, ...] = ()

FRAME_SECONDS = 0.01
BLOCK_BYTES = SAMPLE_RATE // 10 * 2  # 100 ms of s16le: a call holds the GIL, and a whole utterance would take a second


def recognises(folder: Path) -> bool:
    return False


def describe(folder: Path | None) -> Description:
    return Description(languages=("en",))


def load(folder: Path | None, settings: Settings) -> PocketSphinx:
    return PocketSphinx()


class PocketSphinx:
    """Hears a window as one utterance. Not thread-safe, and the GIL would keep two from running anyway: one worker."""

    languages: Sequence[str] = ("en",)
    translates = False
    workers = 1
    batch_size = 1

    def __init__(self) -> None:
        import pocketsphinx

        self._acoustic: dict[str, Any] = {
            "samprate": SAMPLE_RATE,
            "loglevel": "FATAL",
            "hmm": pocketsphinx.get_model_path("en-us/en-us"),
        }
        self._decoder = pocketsphinx.Decoder(
            lm=pocketsphinx.get_model_path("en-us/en-us.lm.bin"),
            dict=pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"),
            **self._acoustic,
        )

    def batch_key(self, window: Window) -> object:
        return window.options

    def prepare(self, samples: Samples, options: DecodeOptions) -> None:
        """Nothing: it takes samples."""

    def decode(self, windows: Sequence[Window]) -> list[Hypothesis]:
        return [self._hear(window) for window in windows]

    def close(self) -> None:
        del self._decoder

    def _hear(self, window: Window) -> Hypothesis:
        from speaches.audio.pcm import to_pcm16

        pcm = to_pcm16(window.samples)
        if not pcm:
            return Hypothesis((), "en")
        self._decoder.set_cmn(self._cepstral_mean(pcm))
        self._decoder.start_utt()
        for start in range(0, len(pcm), BLOCK_BYTES):
            self._decoder.process_raw(pcm[start : start + BLOCK_BYTES])
        self._decoder.end_utt()
        words = tuple(self._words())
        if not words:
            return Hypothesis((), "en")
        text = "".join(word.word for word in words)
        # Without word times asked for, they still bound the segment.
        return Hypothesis(
            (Segment(text, words[0].start, words[-1].end, words=words if window.options.words else ()),), "en"
        )

    def _cepstral_mean(self, pcm: bytes) -> str:
        """The utterance's mean cepstrum, which normalises away voice and room; without it most words are misheard.

        The library knows it only after hearing the whole utterance in one call, which would hold the GIL through the search. So a decoder
        with nothing to search for computes the features alone (10 ms for 30 s), and is thrown away before it would search.
        """
        import pocketsphinx

        with tempfile.NamedTemporaryFile("w", suffix=".dict") as words:
            words.write("oh OW\n")
            words.flush()
            features = pocketsphinx.Decoder(dict=words.name, lm=None, keyphrase="oh", cmn="batch", **self._acoustic)
        features.start_utt()
        features.process_raw(pcm, no_search=True, full_utt=True)
        return str(features.get_cmn(False))

    def _words(self) -> Iterator[Word]:
        if self._decoder.hyp() is None:
            return
        log_math = self._decoder.get_logmath()
        for segment in self._decoder.seg():
            if segment.word.startswith(("<", "[", "++")):  # silence and noises
                continue
            yield Word(
                " " + segment.word.partition("(")[0],  # "your(2)" is another pronunciation of "your"
                start=segment.start_frame * FRAME_SECONDS,
                end=(segment.end_frame + 1) * FRAME_SECONDS,
                probability=min(1.0, log_math.exp(segment.prob)),
            )

"""Text that a recogniser makes up: loops, and what it learnt to write under silence and music. Rules only.

Whisper was trained on subtitles, so it closes a silence with "Thank you for watching". Such phrases are also said by people: they are
dropped only where there is little sign of speech. A segment that comes again and again is dropped where nobody says it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from speaches.engines.base import Segment

DOUBTFUL_NO_SPEECH = 0.3
"""From this chance of no speech on, by the recogniser, a known phrase is taken for made up."""
DOUBTFUL_ACTIVITY = 0.75
"""Below this chance of speech in the clearest quarter of the window, by the voice activity detector, likewise."""
NO_ACTIVITY = 0.15
"""Below this chance nobody speaks; then any text is made up that the recogniser itself has doubts about."""
MOST_REPEATS = 2
"""How often the same segment may follow itself without a look at the audio: people do say things twice."""
SPOKEN_SHARE = 0.5
"""A repetition with speech under it, of this share of what was under the phrase first, was said: people do say things twelve times."""

PHRASES = frozenset(
    {
        "thank you", "thank you very much", "thank you so much", "thanks", "thank you for watching", "thanks for watching",
        "thank you for watching this video", "thanks for watching and see you next time", "thank you for listening",
        "please subscribe", "please subscribe to my channel", "like and subscribe", "subscribe", "see you next time",
        "see you in the next video", "ill see you in the next video", "you", "bye", "bye bye", "okay", "so", "the end", "music", "applause",
        "subtitles by the amaraorg community", "subtitles by amaraorg", "transcription by castingwords", "captions by getting it done",
        "untertitel der amaraorg community", "untertitel im auftrag des zdf 2017", "untertitelung des zdf 2020", "vielen dank",
        "vielen dank fürs zuschauen", "danke fürs zuschauen", "sous titres réalisés para la communauté damaraorg",
        "sous titres réalisés par la communauté damaraorg", "merci davoir regardé cette vidéo", "sous titrage st 501",
        "subtítulos realizados por la comunidad de amaraorg", "gracias por ver el video", "gracias por ver", "suscríbete",
        "sottotitoli creati dalla comunità amaraorg", "grazie per la visione", "legendas pela comunidade amaraorg", "obrigado por assistir",
        "субтитры сделал dimatorzok", "продолжение следует", "спасибо за просмотр", "字幕由amaraorg社区提供", "谢谢观看",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "ご視聴ありがとうございました", "시청해주셔서 감사합니다", "mbc 뉴스 이덕영입니다",
        "ondertitels ingediend door de amaraorg gemeenschap",
    }
)  # fmt: skip
"""What Whisper models are known to write where nobody speaks, without punctuation
(https://arxiv.org/abs/2501.11378; collections in the issues of openai/whisper and faster-whisper)."""

_NOT_WORDS = re.compile(r"[^\w\s]|_")


@dataclass
class PhantomFilter:
    """Looks at the segments of one recording in order. `dropped` counts those that it refused."""

    dropped: int = 0
    _last: str = ""
    _repeats: int = 0
    _took: float = 0.0
    """Seconds of speech under the last phrase when it was said first."""

    def keeps(self, segment: Segment, activity: float, spoken: float = 0.0) -> bool:
        """Whether a segment is to be believed.

        Args:
            activity: The chance of speech in the clearest quarter of its window, by the voice activity detector.
            spoken: Seconds of speech under it, by the same.
        """
        text = normalised(segment.text)
        self._repeats = self._repeats + 1 if text == self._last else 0
        if not self._repeats:
            self._last, self._took = text, spoken
        repeated = self._repeats > (0 if _doubtful(segment, activity) else MOST_REPEATS)
        repeated = repeated and not (spoken and spoken >= SPOKEN_SHARE * self._took)
        made_up = not text or repeated or is_phantom(segment, activity)
        self.dropped += made_up
        return not made_up


def is_phantom(segment: Segment, activity: float) -> bool:
    """Whether a segment is a known phrase where there is little sign of speech, or any text where there is none."""
    if activity < NO_ACTIVITY and segment.no_speech_prob > DOUBTFUL_NO_SPEECH:
        return True
    return _doubtful(segment, activity) and normalised(segment.text) in PHRASES


def _doubtful(segment: Segment, activity: float) -> bool:
    return segment.no_speech_prob > DOUBTFUL_NO_SPEECH or activity < DOUBTFUL_ACTIVITY


def normalised(text: str) -> str:
    """Lower case, without punctuation and double spaces."""
    return " ".join(_NOT_WORDS.sub("", text).lower().split())

"""espeak-ng's voices, and when it says what."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from speaches.engines import espeak
from speaches.engines.base import Piece, SpokenWord, Utterance
from speaches.engines.espeak import Espeak
from speaches.engines.espeak_library import Mark
from speaches.engines.espeak_words import spoken_words
from speaches.speech.voices import OPENAI_VOICES
from speaches.text.plain import speakable
from tests.recordings import level
from tests.speaker import word_starts

RATE = 1000  # Hz, of the rules' tests: a sample is a millisecond


def word(place: int, sample: int) -> Mark:
    return Mark(sample, place)


def phoneme(ipa: str, sample: int) -> Mark:
    return Mark(sample, 0, ipa)


def timed(words: tuple[SpokenWord, ...]) -> list[tuple[str, float, float]]:
    return [(one.word, one.start, one.end) for one in words]


def said(espeak_ng: Espeak, text: str, voice: str = "en-us", **more: str) -> Utterance:
    return espeak_ng.synthesize(Piece(text, voice, timed=True, **more))  # type: ignore[arg-type]


def ipa(utterance: Utterance) -> str:
    return "".join(one.phoneme for word in utterance.words for one in word.phonemes)


# --- Words from marks ---


def test_a_word_ends_where_its_last_phoneme_does() -> None:
    marks = [word(0, 0), phoneme("h", 10), phoneme("aɪ", 50), phoneme("", 90), word(4, 200), phoneme("j", 210)]
    first, second = spoken_words("Hi, you!", marks, 300, RATE)
    assert timed((first, second)) == [("Hi,", 0.0, 0.09), ("you!", 0.2, 0.3)]
    assert [(one.phoneme, one.start, one.end) for one in first.phonemes] == [("h", 0.01, 0.05), ("aɪ", 0.05, 0.09)]


def test_without_phonemes_a_word_ends_where_the_next_begins() -> None:
    assert timed(spoken_words("one two", [word(0, 0), word(4, 100)], 250, RATE)) == [
        ("one", 0.0, 0.1),
        ("two", 0.1, 0.25),
    ]


def test_no_word_reaches_into_the_next_where_its_first_phoneme_comes_late() -> None:
    marks = [word(0, 0), phoneme("a", 0), word(2, 100), phoneme("t", 130)]
    assert timed(spoken_words("a t", marks, 200, RATE)) == [("a", 0.0, 0.1), ("t", 0.1, 0.2)]


def test_a_pair_that_is_said_as_one_shares_its_time_by_letters() -> None:
    assert timed(spoken_words("of the man", [word(0, 0), word(7, 100)], 200, RATE)) == [
        ("of", 0.0, 0.04),
        ("the", 0.04, 0.1),
        ("man", 0.1, 0.2),
    ]


def test_a_number_that_is_said_in_many_words_is_one() -> None:
    marks = [word(0, 0), word(1, 100), word(1, 200), word(0, 300), word(5, 400)]
    assert timed(spoken_words("1990 cars", marks, 500, RATE)) == [("1990", 0.0, 0.4), ("cars", 0.4, 0.5)]


def test_a_dash_that_nobody_says_clings_to_the_word_before_it_but_an_emoji_is_a_word() -> None:
    marks = [word(0, 0), word(6, 100), word(10, 200), word(11, 250), word(12, 300)]
    assert [one.word for one in spoken_words("one — two 🙂 three", marks, 400, RATE)] == [
        "one —",
        "two",
        "🙂",
        "three",
    ]


def test_marks_that_stand_alone_are_not_lost() -> None:
    marks = [word(2, 0), word(14, 100)]
    assert timed(spoken_words("« Bonjour ! » dit-il ;", marks, 200, RATE)) == [
        ("« Bonjour ! »", 0.0, 0.1),
        ("dit-il ;", 0.1, 0.2),
    ]


def test_chinese_is_cut_where_its_words_begin() -> None:
    marks = [word(0, 0), word(1, 100), word(4, 300)]
    assert timed(spoken_words("今天气。我", marks, 400, RATE)) == [
        ("今", 0.0, 0.1),
        ("天气。", 0.1, 0.3),
        ("我", 0.3, 0.4),
    ]


def test_a_change_of_language_is_no_phoneme() -> None:
    marks = [word(0, 0), phoneme("(en)", 0), phoneme("k", 10), phoneme("(ru)", 50)]
    assert [one.phoneme for one in spoken_words("café", marks, 100, RATE)[0].phonemes] == ["k"]


@pytest.mark.parametrize("text", ["", " ", "...", "hello"])
def test_without_marks_there_are_no_words(text: str) -> None:
    assert spoken_words(text, [], 100, RATE) == ()


def test_marks_beyond_the_text_and_the_speech_do_no_harm() -> None:
    (only,) = spoken_words("one", [word(-1, 0), word(99, 500)], 100, RATE)
    assert timed((only,)) == [("one", 0.0, 0.1)]


# --- Words from the library ---

TEXTS = {
    "punctuation": ("Hello, world! How are you?", "en-us"),
    "pairs and numbers": ("All of the 1,234 things cost $5.50 in 2024, e.g. at 10:30 on the 3rd.", "en-us"),
    "cyrillic and an emoji": ("Привет 🙂 мир, это café naïve.", "ru"),
    "accents": ("L'été déjà là, où êtes-vous ?", "fr-fr"),
    "combining accents": ("e\u0301te\u0301 la\u0300 voila\u0300", "fr-fr"),
    "emoji of many characters": ("Hi 👩\u200d👩\u200d👧 there you", "en-us"),
    "replaced characters": ("one\x00two \ud83d three\x07 four", "en-us"),
    "byte order mark": ("\ufeffHello there you", "en-us"),
    "arabic": ("مرحبا بالعالم كيف", "ar"),
    "hindi": ("नमस्ते दुनिया मेरा", "hi"),
    "quotes": ("\"She said 'no' (twice)\", he wrote — and left...", "en-gb"),
}


@pytest.mark.parametrize("what", TEXTS)
def test_every_word_of_a_text_has_its_time(espeak_ng: Espeak, what: str) -> None:
    text, voice = TEXTS[what]
    utterance = said(espeak_ng, text, voice)
    spoken = [part.word.split() for part in utterance.words]
    assert [part for parts in spoken for part in parts] == speakable(text).split()
    assert all(any(letter.isalnum() for letter in first) or ord(first[0]) > 0x1F000 for first, *_ in spoken)
    assert not any(letter.isalnum() for _, *others in spoken for other in others for letter in other)
    times = [time for one in utterance.words for time in (one.start, one.end)]
    assert times == sorted(times)
    assert times[0] >= 0 and times[-1] <= len(utterance.samples) / espeak.SAMPLE_RATE
    assert all(one.end - one.start > 0.01 for one in utterance.words)
    assert not utterance.estimated


def test_words_begin_when_the_library_says_them_in_another_process(espeak_ng: Espeak) -> None:
    text = "The quick brown fox, as everybody knows, jumps over a lazy dog. Then it sleeps."
    utterance = espeak_ng.synthesize(Piece(text, "en-us", speed=160 / espeak.NORMAL_RATE, timed=True))
    places = [match.start() for match in re.finditer(r"\S+", text)]
    found = {place: one.start for place, one in zip(places, utterance.words, strict=True)}
    told = word_starts(text, "en-us", 160)
    assert len(told) >= 12
    for place, start in told:
        assert found[place] == pytest.approx(start, abs=0.03)


def test_between_two_sentences_nobody_speaks(espeak_ng: Espeak) -> None:
    utterance = said(espeak_ng, "This is one. That is two.")
    one, that = utterance.words[2], utterance.words[3]
    between = utterance.samples[round(one.end * espeak.SAMPLE_RATE) : round(that.start * espeak.SAMPLE_RATE)]
    assert that.start - one.end > 0.1
    assert level(between) < level(utterance.samples) / 10


def test_faster_speech_has_earlier_words(espeak_ng: Espeak) -> None:
    slow, fast = (espeak_ng.synthesize(Piece("one two three four", "en-us", speed, timed=True)) for speed in (0.6, 2.0))
    assert slow.words[3].start > 2 * fast.words[3].start


def test_words_of_a_long_text_keep_their_places(espeak_ng: Espeak) -> None:
    text = "Ein schöner Tag, 🙂 sagte er. " * 100
    utterance = said(espeak_ng, text, "de")
    assert [one.word for one in utterance.words] == text.split()
    starts = [one.start for one in utterance.words[::6]]
    rounds = np.diff(starts)
    assert rounds.max() < 1.1 * rounds.min()


@pytest.mark.parametrize(("letter", "voice"), [("x", "en-us"), ("7", "en-us"), ("слово", "ru")])
def test_of_a_long_run_of_letters_nothing_is_left_out(espeak_ng: Espeak, letter: str, voice: str) -> None:
    short, long = (said(espeak_ng, letter * (40 * times // len(letter)), voice) for times in (1, 3))
    assert len(long.samples) > 2 * len(short.samples)
    assert "".join(one.word for one in long.words) == letter * (120 // len(letter))


def test_phonemes_lie_within_their_word(espeak_ng: Espeak) -> None:
    utterance = said(espeak_ng, "Hello, world!")
    assert ["".join(one.phoneme for one in word.phonemes) for word in utterance.words] == ["həlˈoʊ", "wˈɜːld"]
    for word_said in utterance.words:
        edges = [time for one in word_said.phonemes for time in (one.start, one.end)]
        assert word_said.start <= edges[0] and edges == sorted(edges) and edges[-1] <= word_said.end + 0.03


def test_words_are_told_only_when_asked_for(espeak_ng: Espeak) -> None:
    assert espeak_ng.synthesize(Piece("Hello, world!", "en-us")).words == ()


def test_all_languages_tell_their_words(espeak_ng: Espeak) -> None:
    for voice in espeak_ng.voices():
        if "+" in voice.id:
            continue
        words = said(espeak_ng, "Hello world 1 2 3", voice.id).words
        assert [one.word for one in words] == ["Hello", "world", "1", "2", "3"], voice.id
        assert all(one.start <= other.start for one, other in pairwise(words)), voice.id


# --- Voices ---


def test_the_list_has_each_language_and_each_variant_once(espeak_ng: Espeak) -> None:
    ids = [voice.id for voice in espeak_ng.voices()]
    assert len(set(ids)) == len(ids)
    assert {"en-us", "de", "cmn", "en-us+f2", "en-us+Mr serious", "en-us+whisper"} <= set(ids)
    assert len([one for one in ids if "+" in one]) == len(espeak.variants()) > 100


def test_voices_of_mbrola_are_not_listed(espeak_ng: Espeak) -> None:
    assert [voice.id for voice in espeak_ng.voices() if voice.id.startswith("mb")] == []
    assert espeak_ng.voice("mb-en1") is None


@pytest.mark.parametrize(
    ("name", "wanted", "gender"),
    [
        ("de+f2", "de+f2", "female"),
        ("DE+F2", "de+f2", "female"),
        ("f2", "en-us+f2", "female"),
        ("+m3", "en-us+m3", "male"),
        ("mr serious", "en-us+Mr serious", None),
        ("fr-fr+steph", "fr-fr+steph", "female"),
    ],
)
def test_a_variant_goes_with_any_language(espeak_ng: Espeak, name: str, wanted: str, gender: str | None) -> None:
    voice = espeak_ng.voice(name)
    assert voice is not None
    assert (voice.id, voice.gender) == (wanted, gender)


@pytest.mark.parametrize(
    "name", ["+", "en-us+", "+nobody", "f2+f3", "en-us+f2+f3", "xx+f2", "en-us+../f2", "f2 ", "en-us+f2\0"]
)
def test_what_is_no_voice_is_none(espeak_ng: Espeak, name: str) -> None:
    assert espeak_ng.voice(name) is None


def test_every_variant_is_loud_enough(espeak_ng: Espeak) -> None:
    for name, _ in espeak.variants().values():
        samples = espeak_ng.synthesize(Piece("Hello world", f"en-us+{name}")).samples
        assert 0.005 < level(samples) < 0.4, name


@pytest.mark.parametrize("name", OPENAI_VOICES)
def test_the_voices_for_openais_names_are_clean(espeak_ng: Espeak, name: str) -> None:
    voice = OPENAI_VOICES[name].espeak
    samples = espeak_ng.synthesize(
        Piece("Good morning! Please call the doctor, and ask for the results.", voice)
    ).samples
    assert 0.03 < level(samples) < 0.2
    # None is cut off. It never sounds quite the same twice: in one time of ten a lone peak of the loudest comes near the edge.
    assert np.mean(np.abs(samples) > 0.999) < 0.00005


def test_the_voices_for_openais_names_are_thirteen_with_their_gender(espeak_ng: Espeak) -> None:
    voices = [espeak_ng.voice(match.espeak) for match in OPENAI_VOICES.values()]
    assert [voice and (voice.id, voice.gender) for voice in voices] == [
        (match.espeak, match.gender) for match in OPENAI_VOICES.values()
    ]
    assert len({match.espeak for match in OPENAI_VOICES.values()}) == 13


# --- Languages ---


@pytest.mark.parametrize(
    ("voice", "language", "wanted"),
    [
        ("en-us", "de", "de"),
        ("en-us+f2", "de-DE", "de+f2"),
        ("de", "DE-ch", "de"),
        ("en-us+f2", "en-GB", "en-gb+f2"),
        ("en-us", "en", "en-us"),
        ("en-gb+m3", "en", "en-gb+m3"),
        ("de", "en", "en-gb"),
        ("en-us", "zh", "cmn"),
        ("en-us", "zh-TW", "cmn"),
        ("en-us", "pt-PT", "pt"),
        ("en-us", "xx", "en-us"),
    ],
)
def test_the_language_changes_and_the_variant_stays(espeak_ng: Espeak, voice: str, language: str, wanted: str) -> None:
    text = "Jetzt 12 in Rio, please wait."
    changed, own = said(espeak_ng, text, voice, language=language), said(espeak_ng, text, wanted)
    assert ipa(changed) == ipa(own) != ""
    assert len(changed.samples) == pytest.approx(len(own.samples), rel=0.05)


def test_a_language_changes_what_is_said(espeak_ng: Espeak) -> None:
    assert ipa(said(espeak_ng, "Jahre", language="de")) == "jˈɑːrə" != ipa(said(espeak_ng, "Jahre"))


def test_chinese_goes_by_the_name_that_others_use(espeak_ng: Espeak) -> None:
    assert "zh" in espeak_ng.languages


# --- Phonemes in the text ---


def test_its_own_phonemes_are_spoken(espeak_ng: Espeak) -> None:
    utterance = said(espeak_ng, "Say [[w'3:ld]], please.")
    assert [one.word for one in utterance.words] == ["Say", "[[w'3:ld]],", "please."]
    assert "".join(one.phoneme for one in utterance.words[1].phonemes) == "wˈɜːld"


def test_of_other_phonemes_the_written_word_is_spoken(espeak_ng: Espeak) -> None:
    assert ipa(said(espeak_ng, "Say [hello](/xxxxx/).")) == ipa(said(espeak_ng, "Say hello."))


@pytest.mark.parametrize("left_out", ["[[ həloʊ ]]", "[[^de]]", "[[(en)]]", f"[[{'a' * 61}]]"])
def test_other_phonemes_without_a_word_are_left_out(espeak_ng: Espeak, left_out: str) -> None:
    assert ipa(said(espeak_ng, f"Say {left_out} now.")) == ipa(said(espeak_ng, "Say now."))


@pytest.mark.parametrize(
    "odd", ["[[", "]]", "[[[[", "[[h@]] [[ x", "[[[h@]]]", "[[h@]][[l'oU]]", "[[_:_:]]", "[[ ]]", "[[%%%]]"]
)
def test_what_looks_like_phonemes_does_no_harm(espeak_ng: Espeak, odd: str) -> None:
    utterance = said(espeak_ng, f"One {odd} two.")
    assert (utterance.words[0].word.split()[0], utterance.words[-1].word) == ("One", "two.")
    assert len(utterance.samples) > 5000

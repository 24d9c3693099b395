from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.engines.base import Segment, Word
from speaches.live.agreement import LocalAgreement, delta, normalised


def words(text: str, start: float = 0.0, each: float = 0.5) -> list[Word]:
    """Words of half a second, one after another."""
    return [Word(" " + word, start + i * each, start + (i + 1) * each, 1.0) for i, word in enumerate(text.split())]


def text_of(found: Sequence[Word]) -> str:
    return "".join(word.word for word in found).strip()


def segment(text: str, start: float, end: float) -> Segment:
    return Segment(text, start, end)


# --- Two in a row ---


def test_a_word_is_confirmed_when_two_hypotheses_agree() -> None:
    live = LocalAgreement()
    assert live.insert(words("hello word")) == []
    assert text_of(live.insert(words("hello world how"))) == "hello"
    assert text_of(live.pending) == "world how"
    assert text_of(live.insert(words("hello world how are"))) == "world how"
    assert live.shown == "hello world how"


def test_what_only_the_hypothesis_before_the_last_said_does_not_count() -> None:
    live = LocalAgreement()
    live.insert(words("we see"))
    live.insert(words("the sea"))
    assert live.insert(words("we see")) == []
    assert text_of(live.insert(words("we see it"))) == "we see"


def test_case_and_punctuation_do_not_matter_and_the_newest_spelling_is_taken() -> None:
    live = LocalAgreement()
    live.insert(words("so. what"))
    assert text_of(live.insert(words("So, what is"))) == "So, what"


def test_other_words_in_what_is_confirmed_change_nothing() -> None:
    live = LocalAgreement()
    live.insert(words("I scream for"))
    live.insert(words("I scream for ice"))
    assert live.shown == "I scream for"
    assert text_of(live.insert(words("ice cream for ice cream"))) == "ice", (
        "by its time it comes after what is confirmed"
    )
    assert text_of(live.insert(words("I scream for ice cream"))) == "cream"
    assert live.shown == "I scream for ice cream"


def test_times_that_move_do_not_bring_a_word_twice() -> None:
    live = LocalAgreement()
    live.insert(words("one two three"))
    live.insert(words("one two three"))
    assert text_of(live.insert(words("one two three four", start=0.4))) == ""
    assert text_of(live.pending) == "four"


def test_silence_says_nothing() -> None:
    live = LocalAgreement()
    assert live.insert([]) == live.insert([]) == live.finish() == []
    assert live.shown == "" and live.confirmed_until == 0


def test_the_last_words_can_be_held_back() -> None:
    live = LocalAgreement(hold_back=1)
    live.insert(words("turn on the lie"))
    assert text_of(live.insert(words("turn on the lie"))) == "turn on the"
    assert text_of(live.insert(words("turn on the light please"))) == ""
    assert text_of(live.insert(words("turn on the light please"))) == "light"
    assert text_of(live.finish()) == "please"


def test_vowel_signs_tell_words_apart() -> None:
    live = LocalAgreement()
    live.insert(words("की"))
    assert live.insert(words("का")) == []
    live.insert(words("नमस्ते"))
    live.insert(words("नमस्ते"))
    assert live.shown == "नमस्ते"


# --- The end ---


def test_the_end_confirms_the_rest() -> None:
    live = LocalAgreement()
    live.insert(words("good mor"))
    live.insert(words("good morning every"))
    assert text_of(live.finish(words("good morning everybody."))) == "morning everybody."
    assert live.shown == "good morning everybody"


def test_without_a_last_hypothesis_the_end_confirms_what_was_pending() -> None:
    live = LocalAgreement()
    live.insert(words("see you"))
    assert text_of(live.finish()) == "see you"
    assert live.pending == ()


def test_a_last_hypothesis_that_contradicts_adds_only_what_comes_later() -> None:
    live = LocalAgreement()
    live.insert(words("I want two"))
    live.insert(words("I want two"))
    assert text_of(live.finish(words("a one too tickets"))) == "tickets"
    assert live.shown == "I want two tickets"


# --- A buffer that is cut ---


def test_the_buffer_is_cut_where_a_segment_is_confirmed_whole() -> None:
    live = LocalAgreement()
    said = [segment(" It is late.", 0.0, 1.5), segment(" We should", 1.5, 2.5)]
    live.insert(words("It is late. We shall"))
    assert live.cut_at(said) is None
    live.insert(words("It is late. We should"))
    assert live.confirmed_until == 2.0
    assert live.cut_at(said) == 1.5
    live.trim(1.5)
    assert live.cut_at(said) is None, "there is nothing before 1.5 s any more"


def test_the_last_pause_after_a_confirmed_word_is_found() -> None:
    live = LocalAgreement()
    heard = [*words("one two"), *words("three four", 2.0), *words("five six", 4.0)]
    live.insert(heard[:5])
    assert live.last_pause(0.3) is None, "nothing is confirmed"
    live.insert([*heard[:3], *words("for", 2.5), *heard[4:]])
    assert live.last_pause(0.3) == 1.5
    live.insert([*heard[:3], *words("for", 2.5), *heard[4:]])
    assert live.last_pause(0.3) == 3.5
    assert live.last_pause(0.0) == 4.5 or live.last_pause(0.0) == 3.5


def test_only_words_whose_audio_has_left_the_buffer_are_said_before_it() -> None:
    live = LocalAgreement()
    live.insert(words("one two three"))
    live.insert(words("one two three"))
    assert live.left == ""
    live.trim(1.0)
    assert live.left == "one two"


def test_words_heard_otherwise_by_now_bring_no_word_twice_and_lose_none() -> None:
    live = LocalAgreement()
    live.insert(words("ensure the period"))
    live.insert(words("ensure the period"))
    live.insert(words("in short the period was so", each=0.3))
    assert text_of(live.insert(words("in short the period was so far", each=0.4))) == "was so"


def test_the_segment_that_goes_on_is_not_cut_off() -> None:
    live = LocalAgreement()
    live.insert(words("It is late."))
    live.insert(words("It is late."))
    assert live.cut_at([segment(" It is late.", 0.0, 1.5)]) is None


def test_after_a_cut_hypotheses_go_on_with_the_rest() -> None:
    live = LocalAgreement()
    live.insert(words("It is late. We"))
    live.insert(words("It is late. We should"))
    live.trim(1.5)
    assert text_of(live.insert(words("We should go", start=1.5))) == "should"
    assert text_of(live.insert(words("We should go home", start=1.5))) == "go"
    assert live.shown == "It is late. We should go"


@pytest.mark.parametrize("again", ["late.", "is late.", "Is late", "it is late."])
def test_words_that_are_heard_again_at_the_joint_are_dropped(again: str) -> None:
    live = LocalAgreement()
    live.insert(words("It is late."))
    live.insert(words("It is late."))
    live.trim(1.5)
    live.insert(words(f"{again} We should", start=1.4))
    live.insert(words(f"{again} We should", start=1.4))
    assert live.shown == "It is late. We should"


def test_a_repetition_that_is_heard_again_is_dropped_whole() -> None:
    live = LocalAgreement()
    live.insert(words("no no"))
    live.insert(words("no no"))
    live.trim(1.0)
    live.insert(words("no no yes", start=0.95))
    assert text_of(live.insert(words("no no yes", start=0.95))) == "yes"


def test_the_same_word_long_after_the_joint_is_new() -> None:
    live = LocalAgreement()
    live.insert(words("Stop."))
    live.insert(words("Stop."))
    live.trim(0.5)
    live.insert(words("Stop.", start=3.0))
    assert text_of(live.insert(words("Stop.", start=3.0))) == "Stop."


def test_a_word_said_twice_is_two_words() -> None:
    live = LocalAgreement()
    live.insert(words("no no"))
    live.insert(words("no no no"))
    assert text_of(live.insert(words("no no no"))) == "no"
    assert live.shown == "no no no"


def test_words_that_are_not_confirmed_cannot_be_cut_away() -> None:
    live = LocalAgreement()
    live.insert(words("one two"))
    live.insert(words("one too"))
    live.trim(0.5)
    with pytest.raises(ValueError, match=r"cut at 0\.80 s: words from 0\.50 s on"):
        live.trim(0.8)


def test_silence_after_the_last_word_may_be_cut_away() -> None:
    live = LocalAgreement()
    live.insert(words("one"))
    live.insert(words("one"))
    live.trim(20.0)
    live.insert(words("two", start=21.0))
    assert text_of(live.insert(words("two", start=21.0))) == "two"


# --- No agreement ---


def test_when_nothing_agrees_for_long_the_newest_is_believed_but_for_its_last_word() -> None:
    live = LocalAgreement(longest_wait=2.0)
    for mumbled in ("a", "the b", "a car b", "no the car is"):
        assert live.insert(words(mumbled)) == []
    assert text_of(live.insert(words("a bus is no car"))) == "a bus is no"
    assert live.confirmed_until == 2.0


def test_a_first_hypothesis_is_never_believed_alone_however_long_it_is() -> None:
    live = LocalAgreement(longest_wait=2.0)
    assert live.insert(words("a car is no bus and a bus no car")) == []


def test_as_long_as_something_agrees_nothing_is_forced() -> None:
    live = LocalAgreement(longest_wait=2.0)
    live.insert(words("a car is no bus"))
    assert text_of(live.insert(words("a bar was now thus here"))) == "a"


def test_a_long_silence_is_not_disagreement() -> None:
    live = LocalAgreement(longest_wait=2.0)
    live.insert(words("yes"))
    live.insert(words("yes"))
    assert live.insert([*words("yes"), *words("and", start=60.0)]) == []


# --- Deltas ---


def test_deltas_add_up_to_the_transcript() -> None:
    live = LocalAgreement()
    sent = ""
    deltas = []
    for heard in ("What", "What is", "What is the weather", "What is the weather in London"):
        live.insert(words(heard))
        deltas.append(delta(sent, live.shown))
        sent += deltas[-1]
    deltas.append(delta(sent, "What is the weather in London today?"))
    assert deltas == ["", "What", " is", " the weather", " in London today?"]


def test_a_full_stop_where_the_audio_ended_is_not_shown_before_something_follows() -> None:
    live = LocalAgreement()
    live.insert(words("I think so."))
    live.insert(words("I think so."))
    assert live.shown == "I think so"
    assert delta(live.shown, "I think so, but no.") == ", but no."


def test_a_full_stop_where_the_audio_ended_is_gone_when_something_follows() -> None:
    live = LocalAgreement()
    live.insert(words("I think."))
    live.insert(words("I think."))
    live.insert(words("I think, but."))
    live.insert(words("I think, but I do not."))
    live.insert(words("I think, but I do not know"))
    assert live.shown == "I think, but I do not"


@pytest.mark.parametrize(
    ("sent", "text", "rest"),
    [
        ("", "Hello.", "Hello."),
        ("Hello", "Hello.", "."),
        ("Hello, how", "hello how are you?", " are you?"),
        ("Straße", "STRASSE frei", " frei"),
        ("你好", "你好，世界", "，世界"),
        ("Hello", "Hello", ""),
    ],
)
def test_the_rest_is_sent_where_only_the_spelling_changed(sent: str, text: str, rest: str) -> None:
    assert delta(sent, text) == rest


@pytest.mark.parametrize(
    ("sent", "text", "rest"),
    [
        ("Hello word", "Hello world", ""),
        ("Hello word", "Hello world again.", " again."),
        ("ensure the period was so far", "In short, the period was so far like the present.", " like the present."),
        ("it was the age", "It was an age, it was the age of wisdom.", ", it was the age of wisdom."),
        ("it was the was the best of times", "It was the best of times, it was the worst.", ", it was the worst."),
        ("Hello world", "Hello", ""),
        ("Hello", "", ""),
        ("...", "Hello", " Hello"),
        ("S", "ßa", ""),
        ("你号", "你好，世界。", "，世界。"),
        ("今日わ良い", "今日は良い天気です。", "天気です。"),
    ],
)
def test_the_rest_goes_on_after_the_words_that_were_sent_otherwise(sent: str, text: str, rest: str) -> None:
    assert delta(sent, text) == rest


# --- What always holds ---

said = st.lists(st.sampled_from(["a", "b", "c", "A,", "b.", "no", "-"]), max_size=8).map(" ".join)
conversations = st.lists(said, max_size=8)


@given(conversations)
def test_what_is_shown_only_grows_and_has_the_words_that_were_returned(hypotheses: list[str]) -> None:
    live = LocalAgreement(longest_wait=2.0)
    returned: list[Word] = []
    for hypothesis in hypotheses:
        before, until = live.shown, live.confirmed_until
        returned += live.insert(words(hypothesis))
        assert live.shown.startswith(before)
        assert live.confirmed_until >= until
        assert normalised(text_of(returned)).startswith(normalised(live.shown))
    before = live.shown
    returned += live.finish()
    assert live.shown.startswith(before)
    assert normalised(live.shown) == normalised(text_of(returned)) or not any(map(str.isalnum, text_of(returned)))


@given(said, st.integers(0, 3))
def test_two_equal_hypotheses_confirm_all_but_what_is_held_back(hypothesis: str, hold_back: int) -> None:
    live = LocalAgreement(hold_back=hold_back)
    heard = words(hypothesis)
    live.insert(heard)
    assert live.insert(heard) == heard[: max(0, len(heard) - hold_back)]
    assert live.finish(heard) == heard[max(0, len(heard) - hold_back) :]


@given(said, said)
def test_the_second_hypothesis_confirms_the_longest_common_prefix(one: str, other: str) -> None:
    live = LocalAgreement()
    live.insert(words(one))
    pairs = zip(words(one), words(other), strict=False)
    common = [b for _, b in takewhile(lambda pair: normalised(pair[0].word) == normalised(pair[1].word), pairs)]
    assert live.insert(words(other)) == common


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30, unique=True), st.data())
def test_a_perfect_recogniser_is_shown_word_for_word_wherever_the_buffer_is_cut(
    numbers: list[int], data: st.DataObject
) -> None:
    spoken = words(" ".join(map(str, numbers)))
    live = LocalAgreement()
    cut = 0.0
    confirmed: list[Word] = []
    for heard in range(1, len(spoken) + 1):
        confirmed += live.insert([word for word in spoken[:heard] if word.start >= cut])
        if data.draw(st.booleans()):
            cut = live.confirmed_until
            live.trim(cut)
    confirmed += live.finish([word for word in spoken if word.start >= cut])
    assert confirmed == spoken


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_delta_ends_as_the_text_does(sent: str, text: str) -> None:
    assert text.endswith(delta(sent, text).strip())


@given(said, said, said)
def test_what_follows_the_words_that_were_sent_is_sent(sent: str, other: str, rest: str) -> None:
    new = " ".join(f"new{place}" for place, _ in enumerate(rest.split()))
    assert delta(f"{sent} same {other} end", f"{sent} other {other} end {new}").split() == new.split()

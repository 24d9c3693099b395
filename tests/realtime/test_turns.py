from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speaches.engines.base import SAMPLE_RATE
from speaches.engines.silero import FRAME_SIZE, Silero
from speaches.realtime.ending import likelihood_of_end
from speaches.realtime.turns import (
    FRAME_MS,
    IdleTimeout,
    SemanticVad,
    ServerVad,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnEvent,
    Turns,
    silence_needed,
)
from tests import recordings
from tests.recordings import say

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000  # ms


def frames(chance: float, ms: int) -> list[float]:
    return [chance] * round(ms / FRAME_MS)


def speech(ms: int, chance: float = 0.9) -> list[float]:
    return frames(chance, ms)


def silence(ms: int) -> list[float]:
    return frames(0.01, ms)


CLICK = [0.9]


def turn_events(events: list[TurnEvent]) -> list[TurnEvent]:
    """Without pauses."""
    return [event for event in events if not isinstance(event, SpeechPaused | SpeechResumed)]


def said_so_far(turns: Turns, text: str) -> list[TurnEvent]:
    """A recogniser has heard all there is and writes this."""
    return turns.ending(likelihood_of_end(text, "en"), turns.now_ms)


def stop_after(turns: Turns, limit_ms: int = 20 * SECOND) -> int:
    """How long the silence lasts that ends the turn."""
    begin = turns.now_ms
    while turns.now_ms - begin < limit_ms:
        if any(isinstance(event, SpeechStopped) for event in turns.hear(silence(FRAME_MS))):
            return turns.now_ms - begin
    raise AssertionError(f"the turn goes on after {limit_ms} ms of silence")


# --- A turn ---


def test_a_turn_starts_with_speech_and_ends_after_silence() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=300, silence_duration_ms=500))
    assert turns.hear(silence(ms=960)) == []
    assert turns.hear(speech(ms=640)) == [SpeechStarted(audio_start_ms=660)]
    assert turns.speaking
    assert turns.hear(silence(ms=960)) == [
        SpeechPaused(speech_end_ms=1600),
        SpeechStopped(audio_start_ms=660, audio_end_ms=2080, speech_end_ms=1600),
    ]
    assert not turns.speaking


def test_speech_is_noticed_at_its_second_frame() -> None:
    turns = Turns(ServerVad())
    turns.hear(silence(ms=SECOND))
    assert turns.hear(speech(ms=FRAME_MS)) == []
    assert turns.hear(speech(ms=FRAME_MS)) != []


@pytest.mark.parametrize("configured", [0, 100, 200, 300, 480, 500, 512, 700, 1000])
def test_the_silence_is_the_configured_one_give_or_take_half_a_frame_of_the_detectors_delay(configured: int) -> None:
    turns = Turns(ServerVad(silence_duration_ms=configured))
    turns.hear(speech(ms=SECOND))
    detectors_delay = FRAME_MS
    waited = stop_after(turns) + detectors_delay
    assert abs(waited - max(configured, 2 * FRAME_MS)) <= FRAME_MS / 2


def test_a_turn_does_not_reach_back_before_the_session() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=300))
    assert turns.hear(speech(ms=200)) == [SpeechStarted(audio_start_ms=0)]


def test_a_turn_does_not_reach_back_into_the_one_before() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=300, silence_duration_ms=200))
    turns.hear(speech(ms=640))
    *_, first = turns.hear(silence(ms=192))
    assert isinstance(first, SpeechStopped)
    assert turns.hear(speech(ms=640)) == [SpeechStarted(audio_start_ms=first.audio_end_ms)]


def test_a_short_pause_is_part_of_the_turn() -> None:
    turns = Turns(ServerVad(silence_duration_ms=500))
    turns.hear(speech(ms=640))
    assert turns.hear(silence(ms=320)) == [SpeechPaused(speech_end_ms=640)]
    assert turns.hear(speech(ms=640)) == [SpeechResumed()]
    assert stop_after(turns) < 500


def test_a_gap_within_a_word_is_no_pause() -> None:
    turns = Turns(ServerVad(silence_duration_ms=500))
    turns.hear(speech(ms=640))
    assert turns.hear([*silence(ms=FRAME_MS), *speech(ms=320)]) == []


def test_a_weak_sound_goes_on_with_speech_and_does_not_start_it() -> None:
    weak = speech(ms=2 * SECOND, chance=0.4)  # between 0.35 and 0.5
    turns = Turns(ServerVad(threshold=0.5))
    assert turns.hear(weak) == []
    turns.hear(speech(ms=SECOND))
    assert turns.hear(weak) == []
    assert turns.speaking


def test_fading_speech_counts_as_silence_once_it_is_quiet() -> None:
    turns = Turns(ServerVad(silence_duration_ms=500))
    turns.hear(speech(ms=SECOND))
    turns.hear(speech(ms=3 * FRAME_MS, chance=0.4))
    assert stop_after(turns) <= 500 - 3 * FRAME_MS


# --- What is no turn ---


def test_a_click_starts_no_turn() -> None:
    turns = Turns(ServerVad())
    for _ in range(20):
        assert turns.hear([*CLICK, *silence(ms=96)]) == []


def test_a_cough_that_is_hardly_like_speech_starts_no_turn() -> None:
    cough = [0.1, 0.3, 0.55, 0.45, 0.2]
    turns = Turns(ServerVad(threshold=0.5))
    assert turns.hear([*silence(ms=SECOND), *cough, *silence(ms=SECOND)]) == []


def test_a_frame_that_falters_does_not_hide_the_start() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=0))
    turns.hear(silence(ms=960))
    assert turns.hear([0.9, 0.2, 0.9]) == [SpeechStarted(audio_start_ms=960)]


def test_an_hour_of_silence_has_no_event_and_takes_no_time() -> None:
    turns = Turns(ServerVad(), longest_turn_ms=MINUTE)
    began = time.process_time()
    assert turns.hear(silence(ms=HOUR)) == []
    assert time.process_time() - began < 1
    assert turns.now_ms == HOUR
    assert turns.hear(speech(ms=320)) == [SpeechStarted(audio_start_ms=HOUR - 300)]


def test_older_audio_than_the_padding_is_not_needed_in_silence() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=300))
    turns.hear(silence(ms=HOUR))
    assert turns.needed_from_ms == HOUR - 300
    turns.hear(speech(ms=SECOND))
    assert turns.needed_from_ms == HOUR - 300
    turns.hear(silence(ms=MINUTE))
    assert turns.needed_from_ms == turns.now_ms - 300


def test_a_turn_of_many_minutes_is_cut_and_nothing_of_it_is_lost() -> None:
    turns = Turns(ServerVad(), longest_turn_ms=2 * MINUTE)
    events = turns.hear([*speech(ms=5 * MINUTE), *silence(ms=SECOND)])
    starts = [event.audio_start_ms for event in events if isinstance(event, SpeechStarted)]
    ends = [event.audio_end_ms for event in events if isinstance(event, SpeechStopped)]
    assert starts == [0, *ends[:-1]]
    assert len(ends) == 3
    assert all(end - start <= 2 * MINUTE for start, end in zip(starts, ends, strict=True))


@pytest.mark.parametrize("configured", [200, 500])
def test_with_the_real_detector_the_end_is_told_within_the_configured_silence_and_40_ms(
    detector: Silero, configured: int
) -> None:
    late = []
    for sentence in (
        "Hello world.",
        "No.",
        "Stop.",
        "What is the weather in London today?",
        "Please turn on the kitchen light.",
    ):
        said = say(sentence)
        said = said[: np.flatnonzero(np.abs(said) > 0.01)[-1] + 1]
        for shift in (0, 128, 256, 384):  # where in a frame the speech ends
            lead = recordings.silence(1 + shift / SAMPLE_RATE)
            samples = np.concatenate([lead, said, recordings.silence(2)])
            chances = detector.stream().probabilities(samples[: len(samples) // FRAME_SIZE * FRAME_SIZE])
            *_, stopped = Turns(ServerVad(silence_duration_ms=configured)).hear(chances)
            assert isinstance(stopped, SpeechStopped)
            late.append(stopped.audio_end_ms - 1000 * (len(lead) + len(said)) / SAMPLE_RATE - configured)
    assert np.percentile(late, 95) <= 40
    assert abs(np.median(late)) <= FRAME_MS


# --- Settings that change ---


def test_a_higher_threshold_in_mid_turn_makes_quiet_speech_silence() -> None:
    turns = Turns(ServerVad(threshold=0.5))
    turns.hear(speech(ms=SECOND, chance=0.6))
    turns.update(ServerVad(threshold=0.9))
    assert isinstance(turns.hear(speech(ms=SECOND, chance=0.6))[-1], SpeechStopped)


def test_a_lower_threshold_lets_whispering_start_a_turn() -> None:
    turns = Turns(ServerVad(threshold=0.5))
    assert turns.hear(speech(ms=SECOND, chance=0.3)) == []
    turns.update(ServerVad(threshold=0.2))
    assert turns.hear(speech(ms=SECOND, chance=0.3)) == [SpeechStarted(audio_start_ms=992 - 300)]


def test_a_turn_ends_by_the_silence_that_was_set_in_its_middle() -> None:
    turns = Turns(ServerVad(silence_duration_ms=5 * SECOND))
    turns.hear([*speech(ms=SECOND), *silence(ms=SECOND)])
    turns.update(ServerVad(silence_duration_ms=500))
    assert stop_after(turns) == FRAME_MS


def test_switching_detection_off_forgets_the_turn() -> None:
    turns = Turns(ServerVad())
    turns.hear(speech(ms=SECOND))
    turns.update(None)
    assert not turns.speaking
    assert turns.hear([*silence(ms=10 * SECOND), *speech(ms=10 * SECOND)]) == []


def test_switching_detection_on_in_the_middle_of_speech_starts_a_turn() -> None:
    turns = Turns(None)
    turns.skip(16_000)
    turns.update(ServerVad(prefix_padding_ms=300))
    assert turns.hear(speech(ms=SECOND)) == [SpeechStarted(audio_start_ms=700)]


def test_a_turn_goes_on_when_the_kind_of_detection_changes() -> None:
    turns = Turns(ServerVad())
    turns.hear(speech(ms=SECOND))
    turns.update(SemanticVad(eagerness="low"))
    assert turns.speaking
    assert stop_after(turns) > 800


def test_an_emptied_buffer_forgets_the_turn_and_speech_that_goes_on_starts_another() -> None:
    turns = Turns(ServerVad(prefix_padding_ms=300))
    turns.hear(speech(ms=1600))
    turns.reset()
    assert not turns.speaking
    assert turns.hear(silence(ms=960)) == []
    turns.hear(speech(ms=1600))
    turns.reset()
    assert turns.hear(speech(ms=320)) == [SpeechStarted(audio_start_ms=1600 + 960 + 1600)]


# --- A user who does not answer ---


def test_a_user_who_does_not_answer_is_noticed() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    turns.hear(silence(ms=MINUTE))
    turns.await_speech(from_ms=turns.now_ms + 2 * SECOND)  # the response has still two seconds to play
    start = turns.now_ms + 2 * SECOND
    assert turns.hear(silence(ms=6 * SECOND)) == []
    assert turns.needed_from_ms == start
    [timeout] = turns.hear(silence(ms=2 * SECOND))
    assert isinstance(timeout, IdleTimeout)
    assert timeout.audio_start_ms == start
    assert 5 * SECOND <= timeout.audio_end_ms - start < 5 * SECOND + FRAME_MS
    assert turns.hear(silence(ms=MINUTE)) == [], "it is told once"


def test_before_the_first_response_nobody_is_waited_for() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    assert turns.hear(silence(ms=HOUR)) == []


def test_who_speaks_is_not_waited_for() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    turns.await_speech(from_ms=0)
    events = turns.hear([*silence(ms=4 * SECOND), *speech(ms=4 * SECOND), *silence(ms=MINUTE)])
    assert not any(isinstance(event, IdleTimeout) for event in events)


def test_who_speaks_while_the_response_plays_is_not_waited_for() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    turns.hear(speech(ms=SECOND))
    turns.await_speech(from_ms=turns.now_ms)
    assert not any(isinstance(event, IdleTimeout) for event in turns.hear(silence(ms=MINUTE)))


def test_a_response_ends_the_wait() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    turns.await_speech(from_ms=0)
    turns.hear(silence(ms=4 * SECOND))
    turns.stop_awaiting()
    assert turns.hear(silence(ms=MINUTE)) == []


def test_only_server_vad_has_a_timeout() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=5 * SECOND))
    turns.await_speech(from_ms=0)
    turns.update(SemanticVad())
    assert turns.hear(silence(ms=MINUTE)) == []


def test_speech_at_the_last_moment_is_not_cut_off_by_the_timeout() -> None:
    turns = Turns(ServerVad(idle_timeout_ms=4992))
    turns.await_speech(from_ms=0)
    assert turns.hear([*silence(ms=4992 - FRAME_MS), *speech(ms=320)]) == [SpeechStarted(4992 - FRAME_MS - 300)]


# --- What the words say ---


def test_stop_does_not_wait_and_so_does() -> None:
    waited = {}
    for text in ("Stop.", "the weather in London", "So..."):
        turns = Turns(SemanticVad())
        turns.hear([*speech(ms=SECOND), *silence(ms=96)])
        said_so_far(turns, text)
        waited[text] = 96 + stop_after(turns)
    assert waited["Stop."] < 300
    assert 500 < waited["the weather in London"] < 650
    assert waited["So..."] > 2500


@pytest.mark.parametrize(("eagerness", "longest"), [("low", 8000), ("medium", 4000), ("auto", 4000), ("high", 2000)])
def test_nobody_is_waited_for_longer_than_the_eagerness_allows(eagerness: str, longest: int) -> None:
    turns = Turns(SemanticVad(eagerness=eagerness))  # type: ignore[arg-type]
    turns.hear([*speech(ms=SECOND), *silence(ms=96)])
    turns.ending(0.0, turns.now_ms)
    assert longest - 64 < 96 + stop_after(turns) <= longest


def test_without_a_transcript_the_eagerness_tells_how_long() -> None:
    waited = []
    for eagerness in ("high", "auto", "low"):
        turns = Turns(SemanticVad(eagerness=eagerness))
        turns.hear(speech(ms=SECOND))
        waited.append(FRAME_MS + stop_after(turns))
    assert waited == pytest.approx([400, 600, 1000], abs=FRAME_MS / 2)


def test_a_late_transcript_ends_the_turn_at_once() -> None:
    turns = Turns(SemanticVad())
    turns.hear([*speech(ms=960), *silence(ms=480)])
    assert said_so_far(turns, "Stop.") == [SpeechStopped(audio_start_ms=0, audio_end_ms=1440, speech_end_ms=960)]
    assert said_so_far(turns, "Stop.") == []


def test_a_transcript_from_before_the_last_words_does_not_count() -> None:
    turns = Turns(SemanticVad())
    turns.hear([*speech(ms=960), *silence(ms=320)])
    half = turns.now_ms
    assert turns.hear(speech(ms=960)) == [SpeechResumed()]
    turns.hear(silence(ms=320))
    assert turns.ending(1.0, heard_until_ms=half) == []
    assert stop_after(turns) > 200


def test_speech_that_goes_on_makes_the_words_before_count_no_more() -> None:
    turns = Turns(SemanticVad())
    turns.hear([*speech(ms=960), *silence(ms=96)])
    said_so_far(turns, "So...")
    turns.hear(speech(ms=960))
    assert stop_after(turns) < 600


def test_a_transcript_that_changes_its_mind_changes_the_wait() -> None:
    turns = Turns(SemanticVad())
    turns.hear([*speech(ms=960), *silence(ms=960 // 2)])
    said_so_far(turns, "Turn on the")
    assert turns.hear(silence(ms=960)) == []
    assert len(said_so_far(turns, "Turn on the light.")) == 1


def test_words_change_nothing_where_silence_decides() -> None:
    turns = Turns(ServerVad(silence_duration_ms=SECOND))
    turns.hear([*speech(ms=960), *silence(ms=480)])
    assert said_so_far(turns, "Stop.") == []
    assert said_so_far(turns, "So...") == []
    assert 480 + stop_after(turns) < SECOND


def test_words_between_turns_change_nothing() -> None:
    turns = Turns(SemanticVad())
    assert said_so_far(turns, "Stop.") == []
    turns.hear(silence(ms=SECOND))
    assert said_so_far(turns, "Stop.") == []


@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["low", "medium", "high", "auto"]))
def test_the_more_likely_the_end_the_shorter_the_wait(one: float, other: float, eagerness: str) -> None:
    less, more = sorted((one, other))
    longer, shorter = (silence_needed(likelihood, eagerness) for likelihood in (less, more))  # type: ignore[arg-type]
    assert longer >= shorter - 1e-6


# --- What always holds ---

steps = st.one_of(
    st.lists(st.floats(0, 1), max_size=40),
    st.sampled_from([speech(ms=SECOND), silence(ms=SECOND), CLICK]),
    st.sampled_from(
        [
            None,
            ServerVad(),
            ServerVad(0.9, 0, 0, 5000),
            ServerVad(0.0, 5000, 100),
            SemanticVad("low"),
            SemanticVad("high"),
        ]
    ),
    st.tuples(st.floats(0, 1), st.integers(0, 5000)),
    st.sampled_from(["reset", "await", "stop awaiting", "skip"]),
)


@given(st.lists(steps, max_size=30))
def test_whatever_happens_turns_follow_each_other_in_order(conversation: list[object]) -> None:
    turns = Turns(ServerVad(), longest_turn_ms=3 * SECOND)
    end = 0
    for step in conversation:
        needed = turns.needed_from_ms
        match step:
            case list():
                events = turns.hear(step)
            case (float() as likelihood, int() as back):
                events = turns.ending(likelihood, turns.now_ms - back)
            case "reset":
                turns.reset()
                end = turns.now_ms
                continue
            case "await":
                turns.await_speech(turns.now_ms + 500)
                continue
            case "stop awaiting":
                turns.stop_awaiting()
                continue
            case "skip":
                turns.skip(777)
                continue
            case _:
                turns.update(step)  # type: ignore[arg-type]
                continue
        for event in turn_events(events):
            match event:
                case SpeechStarted(start) | IdleTimeout(start, _):
                    assert end <= start <= turns.now_ms
                    assert start >= needed
            if isinstance(event, SpeechStopped):
                assert end <= event.audio_start_ms <= event.speech_end_ms <= event.audio_end_ms <= turns.now_ms
            if isinstance(event, SpeechStopped | IdleTimeout):
                end = event.audio_end_ms


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(1, 50))
def test_the_size_of_the_chunks_does_not_matter(chances: list[float], size: int) -> None:
    whole = Turns(ServerVad()).hear(chances)
    turns = Turns(ServerVad())
    parts = [event for start in range(0, len(chances), size) for event in turns.hear(chances[start : start + size])]
    assert parts == whole

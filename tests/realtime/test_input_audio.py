"""What the user says is heard while it is said, kept as long as it is needed, and committed when it is over."""

from __future__ import annotations

import time

import numpy as np
import pytest

from speaches.engines.base import Word
from speaches.errors import Unavailable
from speaches.realtime import input_audio
from speaches.realtime.work import Listen, MeasureEnding, Respond, StopTranscribing, Transcribe
from tests.realtime.talking import Talk

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
TRANSCRIBING = {"input": {"transcription": {"model": "whisper-1", "prompt": "Tea.", "keywords": ["Earl Grey"]}}}


def test_words_are_shown_while_the_user_speaks_once_two_hypotheses_agree() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(700)
    talk.guesses("one cup")
    assert DELTA not in talk.sent()
    talk.speaks(700)
    talk.guesses("one cup of")
    shown = talk.one(DELTA)
    assert (shown["delta"], shown["content_index"]) == ("one cup", 0)
    talk.is_quiet()
    talk.sent()
    talk.transcribes("One cup of tea.")
    delta, completed, _ = talk.took()
    assert delta["delta"] == " of tea.", "what was shown stays as it is"
    assert (completed["type"], completed["transcript"]) == (COMPLETED, "One cup of tea.")


def test_the_transcript_counts_where_the_words_shown_were_wrong() -> None:
    talk = Talk(audio=TRANSCRIBING)
    for _ in range(2):
        talk.speaks(700)
        talk.guesses("one pup")
    talk.is_quiet()
    talk.sent()
    talk.transcribes("One cup.")
    assert talk.sent()[0] == COMPLETED, "nothing that was sent can be taken back"


def test_what_follows_words_that_were_shown_wrong_is_sent() -> None:
    talk = Talk(audio=TRANSCRIBING)
    for _ in range(2):
        talk.speaks(700)
        talk.guesses("one pup")
    talk.is_quiet()
    talk.sent()
    talk.transcribes("One cup of tea.")
    assert talk.one(DELTA)["delta"] == " of tea."


def test_a_recogniser_is_not_prompted_with_words_that_it_is_to_hear() -> None:
    talk = Talk(audio=TRANSCRIBING)
    for _ in range(3):
        talk.speaks(700)
        talk.guesses("one cup")
    talk.speaks(700)
    (work,) = talk.asked(Listen)
    assert (talk.one(DELTA)["delta"], work.prompt) == ("one cup", "")


def test_a_recogniser_is_prompted_with_the_words_before_what_it_hears() -> None:
    talk = Talk(audio=TRANSCRIBING)
    for _ in range(30):
        talk.speaks(700)
        for work in talk.asked(Listen):
            if work.prompt:
                assert (work.prompt, round(len(work.samples) / 16_000)) == ("one cup of tea", 12)
                return
            talk.session.hypothesis(work.work_id, [*spoken("one cup of", 0.5), *spoken("tea", 3.0)], 100)
    raise AssertionError("no audio has left the buffer")


def spoken(text: str, start: float) -> list[Word]:
    return [
        Word(f" {word}", start + place / 2, start + place / 2 + 0.5, 0.9) for place, word in enumerate(text.split())
    ]


def two_turns(talk: Talk) -> tuple[Transcribe, Transcribe]:
    """What is asked for at their ends."""
    works = []
    for _ in range(2):
        talk.speaks()
        talk.is_quiet()
        works.append(talk.asked(Transcribe)[-1])
    talk.sent()
    return works[0], works[1]


def test_a_turn_that_is_recognised_before_an_earlier_one_waits_for_it() -> None:
    talk = Talk("transcription", audio=TRANSCRIBING)
    long, short = two_turns(talk)
    talk.session.transcribed(short.work_id, "Yes.")
    assert talk.sent() == []
    talk.session.transcribed(long.work_id, "Would you like one?")
    assert [event["transcript"] for event in talk.took() if event["type"] == COMPLETED] == [
        "Would you like one?",
        "Yes.",
    ]


def test_a_failure_takes_its_turn_like_a_transcript() -> None:
    talk = Talk("transcription", audio=TRANSCRIBING)
    first, second = two_turns(talk)
    talk.session.transcription_failed(second.work_id, Unavailable("There is no such model."))
    assert talk.sent() == []
    talk.session.transcribed(first.work_id, "Yes.")
    assert talk.sent()[-2:] == [COMPLETED, FAILED]
    first, second = two_turns(talk)
    talk.session.transcribed(second.work_id, "No.")
    talk.session.transcription_failed(first.work_id, Unavailable("There is no such model."))
    assert [kind for kind in talk.sent() if kind != DELTA] == [FAILED, COMPLETED]


def test_nobody_waits_for_a_turn_that_was_deleted() -> None:
    talk = Talk("transcription", audio=TRANSCRIBING)
    _, second = two_turns(talk)
    talk.session.transcribed(second.work_id, "Yes.")
    talk.send("conversation.item.delete", item_id="item_1")
    assert COMPLETED in talk.sent()


def test_a_silent_commit_waits_for_the_turn_before_it() -> None:
    talk = Talk("transcription", audio=TRANSCRIBING)
    talk.speaks()
    talk.is_quiet()
    (speech,) = talk.asked(Transcribe)
    talk.is_quiet()
    talk.send("input_audio_buffer.commit")
    assert COMPLETED not in talk.sent()
    talk.session.transcribed(speech.work_id, "Yes.")
    assert [event["transcript"] for event in talk.took() if event["type"] == COMPLETED] == ["Yes.", ""]


def test_it_is_listened_again_only_when_the_last_hypothesis_is_there_and_there_is_more_to_hear() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(3000)
    assert len(talk.asked(Listen)) == 1
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(700)
    talk.guesses("one", took_ms=2000)
    talk.speaks(2800)
    assert talk.asked(Listen) == [], "a slow recogniser is asked more rarely"
    talk.speaks(300)
    assert len(talk.asked(Listen)) == 1


def test_what_a_turn_is_heard_with() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(700)
    (work,) = talk.asked(Listen)
    assert (work.hearing.model, work.hearing.prompt, work.hearing.keywords) == ("whisper-1", "Tea.", ("Earl Grey",))
    assert work.samples.dtype == np.float32


def test_nobody_listens_to_a_turn_that_is_over() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(1000)
    (listening,) = talk.asked(Listen)
    talk.is_quiet()
    assert StopTranscribing(listening.work_id) in talk.asked(StopTranscribing)
    talk.session.hypothesis(listening.work_id, [], 100)
    assert DELTA not in talk.sent()


def test_a_long_turn_is_not_heard_again_from_its_start() -> None:
    talk = Talk(audio=TRANSCRIBING)
    longest = 0.0
    said: list[str] = []
    for second in range(120):
        talk.speaks(1024)
        for work in talk.asked(Listen):
            longest = max(longest, len(work.samples) / 16_000)
            start = second + 1 - len(work.samples) / 16_000
            talk.work.append(work)
            talk.guesses(" ".join(f"w{number}" for number in range(max(0, round(start * 4)), second * 4)), 100)
        said += [event["delta"] for event in talk.took() if event["type"] == DELTA]
    assert longest < 30
    assert len("".join(said)) > 100


def test_words_that_are_placed_after_the_audio_cut_nothing_off() -> None:
    talk = Talk(audio={"input": {"transcription": {"model": "whisper-1"}}})
    lengths = []
    for _ in range(40):
        talk.speaks(700)
        for work in talk.asked(Listen):
            lengths.append(len(work.samples) / 16_000)
            words = [Word(f" {place}", place, place + 40.0, 0.9) for place in range(int(lengths[-1]))]
            talk.session.hypothesis(work.work_id, words, 100)
    assert min(lengths) > 0.5 and max(lengths) < 26


def test_silence_that_nobody_judges_is_not_heard_again_for_ever() -> None:
    talk = Talk("transcription", audio={"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}})
    longest = 0
    for _ in range(90):
        talk.streams(1000)
        for work in talk.asked(Listen):
            longest = max(longest, len(work.samples))
            talk.session.hypothesis(work.work_id, [], 100)
    assert longest <= 30 * 16_000


def test_a_turn_is_transcribed_at_its_pause_and_known_when_it_is_over() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    talk.is_quiet(200)
    (work,) = talk.asked(Transcribe)
    talk.session.transcribed(work.work_id, "Hello.")
    assert COMPLETED not in talk.sent(), "the user may go on"
    talk.is_quiet(400)
    assert talk.sent()[-3:] == [DELTA, COMPLETED, "response.created"]
    assert talk.asked(Transcribe) == []


def test_a_user_who_goes_on_is_heard_again() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    talk.is_quiet(200)
    (ahead,) = talk.asked(Transcribe)
    talk.speaks()
    assert StopTranscribing(ahead.work_id) in talk.asked(StopTranscribing)
    talk.session.transcribed(ahead.work_id, "Half.")
    talk.is_quiet()
    (whole,) = talk.asked(Transcribe)
    assert len(whole.samples) > len(ahead.samples)
    talk.session.transcribed(whole.work_id, "Half a cup.")
    assert talk.one(COMPLETED)["transcript"] == "Half a cup."


def test_a_weak_sound_after_a_pause_is_heard_too() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    talk.is_quiet(200)
    (ahead,) = talk.asked(Transcribe)
    talk.session.transcribed(ahead.work_id, "Tea.")
    talk.hears(64, 0.4)
    talk.is_quiet()
    talk.transcribes("Tea, please.")
    assert talk.one(COMPLETED)["transcript"] == "Tea, please."


def test_turns_that_come_in_one_packet_are_kept_apart() -> None:
    talk = Talk(audio=TRANSCRIBING)
    chances = ([0.9] * 20 + [0.01] * 20) * 2
    talk.session.heard(np.arange(len(chances) * 512, dtype=np.float32), chances)
    first, second = talk.asked(Transcribe)
    assert first.samples[-1] < second.samples[0] and len(second.samples) > 20 * 512
    for work, text in ((first, "One."), (second, "Two.")):
        talk.session.transcribed(work.work_id, text)
    assert [event["transcript"] for event in talk.took() if event["type"] == COMPLETED] == ["One.", "Two."]


def test_an_attempt_at_a_pause_that_fails_is_made_again() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    talk.is_quiet(200)
    talk.fails_to_transcribe(Unavailable("Busy."))
    talk.is_quiet(400)
    talk.transcribes("Hello.")
    assert talk.one(COMPLETED)["transcript"] == "Hello."


@pytest.mark.parametrize(("text", "milliseconds"), [("Stop.", 800), ("So, um,", 2000)])
def test_semantic_turns_end_by_what_was_said(text: str, milliseconds: int) -> None:
    talk = Talk(audio={"input": {"turn_detection": {"type": "semantic_vad"}}})
    talk.speaks()
    talk.is_quiet(200)
    talk.transcribes(text)
    talk.is_quiet(milliseconds - 300)
    over = "input_audio_buffer.speech_stopped" in talk.sent()
    assert over == (text == "Stop.")


def test_a_model_may_say_that_the_voice_has_finished() -> None:
    talk = Talk(
        has_ending_model=True, audio={"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}
    )
    talk.speaks()
    talk.is_quiet(600)
    (work,) = talk.asked(MeasureEnding)
    talk.session.ending(1.0, work.heard_until_ms)
    assert "input_audio_buffer.speech_stopped" in talk.sent()


@pytest.mark.parametrize("detection", [None, {"type": "server_vad"}])
@pytest.mark.parametrize("milliseconds", [0, 90])
def test_too_little_audio_is_not_committed(detection: object, milliseconds: int) -> None:
    talk = Talk(audio={"input": {"turn_detection": detection}})
    if milliseconds:
        talk.streams(milliseconds)
    talk.send("input_audio_buffer.commit", event_id="c1")
    error = talk.error()
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "c1")
    assert f"{milliseconds}.00ms" in error["message"]


def test_a_client_may_commit_while_the_user_speaks() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    talk.send("input_audio_buffer.commit")
    events = talk.took()
    assert [event["type"] for event in events] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
    ]
    talk.transcribes("Hello.")
    assert talk.asked(Respond) == [], "who commits asks for the response"
    talk.is_quiet()
    talk.says("And then?")
    assert talk.asked_to_respond().messages[-1]["content"] == "And then?"


def test_silence_that_is_committed_needs_no_recogniser() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.is_quiet(2000)
    talk.send("input_audio_buffer.commit")
    assert talk.asked(Transcribe) == []
    assert talk.one(COMPLETED)["transcript"] == ""


def test_what_the_detector_took_for_too_quiet_can_be_committed() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.hears(2000, 0.3)
    talk.send("input_audio_buffer.commit")
    (work,) = talk.asked(Transcribe)
    assert len(work.samples) >= 1900 * 16


def test_a_buffer_that_is_cleared_is_forgotten_with_its_turn() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks(1000)
    (listening,) = talk.asked(Listen)
    talk.send("input_audio_buffer.clear")
    assert talk.sent()[-1] == "input_audio_buffer.cleared"
    assert talk.asked(StopTranscribing) == [StopTranscribing(listening.work_id)]
    talk.is_quiet()
    assert talk.sent() == []
    talk.send("input_audio_buffer.clear")
    assert talk.sent() == ["input_audio_buffer.cleared"]


def test_detection_that_is_switched_off_leaves_the_audio_to_be_committed() -> None:
    talk = Talk(audio=TRANSCRIBING)
    talk.speaks()
    started = talk.one("input_audio_buffer.speech_started")
    talk.update(audio={"input": {"turn_detection": None}})
    assert talk.sent() == ["session.updated"]
    talk.streams(320)
    talk.send("input_audio_buffer.commit")
    stopped, committed, *_ = talk.took()
    assert (stopped["type"], stopped["item_id"]) == ("input_audio_buffer.speech_stopped", started["item_id"])
    assert (committed["type"], committed["item_id"]) == ("input_audio_buffer.committed", started["item_id"])
    assert len(talk.asked(Transcribe)[-1].samples) >= 960 * 16


def test_what_was_said_before_detection_was_switched_on_can_still_be_committed() -> None:
    talk = Talk(audio=TRANSCRIBING | {"input": TRANSCRIBING["input"] | {"turn_detection": None}})
    talk.streams(2000)
    (listening,) = talk.asked(Listen)
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
    assert talk.asked(StopTranscribing) == [StopTranscribing(listening.work_id)]
    talk.send("input_audio_buffer.commit")
    assert len(talk.asked(Transcribe)[-1].samples) == 2000 * 16


def test_turns_are_found_in_what_comes_after_detection_was_switched_on() -> None:
    talk = Talk(audio={"input": {"turn_detection": None}})
    talk.streams(1001)
    talk.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
    talk.sent()
    talk.is_quiet(2000)
    talk.speaks()
    start = talk.one("input_audio_buffer.speech_started")["audio_start_ms"]
    assert abs(start - (3001 - 300)) <= 64


def test_a_user_who_stays_silent_is_spoken_to() -> None:
    talk = Talk(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000}}})
    talk.is_quiet(10_000)
    assert talk.sent() == [], "nobody waits before the first response"
    talk.says("Hello.")
    talk.answers("Good day. What can I do?", 2000)
    talk.sent()
    talk.is_quiet(7_800)
    assert talk.sent() == [], "the wait begins when the answer was heard"
    talk.is_quiet(400)
    events = talk.took()
    assert [event["type"] for event in events] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert abs(events[0]["audio_end_ms"] - events[0]["audio_start_ms"] - 6000) <= 64
    assert "6 seconds" in str(talk.asked_to_respond().messages[-1]["content"])


def test_a_user_who_only_coughs_is_spoken_to_all_the_same() -> None:
    talk = Talk(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 6000}}})
    talk.says("")
    talk.is_quiet(10_000)
    assert "input_audio_buffer.timeout_triggered" not in talk.sent(), "nobody waits before the first response"
    talk.says("Hello.")
    talk.answers("Good day. What can I do?", 2000)
    talk.is_quiet(4_000)
    talk.says("")
    talk.sent()
    talk.is_quiet(5_900)
    assert talk.sent() == [], "the wait begins anew"
    talk.is_quiet(200)
    assert talk.sent()[0] == "input_audio_buffer.timeout_triggered"


def test_a_buffer_that_nobody_commits_is_full_some_time() -> None:
    talk = Talk(audio={"input": {"turn_detection": None}})
    minute = np.zeros(60 * 16_000, np.float32)
    for _ in range(20):
        talk.session.heard(minute)
    assert talk.error()["code"] == "input_audio_buffer_full", "said once"
    talk.send("input_audio_buffer.commit")
    assert len(talk.asked(Transcribe)[-1].samples) == 15 * len(minute)
    talk.session.heard(minute)
    assert "error" not in talk.sent()


def test_an_hour_of_silence_is_not_kept() -> None:
    talk = Talk()
    minute = np.zeros(60 * 16_000 // 512 * 512, np.float32)
    for _ in range(60):
        for start in range(0, len(minute), 16_384):
            samples = minute[start : start + 16_384]
            talk.session.heard(samples, [0.01] * (len(samples) // 512))
    kept = talk.session._input._buffer
    assert kept.end - kept._blocks[0][0] <= (input_audio.KEPT_MS + 3000) * 16


def test_an_hour_of_talk_takes_seconds() -> None:
    talk = Talk(audio=TRANSCRIBING)
    begun = time.process_time()
    for _ in range(360):
        talk.session.heard(np.zeros(125 * 512, np.float32), [0.9] * 125)
        for work in talk.asked(Listen):
            talk.session.hypothesis(work.work_id, [], 100)
        talk.session.heard(np.zeros(32 * 512, np.float32), [0.01] * 32)
        talk.transcribes("How are you?")
        talk.answers("Fine.", 4000)
    assert sum(event["type"] == "response.done" for event in talk.took()) == 360
    assert time.process_time() - begun < 60
    assert len(talk.legality.items) == 720

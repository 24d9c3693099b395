"""Over WebRTC the audio goes by a track of its own, and the session knows how much of it was played."""

from __future__ import annotations

from speaches.realtime.work import StopPlaying, StopResponding
from tests.realtime.talking import Talk


def playing() -> tuple[Talk, str]:
    talk = Talk(webrtc=True)
    talk.says("What time is it?")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "It is noon.", 3000)
    return talk, work.response_id


def test_audio_is_not_sent_as_events() -> None:
    talk, response_id = playing()
    sent = talk.sent()
    assert "response.output_audio.delta" not in sent
    assert sent.count("output_audio_buffer.started") == 1
    talk.finishes(response_id)
    assert "output_audio_buffer.stopped" not in talk.sent(), "it is still to be heard"
    talk.session.played(response_id, 3000 * 24)
    assert talk.sent() == ["output_audio_buffer.stopped"]


def test_speech_stops_what_is_played_even_when_all_of_it_was_made() -> None:
    talk, response_id = playing()
    talk.finishes(response_id)
    item_id = talk.one("response.done")["response"]["output"][0]["id"]
    talk.speaks(64)
    assert talk.sent() == ["input_audio_buffer.speech_started"]
    assert talk.asked(StopPlaying) == [StopPlaying(response_id)]
    talk.session.played(response_id, 1500 * 24)
    cleared, truncated = talk.took()
    assert (cleared["type"], cleared["response_id"]) == ("output_audio_buffer.cleared", response_id)
    assert (truncated["item_id"], truncated["audio_end_ms"]) == (item_id, 1500)
    talk.send("conversation.item.retrieve", item_id=item_id)
    assert talk.took()[0]["item"]["content"] == [{"type": "output_audio", "transcript": "It is"}]


def test_a_client_clears_what_is_played() -> None:
    talk, response_id = playing()
    talk.sent()
    talk.send("response.cancel")
    assert talk.asked(StopResponding) == [StopResponding(response_id)]
    talk.send("output_audio_buffer.clear")
    assert talk.asked(StopPlaying) == [StopPlaying(response_id)]
    talk.session.played(response_id, 100)
    talk.session.played(response_id, 100)
    assert talk.sent().count("output_audio_buffer.cleared") == 1
    talk.send("output_audio_buffer.clear")
    assert talk.sent() == []


def test_the_user_is_waited_for_from_the_end_of_what_was_played() -> None:
    talk = Talk(webrtc=True, audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 1000}}})
    talk.says("Hello.")
    work = talk.asked_to_respond()
    talk.says_aloud(work.response_id, "Good day.", 5000)
    talk.finishes(work.response_id)
    talk.is_quiet(4000)
    assert "input_audio_buffer.timeout_triggered" not in talk.sent()
    talk.session.played(work.response_id, 5000 * 24)
    talk.is_quiet(1100)
    assert "input_audio_buffer.timeout_triggered" in talk.sent()

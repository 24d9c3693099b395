from __future__ import annotations

import pytest

from speaches.text.subtitles import Cue, lrc, srt, vtt


def test_srt() -> None:
    assert srt([Cue(0, 1.5, " Hello world."), Cue(61.25, 3723.004, "And on.")]) == (
        "1\n00:00:00,000 --> 00:00:01,500\nHello world.\n\n2\n00:01:01,250 --> 01:02:03,004\nAnd on.\n\n"
    )


def test_vtt() -> None:
    assert vtt([Cue(0, 1.5, " Hello world."), Cue(61.25, 3723.004, "And on.")]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello world.\n\n00:01:01.250 --> 01:02:03.004\nAnd on.\n\n"
    )


def test_lrc() -> None:
    cues = [Cue(0, 1.5, " Hello\nworld."), Cue(1.6, 2.0, "And on."), Cue(61.256, 6123.004, "[Music]")]
    assert lrc(cues) == "[00:00.00]Hello world.\n[00:01.60]And on.\n[00:02.00]\n[01:01.26] [Music]\n[102:03.00]\n"
    assert lrc([Cue(59.999, 60.001, "x")]) == "[01:00.00]x\n[01:00.00]\n"


def test_no_cues() -> None:
    assert lrc([]) == ""
    assert srt([]) == ""
    assert vtt([]) == "WEBVTT\n\n"


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (1.001, "00:00:01,001"),
        (0.9996, "00:00:01,000"),
        (59.9999, "00:01:00,000"),
        (3599.9996, "01:00:00,000"),
        (360_000, "100:00:00,000"),
        (-0.5, "00:00:00,000"),
    ],
)
def test_times_are_rounded_to_whole_milliseconds(seconds: float, written: str) -> None:
    assert srt([Cue(seconds, seconds, "x")]).splitlines()[1] == f"{written} --> {written}"


def test_text_can_not_end_its_cue_or_look_like_another() -> None:
    cue = Cue(0, 1, "one\n\n2\n00:00:05,000 --> 00:00:06,000\nfake")
    assert srt([cue]).count("\n\n") == 1
    assert srt([cue]).count("-->") == 1
    assert vtt([cue]).count("-->") == 1


def test_vtt_escapes_what_would_be_a_tag() -> None:
    assert "a &lt;b&gt; &amp; c" in vtt([Cue(0, 1, "a <b> & c")])
    assert "a <b> & c" in srt([Cue(0, 1, "a <b> & c")])

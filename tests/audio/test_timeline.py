"""The times of a file, its tracks and its channels, as other programs write them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from speaches.audio.decode import AudioFile, AudioLimits
from speaches.audio.pcm import to_pcm16
from speaches.engines.base import SAMPLE_RATE
from speaches.errors import InvalidRequest
from tests.audio.files import by_ffmpeg, by_libsndfile, decode, run_ffmpeg
from tests.recordings import level, pitch, silence, tone, wav

RATE = 16_000


def starts_at(samples: object) -> float:
    """Seconds until something is heard."""
    loud = np.flatnonzero(np.abs(np.asarray(samples)) > 0.1)
    return float(loud[0]) / SAMPLE_RATE


def beside_a_video(folder: Path, name: str, seconds: float) -> bytes:
    """A second of a tone, which begins so many seconds after the video."""
    video = ["-f", "lavfi", "-i", "color=size=16x16:rate=5:duration=8"]
    run_ffmpeg(
        [*video, "-itsoffset", str(seconds), "-i", "pipe:0", "-map", "0:v", "-map", "1:a", str(folder / name)],
        wav(tone(440, 1)),
    )
    return (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov", "a.ts"])
def test_a_track_that_begins_after_the_video_does_so_in_its_times(tmp_path: Path, name: str) -> None:
    assert starts_at(decode(beside_a_video(tmp_path, name, 5))) == pytest.approx(5.0, abs=0.12)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.mp4"])
def test_a_pause_of_the_recorder_is_silence(tmp_path: Path, name: str) -> None:
    hole = ["-af", "aselect='not(between(t,1,4))'", "-c:a", "libopus" if name == "a.webm" else "aac"]
    samples = np.concatenate([tone(440, 1), silence(3), tone(880, 1)])
    heard = decode(by_ffmpeg(tmp_path, samples, RATE, name, hole))
    assert len(heard) / SAMPLE_RATE == pytest.approx(5.0, abs=0.15)
    assert level(heard[int(1.3 * RATE) : int(3.7 * RATE)]) < 0.01
    assert pitch(heard[int(4.2 * RATE) : int(4.8 * RATE)]) == pytest.approx(880, abs=4)


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg", "a.opus", "a.m4a", "a.flv", "a.mkv", "a.wma", "a.aac", "a.ts"])
def test_no_format_gets_silence_where_there_is_none(tmp_path: Path, name: str) -> None:
    heard = decode(by_ffmpeg(tmp_path, tone(440, 20, 44_100), 44_100, name))
    assert len(heard) / SAMPLE_RATE == pytest.approx(20.0, abs=0.15)
    assert starts_at(heard) < 0.1
    assert all(level(heard[place : place + 800]) > 0.2 for place in range(4000, len(heard) - 8000, 800))


def test_a_clock_that_jumps_by_days_is_no_silence(tmp_path: Path) -> None:
    data = by_ffmpeg(tmp_path, tone(440, 2), RATE, "a.mkv", ["-output_ts_offset", "500000"])
    assert len(decode(data)) / SAMPLE_RATE == pytest.approx(2.0, abs=0.1)


def test_the_default_track_is_heard_unless_another_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    low, high = tmp_path / "low.wav", tmp_path / "high.wav"
    low.write_bytes(wav(tone(440, 1)))
    high.write_bytes(wav(tone(880, 1)))
    which = ["-map", "0:a", "-map", "1:a", "-disposition:a:0", "0", "-disposition:a:1", "default"]
    run_ffmpeg(["-i", str(low), "-i", str(high), *which, str(target)], b"")
    data = target.read_bytes()
    assert pitch(decode(data)) == pytest.approx(880, abs=2)
    for track, hertz in enumerate((440, 880)):
        with AudioFile(io.BytesIO(data), AudioLimits(), track=track) as audio:
            assert pitch(np.concatenate(list(audio.blocks()))) == pytest.approx(hertz, abs=2)
    with pytest.raises(InvalidRequest, match="from 0 to 1"):
        AudioFile(io.BytesIO(data), AudioLimits(), track=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.ac3", []),
        ("a.eac3", []),
        ("a.dts", ["-strict", "-2", "-c:a", "dca"]),
        ("a.thd", ["-strict", "-2", "-c:a", "truehd", "-f", "truehd"]),
        ("a.mlp", ["-strict", "-2", "-c:a", "mlp", "-f", "mlp"]),
    ],
)
def test_raw_tracks_of_films_are_heard(tmp_path: Path, name: str, options: list[str]) -> None:
    heard = decode(by_ffmpeg(tmp_path, tone(440, 2, 48_000), 48_000, name, options))
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.1)
    assert pitch(heard) == pytest.approx(440, abs=2)


def test_channels_that_are_each_others_opposite_are_heard() -> None:
    one = tone(440, 2)
    heard = decode(by_libsndfile(np.stack([one, -one], axis=1), RATE, "WAV", "PCM_16"))
    assert level(heard) == pytest.approx(level(one), rel=0.01)


def test_ordinary_stereo_is_the_mean_of_its_channels() -> None:
    left, right = tone(440, 1), tone(660, 1, level=0.3)
    heard = decode(by_libsndfile(np.stack([left, right], axis=1), RATE, "WAV", "PCM_16"))
    assert np.abs(heard - (left + right) / 2).max() < 2 / 32768


@pytest.mark.parametrize(
    ("content_type", "rate", "channels"),
    [
        ("audio/pcm;rate=8000", 8000, 1),
        ("audio/L16; rate=24000", 24_000, 1),
        ('audio/pcm; rate="48000"; channels=2', 48_000, 2),
    ],
)
def test_the_rate_of_a_content_type_is_believed(content_type: str, rate: int, channels: int) -> None:
    pcm = np.repeat(np.frombuffer(to_pcm16(tone(440, 2, rate)), "<i2"), channels).tobytes()
    heard = decode(pcm, content_type=content_type)
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.01)
    assert pitch(heard) == pytest.approx(440, abs=2)


@pytest.mark.parametrize(
    "wrong", ["rate=abc", "rate=0", "rate=-8000", "rate=9999999", "rate=8000; channels=99", "channels=0"]
)
def test_a_rate_that_can_not_be_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequest, match="must be a whole number"):
        decode(b"\0" * 32_000, content_type=f"audio/pcm;{wrong}")


@pytest.mark.parametrize("place", range(6))
def test_speech_in_any_channel_of_six_is_as_loud_as_alone(place: int) -> None:
    one = tone(440, 2)
    channels = np.zeros((len(one), 6), np.float32)
    channels[:, place] = one
    assert level(decode(by_libsndfile(channels, RATE, "WAV", "PCM_16"))) == pytest.approx(level(one), rel=0.05)


def test_a_default_track_with_nothing_in_it_makes_way_for_the_next(tmp_path: Path) -> None:
    target, empty, speech = tmp_path / "a.mkv", tmp_path / "empty.wav", tmp_path / "speech.wav"
    empty.write_bytes(wav(silence(0)))
    speech.write_bytes(wav(tone(880, 1)))
    run_ffmpeg(["-i", str(empty), "-i", str(speech), "-map", "0:a", "-map", "1:a", str(target)], b"")
    assert pitch(decode(target.read_bytes())) == pytest.approx(880, abs=2)


def test_the_order_of_bytes_of_l16_is_found() -> None:
    pcm = np.frombuffer(to_pcm16(tone(440, 2)), "<i2")
    for order in ("<i2", ">i2"):
        assert pitch(decode(pcm.astype(order).tobytes(), content_type="audio/L16;rate=16000")) == pytest.approx(
            440, abs=2
        )


def test_a_file_that_says_what_it_is_is_not_raw_whatever_its_type() -> None:
    assert pitch(decode(wav(tone(440, 1)), content_type="audio/basic")) == pytest.approx(440, abs=2)

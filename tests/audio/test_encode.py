from __future__ import annotations

import io
import subprocess
import wave
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from speaches.audio.encode import AAC_RATES, FORMATS, MP3_RATES, OPUS_RATES, check_rate, encode, streaming_encoder
from speaches.errors import InvalidRequest
from tests.recordings import level, noise, pitch, silence, tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

RATE = 24_000  # Hz
MP3_PADDING = (
    2_304  # samples: the encoder's delay (1105), and what fills the last frame, where no header tells how many
)
AAC_PADDING = 2_048  # samples: a frame of delay, and what fills the last frame; ADTS has no place to tell


def streamed(name: str, rate: int, samples: Samples, blocks: int = 7) -> bytes:
    encoder = streaming_encoder(name, rate)
    parts = [encoder.push(block) for block in np.array_split(samples, blocks)]
    return b"".join([*parts, encoder.finish()])


def read(name: str, data: bytes, rate: int) -> Samples:
    """What independent software reads: libsndfile, or ffmpeg's own program for AAC and for FLAC of unknown length."""
    if name == "pcm":
        return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
    if name == "aac" or (name == "flac" and not soundfile.info(io.BytesIO(data)).frames < 2**40):
        return _by_ffmpeg(data)
    samples, found = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (found, samples.ndim) == (rate, 1)
    return np.asarray(samples, np.float32)


def _by_ffmpeg(data: bytes) -> Samples:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", "pipe:0", "-f", "f32le", "-ac", "1", "pipe:1"]
    return np.frombuffer(subprocess.run(command, input=data, capture_output=True, check=True).stdout, np.float32)


@pytest.mark.parametrize("count", [100, 12_000, 48_077])
@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_has_the_right_length_for_other_software(name: str, count: int) -> None:
    heard = read(name, encode(name, RATE, tone(440, count / RATE, RATE)), RATE)
    if name == "aac":
        assert 0 <= len(heard) - count <= AAC_PADDING
    else:
        assert len(heard) == count


@pytest.mark.parametrize("count", [100, 12_000, 48_077])
@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_has_the_right_length_for_other_software(name: str, count: int) -> None:
    heard = read(name, streamed(name, RATE, tone(440, count / RATE, RATE)), RATE)
    assert 0 <= len(heard) - count <= {"aac": AAC_PADDING, "mp3": MP3_PADDING}.get(name, 0)


@pytest.mark.parametrize("make", [encode, streamed])
@pytest.mark.parametrize("name", FORMATS)
def test_a_tone_is_still_that_tone(name: str, make: object) -> None:
    assert callable(make)
    heard = read(name, make(name, RATE, tone(440, 2, RATE)), RATE)
    assert pitch(heard, RATE) == pytest.approx(440, abs=2)
    assert level(heard[4_000:40_000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("name", ["wav", "flac", "pcm"])
def test_lossless_formats_lose_nothing(name: str) -> None:
    samples = noise(0.5, RATE)
    for data in (encode(name, RATE, samples), streamed(name, RATE, samples)):
        assert np.abs(read(name, data, RATE) - samples.clip(-1, 1)).max() < 2.5 / 32768


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_too_loud_is_clipped_and_nan_is_silence(name: str) -> None:
    loud = np.concatenate([tone(440, 1, RATE, level=3.0), np.full(RATE, np.nan, np.float32), tone(440, 1, RATE)])
    heard = read(name, encode(name, RATE, loud), RATE)
    assert np.isfinite(heard).all()
    clipped = tone(440, 1, RATE, level=3.0).clip(-1, 1)
    assert level(heard[4_000:20_000]) == pytest.approx(level(clipped), rel=0.1)  # wrapping would be another sound
    assert pitch(heard[4_000:20_000], RATE) == pytest.approx(440, abs=3)
    assert level(heard[30_000:42_000]) < 0.01


@pytest.mark.parametrize(
    ("name", "rate"),
    [(name, rate) for name, rates in (("mp3", MP3_RATES), ("aac", AAC_RATES)) for rate in rates]
    + [(name, rate) for name in ("wav", "flac", "pcm") for rate in (8_000, 11_111, 44_100, 48_000)]
    + [("opus", rate) for rate in OPUS_RATES],
)
def test_every_rate_that_is_allowed_works(name: str, rate: int) -> None:
    check_rate(name, rate)
    heard = read(name, encode(name, rate, tone(440, 1, rate)), rate)
    assert 0 <= len(heard) - rate <= (AAC_PADDING if name == "aac" else 0)
    assert pitch(heard, rate) == pytest.approx(440, abs=3)


@pytest.mark.parametrize(
    ("name", "rate"),
    [("wav", 7_999), ("wav", 48_001), ("pcm", 0), ("flac", -1), ("mp3", 8_001), ("opus", 44_100), ("opus", 22_050)],
)
def test_a_rate_that_a_format_cannot_have_is_refused(name: str, rate: int) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_rate(name, rate)
    assert (refused.value.param, refused.value.status) == ("sample_rate", 400)


def test_a_whole_wav_tells_its_length() -> None:
    with wave.open(io.BytesIO(encode("wav", RATE, silence(1.5, RATE)))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.getnframes() == 36_000


def test_the_header_of_a_wav_stream_says_that_its_length_is_unknown() -> None:
    data = streamed("wav", RATE, silence(1, RATE))
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff"
    assert data[36:40] == b"data"
    assert len(data) == 44 + 2 * RATE


def test_a_whole_flac_tells_its_length() -> None:
    assert soundfile.info(io.BytesIO(encode("flac", RATE, silence(1.5, RATE)))).frames == 36_000


def test_an_mp3_starts_with_a_frame_and_not_with_a_tag() -> None:
    for data in (encode("mp3", RATE, tone(440, 1, RATE)), streamed("mp3", RATE, tone(440, 1, RATE))):
        assert data[0] == 0xFF
        assert data[1] & 0xE0 == 0xE0


@pytest.mark.parametrize("name", FORMATS)
def test_audio_comes_out_while_it_goes_in(name: str) -> None:
    encoder = streaming_encoder(name, RATE)
    after_half_a_second = encoder.push(tone(440, 0.5, RATE))
    assert len(after_half_a_second) > 500
    encoder.close()


@pytest.mark.parametrize("name", FORMATS)
def test_an_encoder_can_be_closed_at_any_time_and_twice(name: str) -> None:
    for pushed in (0, 100, RATE):
        encoder = streaming_encoder(name, RATE)
        encoder.push(silence(pushed / RATE, RATE))
        encoder.close()
        encoder.close()
    encoder = streaming_encoder(name, RATE)
    encoder.push(tone(440, 1, RATE))
    assert encoder.finish() or name in ("wav", "pcm")
    encoder.close()


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_encoded_is_an_empty_file_and_no_failure(name: str) -> None:
    encoder = streaming_encoder(name, RATE)
    data = encoder.push(silence(0)) + encoder.finish()
    assert len(data) < 500
    assert len(encode(name, RATE, silence(0))) < 500

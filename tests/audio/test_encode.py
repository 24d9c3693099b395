from __future__ import annotations

import gc
import hashlib
import io
import re
import resource
import struct
import subprocess
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile

from speaches.audio.encode import encode, streaming_encoder, with_length
from speaches.audio.formats import AAC_RATES, FORMATS, MP3_RATES, OPUS_RATES, check_rate, lead
from speaches.audio.pcm import to_pcm16
from speaches.errors import InvalidRequest
from tests.audio.files import LAWS, by_law
from tests.recordings import level, noise, pitch, silence, tone

if TYPE_CHECKING:
    from speaches.engines.base import Samples

RATE = 24_000  # Hz
PROMISED = 30.0  # ms that an answer may be longer than its speech
# ms, of a stream, at the rates where a frame of mp3 (576 samples, from 32 kHz 1152) or of aac (1024) is too long for that
LONGEST = {
    ("mp3", 8_000): 119,
    ("mp3", 11_025): 81,
    ("mp3", 12_000): 73,
    ("mp3", 16_000): 50,
    ("mp3", 32_000): 37,
    ("aac", 8_000): 173,
    ("aac", 11_025): 120,
    ("aac", 12_000): 109,
    ("aac", 16_000): 77,
    ("aac", 22_050): 50,
    ("aac", 24_000): 45,
    ("aac", 32_000): 33,
}
CODED = {"mp3": MP3_RATES, "aac": AAC_RATES, "opus": OPUS_RATES, "g711_ulaw": (8_000,), "g711_alaw": (8_000,)}
ALL = [(name, rate) for name in FORMATS for rate in CODED.get(name, (8_000, 11_111, 22_050, 24_000, 44_100, 48_000))]


def streamed(name: str, rate: int, samples: Samples, blocks: int = 7) -> bytes:
    encoder = streaming_encoder(name, rate)
    parts = [encoder.push(block) for block in np.array_split(samples, blocks)]
    return b"".join([*parts, encoder.finish()])


def readers(name: str, data: bytes) -> list[Callable[[bytes, int], Samples]]:
    """Independent software that can read this."""
    if name == "pcm":
        return [_as_it_is]
    if name in LAWS:
        return [lambda data, _: by_law(name, data)]
    # libsndfile has no AAC, and gives up on FLAC of unknown length.
    if name == "aac" or (name == "flac" and soundfile.info(io.BytesIO(data)).frames > 2**40):
        return [by_ffmpeg]
    return [by_soundfile, by_ffmpeg]


def read(name: str, data: bytes, rate: int) -> Samples:
    return readers(name, data)[0](data, rate)


def _as_it_is(data: bytes, rate: int) -> Samples:
    return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)


def by_soundfile(data: bytes, rate: int) -> Samples:
    samples, found = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (found, samples.ndim) == (rate, 1)
    return np.asarray(samples, np.float32)


def by_ffmpeg(data: bytes, rate: int) -> Samples:
    # From a file: of an mp3 in a pipe, ffmpeg leaves the padding at the end.
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        ffmpeg, plain = imageio_ffmpeg.get_ffmpeg_exe(), ["-f", "f32le", "-ac", "1", "-ar", str(rate), "pipe:1"]
        done = subprocess.run([ffmpeg, "-v", "error", "-i", file.name, *plain], capture_output=True, check=True)
    assert not done.stderr
    return np.frombuffer(done.stdout, np.float32)


def late_by(heard: Samples, samples: Samples, rate: int) -> float:
    """Milliseconds of silence before the speech, by cross-correlation."""
    size = 1 << (len(heard) + len(samples)).bit_length()
    both = np.fft.irfft(np.conj(np.fft.rfft(samples, size)) * np.fft.rfft(heard, size), size)
    place = int(np.argmax(both))
    return (place - size if place > size // 2 else place) * 1000 / rate


def bursts(rate: int, seconds: float = 0.6) -> Samples:
    """Sound whose place in time is plain, loud from the first sample to the last."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (300 * t + 1_000 * t**2))).astype(np.float32)


# --- Lengths ---


@pytest.mark.parametrize("count", [100, 12_000, 48_077])
@pytest.mark.parametrize("name", FORMATS)
def test_the_whole_has_the_right_length_for_other_software(name: str, count: int) -> None:
    rate = FORMATS[name].rate
    data = encode(name, rate, tone(440, count / rate, rate))
    for reader in readers(name, data):
        surplus = len(reader(data, rate)) - count
        assert 0 <= surplus <= PROMISED * rate / 1000 if name == "aac" else surplus == 0


@pytest.mark.parametrize("count", [4_800, 12_000, 48_077])
@pytest.mark.parametrize("name", FORMATS)
def test_a_stream_has_the_right_length_for_other_software(name: str, count: int) -> None:
    rate = FORMATS[name].rate
    data = streamed(name, rate, tone(440, count / rate, rate))
    for reader in readers(name, data):
        surplus = len(reader(data, rate)) - count
        assert 0 <= surplus <= PROMISED * rate / 1000 if name in ("aac", "mp3") else surplus == 0


@pytest.mark.parametrize("make", [encode, streamed])
@pytest.mark.parametrize(("name", "rate"), ALL)
def test_at_every_rate_the_length_is_right_and_nothing_of_the_speech_is_lost(
    name: str, rate: int, make: Callable[[str, int, Samples], bytes]
) -> None:
    check_rate(name, rate)
    samples = bursts(rate)
    data = make(name, rate, samples)
    for reader in readers(name, data):
        heard = reader(data, rate)
        exact = name not in ("aac", "mp3") or (name == "mp3" and make is encode)
        most = 0 if exact else LONGEST.get((name, rate), PROMISED)
        assert 0 <= (len(heard) - len(samples)) * 1000 / rate <= most
        late = late_by(heard, samples, rate)
        assert late == pytest.approx(1000 * lead(name, rate, streamed=make is streamed), abs=0.3)
        aligned = heard[max(0, round(late * rate / 1000)) :]
        tail = samples[-rate // 50 :]
        assert np.dot(tail, aligned[: len(samples)][-rate // 50 :]) == pytest.approx(np.dot(tail, tail), rel=0.1)
        early = slice(round(0.045 * rate), round(0.1 * rate))
        assert level(aligned[early]) == pytest.approx(level(samples[early]), rel=0.1)


@pytest.mark.parametrize("name", ["mp3", "aac"])
def test_where_no_header_tells_the_delay_no_more_than_the_first_syllable_s_edge_is_faded(name: str) -> None:
    rate = FORMATS[name].rate
    samples = bursts(rate)
    heard = read(name, streamed(name, rate, samples), rate)
    aligned = heard[round(late_by(heard, samples, rate) * rate / 1000) :]
    after = round(0.008 * rate)
    assert level(aligned[after : 2 * after]) == pytest.approx(level(samples[after : 2 * after]), rel=0.15)


def test_a_long_stream_of_frames_of_unequal_size_is_read_to_its_end() -> None:
    samples = np.tile(bursts(44_100, 1.0), 40)
    for reader in (by_soundfile, by_ffmpeg):
        assert 0 <= len(reader(streamed("mp3", 44_100, samples), 44_100)) - len(samples) <= 0.03 * 44_100


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_stream_that_has_ended_can_be_given_its_length(name: str) -> None:
    samples = noise(0.73, RATE)
    data = with_length(name, streamed(name, RATE, samples), len(samples) / RATE, RATE)
    assert soundfile.info(io.BytesIO(data)).frames == len(samples)
    for reader in (by_soundfile, by_ffmpeg):
        assert np.abs(reader(data, RATE) - samples.clip(-1, 1)).max() < 2.5 / 32768


# --- Sound ---


@pytest.mark.parametrize("make", [encode, streamed])
@pytest.mark.parametrize("name", FORMATS)
def test_a_tone_is_still_that_tone(name: str, make: object) -> None:
    assert callable(make)
    heard = read(name, make(name, RATE, tone(440, 2, RATE)), RATE)
    assert pitch(heard, RATE) == pytest.approx(440, abs=2)
    # LAME itself takes 0.4 dB off.
    assert level(heard[4_000:40_000]) == pytest.approx(0.5 / np.sqrt(2), rel=0.06)


@pytest.mark.parametrize("name", ["wav", "flac", "pcm"])
def test_lossless_formats_lose_nothing(name: str) -> None:
    samples = noise(0.5, RATE)
    for data in (encode(name, RATE, samples), streamed(name, RATE, samples)):
        assert np.abs(read(name, data, RATE) - samples.clip(-1, 1)).max() < 2.5 / 32768


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_too_loud_is_clipped_and_what_is_no_number_is_silence(name: str) -> None:
    broken = np.resize(np.array([np.nan, np.inf, -np.inf], np.float32), RATE)
    loud = np.concatenate([tone(440, 1, RATE, level=3.0), broken, tone(440, 1, RATE)])
    heard = read(name, encode(name, RATE, loud), RATE)
    assert np.isfinite(heard).all()
    clipped = tone(440, 1, RATE, level=3.0).clip(-1, 1)
    assert level(heard[4_000:20_000]) == pytest.approx(level(clipped), rel=0.1)  # wrapping would be another sound
    assert pitch(heard[4_000:20_000], RATE) == pytest.approx(440, abs=3)
    assert level(heard[30_000:42_000]) < 0.01


# --- Rates and headers ---


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


def test_a_whole_flac_tells_its_length_and_checksum() -> None:
    samples = noise(1.5, RATE)
    data = encode("flac", RATE, samples)
    assert soundfile.info(io.BytesIO(data)).frames == 36_000
    assert int.from_bytes(data[18:26], "big") & (2**36 - 1) == 36_000
    assert data[26:42] == hashlib.md5(to_pcm16(samples), usedforsecurity=False).digest()
    assert len(streamed("flac", RATE, silence(0.01, RATE))) < 200  # without padding for tags to come


def test_opus_has_a_page_for_every_20_ms() -> None:
    data = streamed("opus", RATE, noise(1, RATE))
    ends = [
        struct.unpack("<q", data[found.start() + 6 : found.start() + 14])[0] for found in re.finditer(b"OggS", data)
    ]
    assert len(ends) > 50
    assert np.diff(ends).max() <= 0.02 * 48_000


def test_an_mp3_starts_with_a_frame_and_not_with_a_tag() -> None:
    for data in (encode("mp3", RATE, tone(440, 1, RATE)), streamed("mp3", RATE, tone(440, 1, RATE))):
        assert data[0] == 0xFF
        assert data[1] & 0xE0 == 0xE0


# --- Streams ---


@pytest.mark.parametrize("name", FORMATS)
def test_a_player_can_begin_after_the_first_tenth_of_a_second(name: str) -> None:
    rate = FORMATS[name].rate
    encoder = streaming_encoder(name, rate)
    data = encoder.push(bursts(rate, 0.1))
    encoder.close()
    (reader, *_) = readers(name, data) if name in ("pcm", "wav", *LAWS) else [by_ffmpeg]
    assert len(reader(data, rate)) >= 0.04 * rate


@pytest.mark.parametrize("name", FORMATS)
def test_blocks_of_any_size_sound_the_same_as_one(name: str) -> None:
    rate = FORMATS[name].rate
    samples = noise(0.7, rate)
    edges = np.random.default_rng(3).integers(0, len(samples), 25)
    encoder = streaming_encoder(name, rate)
    parts = [encoder.push(block) for block in np.split(samples, np.sort([*edges, *edges[:5] + 1]))]
    in_blocks = b"".join([*parts, encoder.finish()])
    at_once = streamed(name, rate, samples, blocks=1)
    if name == "opus":  # an Ogg file has a number of its own
        assert np.array_equal(read(name, in_blocks, rate), read(name, at_once, rate))
    else:
        assert in_blocks == at_once


@pytest.mark.parametrize("name", FORMATS)
def test_an_encoder_can_be_closed_at_any_time_and_twice(name: str) -> None:
    for pushed in (0, 100, RATE):
        encoder = streaming_encoder(name, RATE)
        encoder.push(silence(pushed / RATE, RATE))
        encoder.close()
        encoder.close()
    encoder = streaming_encoder(name, RATE)
    encoder.push(tone(440, 0.99, RATE))
    assert encoder.finish() or name in ("wav", "pcm", *LAWS)
    encoder.close()


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac"])
def test_an_encoder_that_is_closed_early_leaves_nothing_in_memory(name: str) -> None:
    def leave_early(times: int) -> None:
        for _ in range(times):
            encoder = streaming_encoder(name, RATE)
            encoder.push(silence(0.2, RATE))
            encoder.close()

    leave_early(20)
    gc.collect()
    before = _resident()
    leave_early(120)
    gc.collect()
    assert _resident() - before < 6_000_000  # the smallest of them, Opus's, takes 100 KB


def _resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_encoded_is_an_empty_file_and_no_failure(name: str) -> None:
    encoder = streaming_encoder(name, RATE)
    data = encoder.push(silence(0)) + encoder.finish()
    assert len(data) < 500
    assert len(encode(name, RATE, silence(0))) < 500


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux lists its threads there")
@pytest.mark.parametrize("name", FORMATS)
def test_a_closed_encoder_has_no_threads_though_somebody_still_knows_it(name: str) -> None:
    sound = tone(440, 1, 48_000)
    streaming_encoder(name, 48_000).close()
    gc.collect()
    before = len(list(Path("/proc/self/task").iterdir()))
    encoder = streaming_encoder(name, 48_000)
    encoder.push(sound)
    encoder.close()
    assert len(list(Path("/proc/self/task").iterdir())) <= before

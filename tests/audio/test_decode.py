from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pytest

from speaches.audio.decode import BLOCK_SAMPLES, WAV_HEAD, AudioFile, AudioLimits
from speaches.audio.encode import encode, streaming_encoder
from speaches.audio.formats import FORMATS
from speaches.audio.pcm import to_pcm16
from speaches.engines.base import SAMPLE_RATE
from speaches.errors import TooLarge
from tests.audio.files import by_ffmpeg, by_libsndfile, decode, run_ffmpeg
from tests.recordings import level, noise, pitch, silence, tone, wav

# What a lossy codec may add: its delay, and what fills its last frame. Seconds.
EXACT = 2 / SAMPLE_RATE
FRAMES = 0.1


def is_the_tone(samples: object, hertz: float = 440, amplitude: float = 0.5) -> bool:
    heard = np.asarray(samples)[4_000:-4_000]
    assert pitch(heard) == pytest.approx(hertz, abs=2)
    assert level(heard) == pytest.approx(amplitude / np.sqrt(2), rel=0.1)
    return True


@pytest.mark.parametrize("name", ["wav", "flac", "opus", "mp3", "aac"])
def test_what_we_encode_we_decode(name: str) -> None:
    samples = tone(440, 2, 24_000)
    encoder = streaming_encoder(name, 24_000)
    for data in (encode(name, 24_000, samples), encoder.push(samples) + encoder.finish()):
        heard = decode(data, content_type=FORMATS[name].content_type)
        assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=FRAMES if name in ("mp3", "aac") else EXACT)
        assert heard.dtype == np.float32
        assert is_the_tone(heard)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
        ("WAV", "ULAW"), ("WAV", "ALAW"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
        ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("OGG", "VORBIS"),
        ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("VOC", "PCM_16"),
    ],
)  # fmt: skip
def test_files_of_libsndfile(kind: str, subtype: str) -> None:
    rate = 48_000 if subtype == "OPUS" else 44_100
    stereo = np.stack([tone(440, 2, rate)] * 2, axis=1)
    heard = decode(by_libsndfile(stereo, rate, kind, subtype))
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.05)  # ADPCM fills its last block
    assert is_the_tone(heard)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.m4a", []),
        ("a.mp4", []),
        ("a.m4a", ["-movflags", "+faststart"]),
        ("a.mp4", ["-movflags", "+frag_keyframe+empty_moov"]),
        ("a.webm", ["-c:a", "libopus"]),
        ("a.mkv", ["-c:a", "flac"]),
        ("a.mp3", ["-b:a", "64k"]),
        ("a.mp2", []),
        ("a.ogg", ["-c:a", "libopus"]),
        ("a.ts", []),
        ("a.avi", []),
        ("a.flv", ["-ar", "44100"]),
        ("a.wma", []),
        ("a.3gp", ["-c:a", "aac"]),
        ("a.wv", []),
        ("a.tta", []),
    ],
)
def test_files_of_ffmpeg(tmp_path: Path, name: str, options: list[str]) -> None:
    heard = decode(by_ffmpeg(tmp_path, tone(440, 2, 48_000), 48_000, name, options))
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=FRAMES)
    assert is_the_tone(heard)


def test_a_video_is_heard(tmp_path: Path) -> None:
    picture = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=5:duration=2", "-c:v", "mpeg4", "-c:a", "aac", "-shortest"]
    assert is_the_tone(decode(by_ffmpeg(tmp_path, tone(440, 2, 48_000), 48_000, "film.mp4", picture)))


def test_a_cover_picture_does_not_matter(tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    run_ffmpeg(["-f", "lavfi", "-i", "color=red:size=32x32:duration=0.04", "-frames:v", "1", str(cover)])
    for name in ("a.mp3", "a.flac", "a.m4a"):
        with_cover = ["-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
        assert is_the_tone(decode(by_ffmpeg(tmp_path, tone(440, 2, 44_100), 44_100, name, with_cover)))


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_are_mixed_at_full_scale(channels: int) -> None:
    heard = decode(wav(tone(440, 1), channels=channels))
    assert len(heard) == SAMPLE_RATE
    assert 0.25 < np.abs(heard).max() <= 1.0
    assert pitch(heard) == pytest.approx(440, abs=2)


def test_speech_in_one_channel_only_is_heard() -> None:
    one_sided = np.stack([tone(440, 1, 48_000), silence(1, 48_000)], axis=1)
    assert level(decode(by_libsndfile(one_sided, 48_000, "WAV"))) > 0.15


def test_loud_channels_do_not_wrap_when_they_are_mixed() -> None:
    loud = np.stack([tone(440, 1, 48_000, level=1.0)] * 6, axis=1)
    heard = decode(by_libsndfile(loud, 48_000, "WAV", "FLOAT"))
    assert pitch(heard) == pytest.approx(440, abs=2)
    assert np.abs(np.diff(heard)).max() < 0.5  # a wrap would be a jump of 2


@pytest.mark.parametrize("rate", [1_000, 4_000, 8_000, 11_025, 22_050, 96_000, 192_000])
def test_every_sample_rate(rate: int) -> None:
    heard = decode(wav(tone(200, 2, rate), rate))
    assert len(heard) / SAMPLE_RATE == pytest.approx(2.0, abs=0.002)
    assert pitch(heard) == pytest.approx(200, abs=2)


def test_nothing_above_half_the_rate_comes_through() -> None:
    assert level(decode(wav(tone(10_000, 1, 48_000), 48_000))[1_000:-1_000]) < 0.001


def test_16_khz_mono_is_not_changed_at_all() -> None:
    samples = noise(1.7)
    pcm = np.frombuffer(to_pcm16(samples), "<i2")
    assert np.array_equal(decode(wav(samples)) * 32768, pcm)


@pytest.mark.parametrize("content_type", ["audio/pcm", "audio/raw", "audio/L16; rate=16000"])
def test_raw_pcm_by_its_content_type(content_type: str) -> None:
    samples = noise(1.7)
    pcm = to_pcm16(samples)
    assert np.array_equal(decode(pcm, content_type=content_type) * 32768, np.frombuffer(pcm, "<i2"))


@pytest.mark.parametrize("content_type", ["audio/mpeg", "audio/flac", "image/png", "text/plain", "", "nonsense"])
def test_a_mislabelled_file_is_what_is_in_it(content_type: str) -> None:
    assert len(decode(wav(tone(440, 1)), content_type=content_type)) == SAMPLE_RATE


def test_the_end_of_a_stream_of_unknown_length_is_the_end_of_the_file() -> None:
    data = bytearray(wav(tone(440, 1)))
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(decode(bytes(data))) == SAMPLE_RATE
    data[40:44] = struct.pack("<I", 0)
    assert len(decode(bytes(data))) == SAMPLE_RATE


def test_a_recording_may_change_its_format_in_the_middle(tmp_path: Path) -> None:
    for name, kind in (("mp3", "mp3"), ("aac", "adts")):
        low = by_ffmpeg(tmp_path, tone(440, 2, 16_000), 16_000, "low.bin", ["-f", kind])
        high = by_ffmpeg(tmp_path, tone(440, 2, 48_000), 48_000, "high.bin", ["-f", kind, "-ac", "2"])
        for both in (low + high, high + low):
            heard = decode(both)
            assert len(heard) / SAMPLE_RATE == pytest.approx(4.0, abs=2 * FRAMES), name
            for half in (heard[4_000:28_000], heard[-28_000:-4_000]):
                assert pitch(half) == pytest.approx(440, abs=2)
                assert level(half) > 0.2  # ffmpeg makes stereo of mono 3 dB quieter


# --- Blocks ---


def test_blocks_are_about_a_second_and_the_duration_grows_with_them() -> None:
    with AudioFile(io.BytesIO(wav(noise(5.3, 44_100), 44_100)), AudioLimits()) as audio:
        sizes, durations = [], []
        for block in audio.blocks():
            sizes.append(len(block))
            durations.append(audio.duration)
    assert all(BLOCK_SAMPLES <= size < 2 * BLOCK_SAMPLES for size in sizes[:-1])
    assert durations == sorted(durations)
    assert audio.duration == pytest.approx(5.3, abs=0.001)
    assert sum(sizes) == round(audio.duration * SAMPLE_RATE)


def test_decoding_can_stop_after_any_block() -> None:
    for stop in range(4):
        with AudioFile(io.BytesIO(encode("mp3", 24_000, tone(440, 5, 24_000))), AudioLimits()) as audio:
            blocks = audio.blocks()
            taken = [len(next(blocks)) for _ in range(stop)]
            assert audio.duration * SAMPLE_RATE == pytest.approx(sum(taken))


def test_an_upload_that_was_spooled_to_the_disk_is_read_like_one_in_memory() -> None:
    with tempfile.SpooledTemporaryFile(max_size=1000) as file:
        file.write(wav(tone(440, 3)))
        assert len(decode(cast(BinaryIO, file))) == 3 * SAMPLE_RATE


def test_a_wav_file_whose_sound_begins_late_is_heard() -> None:
    file = wav(tone(440, 1))
    note = (
        b"LIST" + struct.pack("<I", 4 * WAV_HEAD) + bytes(4 * WAV_HEAD)
    )  # more than is looked at to tell what is in it
    assert np.array_equal(decode(file[:36] + note + file[36:]), decode(file))


def test_a_little_of_a_wav_file_tells_what_it_is() -> None:
    file = io.BytesIO(wav(tone(440, 10)))
    with AudioFile(file, AudioLimits()):
        assert file.tell() <= 4 * WAV_HEAD  # of 320 kB, a third of which FFmpeg would like to see


def test_the_file_stays_open_and_can_be_read_again() -> None:
    file = io.BytesIO(wav(tone(440, 1)))
    assert np.array_equal(decode(file), decode(file))
    assert not file.closed


# --- Limits ---


def test_a_recording_of_just_the_longest_length_is_taken() -> None:
    assert len(decode(wav(silence(2)), AudioLimits(seconds=2.0))) == 2 * SAMPLE_RATE


def test_a_longer_one_is_refused_when_the_limit_is_reached() -> None:
    file = io.BytesIO(wav(silence(60)))
    with pytest.raises(TooLarge, match="longer than 2 seconds") as refused:
        decode(file, AudioLimits(seconds=2.0))
    assert (refused.value.status, refused.value.param) == (413, "file")
    assert file.tell() < 500_000  # of 1.9 MB: the rest was not read


def test_more_channels_than_allowed_are_refused() -> None:
    assert len(decode(wav(silence(1), channels=8))) == SAMPLE_RATE
    with pytest.raises(TooLarge, match="9 channels"):
        decode(wav(silence(1), channels=9))
    with pytest.raises(TooLarge, match="2 channels; this server takes at most 1"):
        decode(wav(silence(1), channels=2), AudioLimits(channels=1))

"""What strangers send. Each gets a clear error, fast and in bounded memory, and nothing but the file itself is opened."""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import os
import resource
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from speaches.audio.decode import AudioFile, AudioLimits
from speaches.audio.encode import encode
from speaches.audio.formats import FORMATS
from speaches.audio.pcm import to_pcm16
from speaches.errors import InvalidRequest, SpeachesError, TooLarge, UnsupportedAudio
from tests.audio.files import by_libsndfile, decode, run_ffmpeg
from tests.recordings import silence, tone, wav

Bytes = Callable[[], bytes]


def _png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def _by_av(muxer: str, codec: str) -> bytes:
    """A picture or a film without sound."""
    file = io.BytesIO()
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(64, 64, stream.pix_fmt)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _unknown_codec() -> bytes:
    data = bytearray(wav(tone(440, 1)))
    data[20:22] = struct.pack("<H", 0x1234)
    return bytes(data)


def _random(size: int) -> bytes:
    return np.random.default_rng(size).bytes(size)


UNREADABLE: dict[str, Bytes] = {
    "one byte": lambda: b"\0",
    "zeros": lambda: bytes(100_000),
    "random": lambda: _random(100_000),
    "random, short": lambda: _random(100),
    "text": lambda: b"The quick brown fox jumps over the lazy dog.\n" * 1000,
    "html": lambda: b"<!doctype html><html><body>404</body></html>",
    "json": lambda: b'{"error": "not found"}',
    "zip": lambda: b"PK\x03\x04" + _random(10_000),
    "gzip of a wav": lambda: zlib.compress(wav(tone(440, 1)), wbits=31),
    "base64 of a wav": lambda: base64.b64encode(wav(tone(440, 1))),
    "png": _png,
    "jpeg": lambda: _by_av("image2pipe", "mjpeg"),
    "gif": lambda: _by_av("gif", "gif"),
    "mp4 without sound": lambda: _by_av("mp4", "mpeg4"),
    "matroska without sound": lambda: _by_av("matroska", "mpeg4"),
    "avi without sound": lambda: _by_av("avi", "mpeg4"),
    "header of a wav": lambda: wav(tone(440, 1))[:20],
    "header of a flac": lambda: encode("flac", 24_000, tone(440, 1, 24_000))[:20],
    "header of an ogg": lambda: encode("opus", 24_000, tone(440, 1, 24_000))[:40],
    "mp4 cut before its index": lambda: _m4a()[:5000],
    "wav of an unknown codec": _unknown_codec,
    "wav of 1 Hz": lambda: wav(np.zeros(4096, np.float32), rate=1),
    "wav with a random header": lambda: b"RIFF\xff\xff\xff\xffWAVEfmt " + _random(5000),
    "ogg with a random body": lambda: b"OggS" + _random(5000),
    "flac with a random body": lambda: b"fLaC" + _random(5000),
    "mp4 with a random body": lambda: b"\0\0\0\x20ftypisom" + _random(5000),
    "matroska with a random body": lambda: b"\x1aE\xdf\xa3" + _random(5000),
}


def _m4a() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000)
        pcm = np.frombuffer(to_pcm16(tone(440, 1, 48_000)), "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(pcm, "s16", "mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_is_no_audio_is_a_400(what: str) -> None:
    with pytest.raises(UnsupportedAudio) as refused:
        decode(UNREADABLE[what]())
    assert (refused.value.status, refused.value.param) == (400, "file")
    assert refused.value.code == "unsupported_audio"


def test_an_empty_file_is_a_400() -> None:
    for content_type in ("", "audio/wav", "audio/pcm"):
        with pytest.raises(InvalidRequest, match="empty") as refused:
            decode(b"", content_type=content_type)
        assert (refused.value.status, refused.value.code) == (400, "empty_file")


@pytest.mark.parametrize("seconds", [0.001, 0.05, 0.099])
@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_recording_that_is_too_short_is_a_400(name: str, seconds: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(encode(name, 16_000, tone(440, seconds)))
    assert (refused.value.status, refused.value.code) == (400, "audio_too_short")


def test_a_recording_of_no_samples_is_a_400() -> None:
    for data in (wav(silence(0)), by_libsndfile(silence(0), 16_000, "AU"), by_libsndfile(silence(0), 16_000, "AIFF")):
        with pytest.raises(InvalidRequest) as refused:
            decode(data)
        assert refused.value.code in ("audio_too_short", "unsupported_audio")


def test_a_recording_of_a_tenth_of_a_second_is_long_enough() -> None:
    assert len(decode(wav(tone(440, 0.1)))) == 1600


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "aac", "opus"])
def test_of_a_file_that_was_cut_off_all_that_came_is_heard(name: str) -> None:
    data = encode(name, 24_000, tone(440, 4, 24_000))
    heard = len(decode(data[: len(data) // 2])) / 16_000
    assert 1.5 < heard < 2.5


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "aac", "opus"])
def test_a_few_broken_bytes_do_not_lose_the_rest(name: str) -> None:
    data = bytearray(encode(name, 24_000, tone(440, 4, 24_000)))
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    assert len(decode(bytes(data))) / 16_000 == pytest.approx(4.0, abs=0.4)


@pytest.mark.parametrize("name", FORMATS)
def test_whatever_is_broken_the_answer_is_audio_or_an_error_of_ours(name: str) -> None:
    whole = encode(name, 24_000, tone(440, 1, 24_000))
    for seed in range(60):
        rng = np.random.default_rng(seed)
        data = bytearray(whole[: int(rng.integers(1, len(whole)))] if seed % 2 else whole)
        reach = min(len(data), 300) if seed % 3 else len(data)
        for place in rng.integers(0, reach, int(rng.integers(1, 30))):
            data[place] = int(rng.integers(256))
        try:
            samples = decode(bytes(data), AudioLimits(seconds=60))
        except SpeachesError as error:
            assert error.status in (400, 413)
        else:
            assert np.isfinite(samples).all()
            assert len(samples) <= 60 * 16_000


# --- Playlists ---


class Trap:
    """A local server and a local recording that nothing may touch."""

    def __init__(self, folder: Path) -> None:
        self.recording = folder / "secret.wav"
        self.recording.write_bytes(wav(tone(440, 2)))
        os.utime(self.recording, (1, 1))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._listener.setblocking(False)

    @property
    def was_called(self) -> bool:
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    @property
    def was_read(self) -> bool:
        return self.recording.stat().st_atime > 1

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    trap = Trap(tmp_path)
    yield trap
    trap.close()


PLAYLISTS = {
    "hls to http": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n",
    "hls to a file": "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{file}\n#EXT-X-ENDLIST\n",
    "hls with a key": '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="http://{address}/k"\n#EXTINF:2,\n{file}\n',
    "hls of hls": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://{address}/b.m3u8\n",
    "concat script": "ffconcat version 1.0\nfile '{file}'\nfile 'http://{address}/x.wav'\n",
    "concat script after a blank line": "\nffconcat version 1.0\nfile '{file}'\n",
    "concat protocol": "concat:{file}|{file}",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>'
    '<AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://{address}/d.mp4</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "m3u": "#EXTM3U\n{file}\n",
    "pls": "[playlist]\nFile1=http://{address}/x.mp3\nNumberOfEntries=1\n",
    "asx": '<asx version="3.0"><entry><ref href="http://{address}/a"/></entry></asx>',
    "smooth streaming": '<SmoothStreamingMedia MajorVersion="2" Duration="1"><StreamIndex Url="http://{address}/x"/></SmoothStreamingMedia>',
    "imf": '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM"><Path>{file}</Path></AssetMap>',
    "the name of a file": "{file}",
    "the url of a file": "file:{file}",
    "a url": "http://{address}/x.wav",
    "filter graph": "amovie={file}",
    "shell script": "#!/bin/sh\ncat {file}\n",
}


@pytest.mark.parametrize("extension", ["", ".wav", ".mp3", ".m3u8", ".ffconcat", ".ts"])
@pytest.mark.parametrize("what", PLAYLISTS)
def test_a_playlist_opens_nothing_whatever_it_is_called(what: str, extension: str, trap: Trap, tmp_path: Path) -> None:
    text = PLAYLISTS[what].format(address=trap.address, file=trap.recording)
    path = tmp_path / f"upload{extension}"
    path.write_text(text)
    with path.open("rb") as file, pytest.raises(UnsupportedAudio):
        decode(file)
    with pytest.raises(UnsupportedAudio):
        decode(text.encode(), content_type="audio/mpeg")
    assert not trap.was_called
    assert not trap.was_read


def test_a_playlist_hidden_behind_an_audio_header_opens_nothing(trap: Trap) -> None:
    playlist = PLAYLISTS["hls to http"].format(address=trap.address, file=trap.recording).encode()
    script = PLAYLISTS["concat script"].format(address=trap.address, file=trap.recording).encode()
    for hidden in (playlist, script):
        for head in (
            b"ID3\x04\0\0\0\0\0\0",
            b"RIFF\0\0\0\0WAVE",
            b"OggS\0",
            b"\xff\xfb\x90\x64",
            b"\0\0\0\x18ftypmp42",
        ):
            with pytest.raises(SpeachesError):
                decode(head + hidden)
    assert not trap.was_called
    assert not trap.was_read


def test_an_mp4_that_refers_to_another_file_does_not_open_it(trap: Trap) -> None:
    """A `dref` alias is QuickTime's way to keep the sound in another file."""
    data = _m4a()
    url = f"file://{trap.recording}".encode()
    alias = struct.pack(">I4sI", 12 + len(url) + 1, b"url ", 0) + url + b"\0"  # flags of 0: not in this file
    place = data.index(b"dref") - 4
    size = struct.unpack(">I", data[place : place + 4])[0]
    changed = bytearray(
        data[:place] + struct.pack(">I4sII", 16 + len(alias), b"dref", 0, 1) + alias + data[place + size :]
    )
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        start = changed.index(box) - 4
        length = struct.unpack(">I", changed[start : start + 4])[0]
        changed[start : start + 4] = struct.pack(">I", length + 16 + len(alias) - size)
    with contextlib.suppress(SpeachesError):  # the reference is left aside, and what is in the file itself is heard
        decode(bytes(changed))
    assert not trap.was_read
    assert not trap.was_called


# --- Bombs ---


def peak_of(call: Callable[[], object]) -> int:
    """Bytes by which the peak memory of this process grew."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_a_small_file_of_many_hours_is_refused_at_the_limit_and_in_bounded_memory(tmp_path: Path) -> None:
    hours = tmp_path / "hours.flac"
    run_ffmpeg(
        ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=7200", "-c:a", "flac", "-frame_size", "65535", str(hours)]
    )
    assert hours.stat().st_size < 30_000

    def refused() -> None:
        with hours.open("rb") as file, pytest.raises(TooLarge):
            for _ in AudioFile(file, AudioLimits(seconds=600)).blocks():
                pass

    assert peak_of(refused) < 100_000_000


def test_a_frame_of_hours_is_refused_before_it_becomes_gigabytes() -> None:
    # One frame of 65535 samples at 4 Hz: 300 bytes that become 4.5 hours, a gigabyte of samples.
    data = by_libsndfile(np.zeros(65535, np.float32), 4, "FLAC")
    assert len(data) < 1000

    def refused() -> None:
        with pytest.raises(UnsupportedAudio, match="4 Hz"):
            decode(data)

    assert peak_of(refused) < 100_000_000


def test_a_long_recording_is_read_in_bounded_memory() -> None:
    file = io.BytesIO(encode("flac", 16_000, silence(1200)))

    def read() -> None:
        with AudioFile(file, AudioLimits()) as audio:
            assert sum(len(block) for block in audio.blocks()) == 1200 * 16_000  # 77 MB of samples

    assert peak_of(read) < 40_000_000


# --- Nothing stays behind ---


def test_no_descriptor_or_thread_stays_behind() -> None:
    process = psutil.Process()
    good = encode("mp3", 24_000, tone(440, 1, 24_000))
    bad = [make() for make in UNREADABLE.values()]
    decode(good)
    descriptors, threads = process.num_fds(), threading.active_count()
    for data in bad * 3:
        with pytest.raises(SpeachesError):
            decode(data)
        assert len(decode(good)) == 16_000
        with AudioFile(io.BytesIO(good), AudioLimits()) as audio:
            next(audio.blocks())  # and no more
    assert process.num_fds() <= descriptors
    assert threading.active_count() <= threads

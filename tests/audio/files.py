"""Audio files by independent writers (libsndfile, ffmpeg's own program), and reading them with ours."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import imageio_ffmpeg
import numpy as np
import soundfile

from speaches.audio.decode import AudioFile, AudioLimits
from tests.conftest import LONGEST_TEST
from tests.recordings import wav

if TYPE_CHECKING:
    from speaches.engines.base import Samples


def decode(data: bytes | BinaryIO, limits: AudioLimits | None = None, content_type: str = "") -> Samples:
    """All samples of a file, by the code under test."""
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    with AudioFile(file, limits or AudioLimits(), content_type) as audio:
        return np.concatenate(list(audio.blocks()))


def by_libsndfile(samples: Samples, rate: int, kind: str, subtype: str | None = None) -> bytes:
    """A file of libsndfile's; `samples` of shape (n,) or (n, channels)."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(folder: Path, samples: Samples, rate: int, name: str, options: Iterable[str] = ()) -> bytes:
    """A file of the ffmpeg program's, of the format that its name's ending tells."""
    run_ffmpeg(["-i", "pipe:0", *options, str(folder / name)], wav(samples, rate))
    return (folder / name).read_bytes()


def run_ffmpeg(arguments: Iterable[str], data: bytes = b"") -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments]
    subprocess.run(command, input=data, check=True, timeout=LONGEST_TEST)


LAWS = {"g711_ulaw": "ULAW", "g711_alaw": "ALAW"}


def by_law(name: str, data: bytes) -> Samples:
    """Raw G.711, as libsndfile reads it: float32, 8 kHz."""
    samples, _ = soundfile.read(
        io.BytesIO(data), samplerate=8_000, channels=1, format="RAW", subtype=LAWS[name], dtype="float32"
    )
    return np.asarray(samples, np.float32)

"""Content types as far as the worker needs them: how a file is called, and in which form an answer fits into a job's output."""

from __future__ import annotations

import struct

UNKNOWN_SIZE = 0xFFFF_FFFF  # what a WAV header says while its end is still to come

EXTENSIONS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/aac": "aac",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/webm": "webm",
    "audio/pcm": "pcm",
    "audio/l16": "pcm",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/json": "json",
    "text/plain": "txt",
    "text/vtt": "vtt",
    "text/html": "html",
    "application/x-subrip": "srt",
    "text/srt": "srt",
    "application/zip": "zip",
    "application/x-tar": "tar",
}


def bare(content_type: str) -> str:
    """`audio/wav; rate=24000` without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def extension(content_type: str) -> str:
    """The usual file extension, without the dot; `bin` for what is unknown."""
    return EXTENSIONS.get(bare(content_type), "bin")


def is_json(content_type: str) -> bool:
    kind = bare(content_type)
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_text(content_type: str) -> bool:
    kind = bare(content_type)
    return kind.startswith("text/") or kind == "application/x-subrip"


def charset(content_type: str) -> str:
    """The charset that the content type names, else UTF-8."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip():
            return value.strip().strip('"')
    return "utf-8"


def with_sizes(wav: bytes) -> bytes:
    """A WAV file that was written as a stream, with the sizes that its header left open; any other bytes as they are.

    Without them players show a length of a day, and Python's own reader finds 89,478 seconds.
    """
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE" or wav[4:8] != struct.pack("<I", UNKNOWN_SIZE):
        return wav
    at = 12
    while at + 8 <= len(wav):
        name, size = struct.unpack_from("<4sI", wav, at)
        if name == b"data":
            whole, samples = struct.pack("<I", len(wav) - 8), struct.pack("<I", len(wav) - at - 8)
            return b"".join([wav[:4], whole, wav[8 : at + 4], samples, wav[at + 8 :]])
        at += 8 + size + size % 2
    return wav

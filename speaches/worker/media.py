"""Content types as far as the worker needs them: how a file is called, and in which form an answer fits into a job's output."""

from __future__ import annotations

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
    "audio/pcmu": "ulaw",
    "audio/pcma": "alaw",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "application/json": "json",
    "text/plain": "txt",
    "text/vtt": "vtt",
    "text/html": "html",
    "application/x-subrip": "srt",
    "text/srt": "srt",
    "text/x-lrc": "lrc",
    "text/tab-separated-values": "tsv",
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

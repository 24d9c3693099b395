"""What each format of speech is: its codec, the rates that it takes, and what hides the delay of its decoders. Rules only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from speaches.errors import InvalidRequest

SPEECH_RATE = 24_000  # Hz, what OpenAI's clients take `pcm` to be
FINE_RATE = 48_000  # Hz, at which a frame of mp3 or aac is short enough for lengths to be right
RATES = (8_000, 48_000)  # Hz, the slowest and fastest that may be asked for
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
G711_RATE = 8_000  # Hz, the only one of G.711
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
SURPLUS = 0.0298  # seconds by which a stream may be longer than its speech: it is promised to be less than 30 ms
FADE = 0.02  # seconds at the start of the speech that a decoder may fade in


@dataclass(frozen=True)
class AudioFormat:
    content_type: str
    muxer: str = ""
    codec: str = ""
    muxer_options: tuple[tuple[str, str], ...] = ()
    codec_options: tuple[tuple[str, str], ...] = ()
    bit_rate: int = 0
    """Bits a second; 0 leaves it to the codec."""
    rates: tuple[int, ...] = ()
    """Hz that the codec takes; empty for any."""
    rate: int = SPEECH_RATE
    """Hz where a request names none."""
    delay: int = 0
    """Samples by which a decoder is late, where a stream has no place to tell; 0 where it has."""
    settling: int = 0
    """Samples after which a decoder that begins with any frame is at half its power."""


FORMATS = {
    # No ID3 tag: it confuses the clock of iOS. No bit reservoir: each frame must stand alone where the first are left out, and mpg123
    # fails over LAME's at low rates. Quality 7 takes half the time of LAME's usual 5, and is nearer to the original at this bit rate.
    "mp3": AudioFormat(
        "audio/mpeg",
        "mp3",
        "libmp3lame",
        (("id3v2_version", "0"),),
        (("reservoir", "0"), ("compression_level", "7")),
        96_000,
        MP3_RATES,
        FINE_RATE,
        delay=576 + 529,  # of the encoder, and of any decoder
        settling=529,
    ),
    # A page each 20 ms; by default the first audio would come after a second.
    "opus": AudioFormat("audio/ogg", "ogg", "libopus", (("page_duration", "20000"),), rates=OPUS_RATES),
    # The fast coder takes a quarter of the time of FFmpeg's usual one, and is nearer to the original at this bit rate.
    "aac": AudioFormat(
        "audio/aac",
        "adts",
        "aac",
        (),
        (("aac_coder", "fast"),),
        96_000,
        AAC_RATES,
        FINE_RATE,
        delay=1024,
        settling=512,
    ),
    # Without 8 KB of padding for tags to come.
    "flac": AudioFormat("audio/flac", "flac", "flac", (("metadata_header_padding", "0"),)),
    "wav": AudioFormat("audio/wav"),
    "pcm": AudioFormat("audio/pcm"),
    # What telephones take, without a header: https://www.rfc-editor.org/rfc/rfc3551#section-4.5.14
    "g711_ulaw": AudioFormat("audio/PCMU", "mulaw", "pcm_mulaw", rates=(G711_RATE,), rate=G711_RATE),
    "g711_alaw": AudioFormat("audio/PCMA", "alaw", "pcm_alaw", rates=(G711_RATE,), rate=G711_RATE),
}


def check_rate(name: str, rate: int) -> None:
    """Raise InvalidRequest where a format can't have a sample rate."""
    allowed = FORMATS[name].rates
    if not RATES[0] <= rate <= RATES[1]:
        raise InvalidRequest(
            f"sample_rate must be from {RATES[0]} to {RATES[1]} Hz, got {rate}.",
            param="sample_rate",
            code="invalid_value",
        )
    if allowed and rate not in allowed:
        raise InvalidRequest(
            f"{name} can't have a sample_rate of {rate} Hz; it takes {', '.join(map(str, allowed))}.",
            param="sample_rate",
            code="invalid_value",
        )


def lead(name: str, rate: int, *, streamed: bool) -> float:
    """Seconds of silence that a decoder gives before the speech, for want of a place to tell of the codec's delay."""
    kind = FORMATS[name]
    if not kind.delay or (name == "mp3" and not streamed):
        return 0.0
    left_out, zeros = alignment(kind, rate)
    return (zeros + kind.delay - left_out * frame_size(kind, rate)) / rate


def alignment(kind: AudioFormat, rate: int) -> tuple[int, int]:
    """How a stream that can't tell its decoder's delay hides it.

    The first frames are left out. As the first that is sent then lacks the one that it overlaps with, a decoder fades it in; so a
    little silence goes before the speech: as much as `SURPLUS` leaves beside the last frame's padding. Where a frame alone is longer
    than that, enough to fade in no more than about `FADE` of the speech; then an answer may be longer than its speech by

        Hz    8000   11025   12000   16000   22050   24000   32000
        mp3    118      80      72      49                      36   ms
        aac    172     119     108      76      50      44      32   ms

    Returns:
        The number of frames to leave out, and of zeros to put before the samples.
    """
    size = frame_size(kind, rate)
    silence = int(SURPLUS * rate) - size
    if silence < 0:
        silence = max(0, kind.settling - int(FADE * rate))
    left_out = math.ceil((kind.delay - silence) / size)
    if kind.muxer == "mp3" and rate % 11_025 == 0:
        # Here frames differ by a byte. libsndfile guesses a file's length by the first and reads no further: LAME's first is a short one,
        # the next a long one, the next a short one.
        left_out += left_out % 2
    return left_out, left_out * size - kind.delay + silence


def frame_size(kind: AudioFormat, rate: int) -> int:
    """Samples in a frame of mp3 or aac."""
    if kind.codec == "aac":
        return 1024
    return 576 if rate < 32_000 else 1152

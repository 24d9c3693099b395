"""Which of a file's audio tracks is decoded."""

from __future__ import annotations

from typing import Any

from speaches.errors import InvalidRequest, UnsupportedAudio


def choose_tracks(container: Any, number: int | None) -> list[Any]:
    """The audio tracks to decode, the next one only if those before it turn out to be empty.

    Args:
        number: From 0, of the audio tracks; None for the one that players play: the file's default, else the first, in either case rather
            than a description for the blind or a commentary. The others follow it.

    Raises:
        InvalidRequest: If there is no track of this number.
        UnsupportedAudio: If there is no audio in the file, or none that can be decoded.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        raise UnsupportedAudio("The file has no audio in it.", param="file")
    if number is None:
        tracks.sort(key=_is_secondary)  # stable: else in the file's order
    else:
        if not 0 <= number < len(tracks):
            last = len(tracks) - 1
            there = (
                f"{len(tracks)} audio tracks; it must be from 0 to {last}" if last else "1 audio track; it must be 0"
            )
            raise InvalidRequest(
                f"audio_track is {number}, but the file has {there}.",
                param="audio_track",
                code="invalid_value",
            )
        tracks = [tracks[number]]
    decodable = [track for track in tracks if track.codec_context is not None]
    if not decodable:
        raise UnsupportedAudio("The audio is in a codec that this server can't decode.", param="file")
    return decodable


def _is_secondary(track: Any) -> tuple[bool, bool]:
    from av.stream import Disposition

    aside = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
    return not track.disposition & Disposition.default, bool(track.disposition & aside)

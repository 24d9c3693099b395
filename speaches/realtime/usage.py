"""How many tokens a response takes. Rules only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speaches.realtime.spoken import WIRE_RATE

HEARD, SPOKEN = 10, 20  # tokens in a second of the user's speech, and of the assistant's, as OpenAI counts


@dataclass
class Usage:
    """Text is counted by the LLM where it does that, and estimated otherwise; audio is counted by its length."""

    text_in: int = 0
    cached: int = 0
    seconds_in: float = 0.0
    text_out: int = 0
    samples_out: int = 0
    """At 24 kHz."""

    def count(self, told: Mapping[str, Any] | None) -> None:
        """The LLM's own count, if it made one. Never trusted to be numbers."""
        details = (told or {}).get("prompt_tokens_details")
        self.text_in = _count(told, "prompt_tokens") or self.text_in
        self.text_out = _count(told, "completion_tokens")
        self.cached = min(_count(details, "cached_tokens"), self.text_in)

    def for_client(self) -> dict[str, Any]:
        audio_in, audio_out = round(self.seconds_in * HEARD), round(self.samples_out * SPOKEN / WIRE_RATE)
        cached = {"text_tokens": self.cached, "audio_tokens": 0, "image_tokens": 0}
        return {
            "total_tokens": self.text_in + audio_in + self.text_out + audio_out,
            "input_tokens": self.text_in + audio_in,
            "output_tokens": self.text_out + audio_out,
            "input_token_details": {
                "text_tokens": self.text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": self.cached,
                "cached_tokens_details": cached,
            },
            "output_token_details": {"text_tokens": self.text_out, "audio_tokens": audio_out},
        }


def _count(counts: object, name: str) -> int:
    count = counts.get(name) if isinstance(counts, Mapping) else None
    return count if isinstance(count, int) and count > 0 else 0

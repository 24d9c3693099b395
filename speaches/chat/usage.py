"""What a conversation used, with its audio counted about as OpenAI counts it. Rules only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HEARD = 10  # tokens a second of audio that was sent
SPOKEN = 20  # tokens a second of audio that was made


def with_audio(usage: Mapping[str, Any], *, heard: float, spoken: float) -> dict[str, Any]:
    """The LLM's usage, which is of text, and the tokens of so many seconds of audio. What the LLM has not counted stays uncounted."""
    counted = dict(usage)
    for side, tokens in (("prompt", round(heard * HEARD)), ("completion", round(spoken * SPOKEN))):
        text, details = usage.get(f"{side}_tokens"), usage.get(f"{side}_tokens_details")
        if not isinstance(text, int):
            continue
        more = details if isinstance(details, dict) else {}
        counted[f"{side}_tokens"] = text + tokens
        counted[f"{side}_tokens_details"] = {**more, "text_tokens": text, "audio_tokens": tokens}
        if isinstance(counted.get("total_tokens"), int):
            counted["total_tokens"] += tokens
    return counted

"""Audio is counted beside the LLM's tokens."""

from speaches.chat.usage import with_audio


def test_audio_is_added_to_the_text_and_told_apart() -> None:
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 7,
        "total_tokens": 37,
        "prompt_tokens_details": {"cached_tokens": 5},
    }
    assert with_audio(usage, heard=2.0, spoken=1.5) == {
        "prompt_tokens": 50,
        "completion_tokens": 37,
        "total_tokens": 87,
        "prompt_tokens_details": {"cached_tokens": 5, "text_tokens": 30, "audio_tokens": 20},
        "completion_tokens_details": {"text_tokens": 7, "audio_tokens": 30},
    }
    assert usage["total_tokens"] == 37


def test_what_the_llm_does_not_count_stays_uncounted() -> None:
    assert with_audio({"total_tokens": 9, "prompt_tokens": None}, heard=1.0, spoken=1.0) == {
        "total_tokens": 9,
        "prompt_tokens": None,
    }

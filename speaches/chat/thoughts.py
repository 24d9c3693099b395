"""Thoughts that an LLM writes down before its answer, told apart from it: nobody wants to hear them. Rules only.

Servers with a parser for their model send them as `reasoning_content`; others leave them in the text, as in `<think>Hm.</think>Yes.`
"""

from __future__ import annotations

import re

TAGS = ("<think>", "<thinking>")
LONGEST_BEGIN = 64  # characters that wait for a tag to become whole; blanks may stand before it
_BEGIN = re.compile(r"\s*<(think|thinking)>")


class Thoughts:
    """Takes a text as it is written. Only what stands before the answer is a thought: later, a tag is a word like others."""

    def __init__(self) -> None:
        self._held = ""
        """What may yet become a tag."""
        self._end: str | None = None
        """The tag that ends the thoughts, once they have begun."""
        self._ended = False
        """Whether there were thoughts, which have ended."""
        self._answers = False
        """Whether the answer has begun."""

    def push(self, text: str) -> tuple[str, str]:
        """More of the text -> what is certain with it: of the answer, and of the thoughts."""
        if self._answers:
            return text, ""
        if self._ended:
            return self._after(text), ""
        text, self._held = self._held + text, ""
        if self._end is not None:
            return self._within(text, self._end)
        if begin := _BEGIN.match(text):
            self._end = f"</{begin[1]}>"
            return self._within(text[begin.end() :], self._end)
        if len(text) < LONGEST_BEGIN and any(tag.startswith(text.lstrip()) for tag in TAGS):
            self._held = text
            return "", ""
        self._answers = True
        return text, ""

    def finish(self) -> tuple[str, str]:
        """There is no more; what was held back, as `push` returns it."""
        held, self._held = self._held, ""
        return ("", held) if self._end is not None else (held, "")

    def _within(self, text: str, end: str) -> tuple[str, str]:
        thoughts, found, answer = text.partition(end)
        if not found:
            cut = text.rfind("<", max(0, len(text) - len(end) + 1))
            cut = cut if cut >= 0 and end.startswith(text[cut:]) else len(text)
            self._held = text[cut:]
            return "", text[:cut]
        self._end, self._ended = None, True
        return self._after(answer), thoughts

    def _after(self, text: str) -> str:
        """The blank lines between the two belong to neither."""
        text = text.lstrip()
        self._answers = bool(text)
        return text


def without_thoughts(text: str) -> tuple[str, str]:
    """The answer and the thoughts of a whole text."""
    thoughts = Thoughts()
    (answer, thought), (rest, more) = thoughts.push(text), thoughts.finish()
    return answer + rest, thought + more

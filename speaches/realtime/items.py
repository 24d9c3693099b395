"""What a conversation consists of: messages, function calls and their results. Rules only."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator

from speaches.errors import InvalidRequest, SpeachesError
from speaches.realtime.config import MOST_BYTES
from speaches.realtime.reading import Id, Part, read
from speaches.realtime.spoken import Spoken

if TYPE_CHECKING:
    from speaches.engines.base import Samples

Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]

ALLOWED = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text", "output_audio"),
}
"""What a message of each role may contain."""
OLD_TYPES = {"text": "{}put_text", "audio": "{}put_audio"}
"""As before 2025, in messages of anybody."""
LONGEST_URL = (
    2048  # characters of an image's URL that events repeat; a picture within a URL would be too large for them
)


@dataclass(eq=False)
class Content:
    """A part of a message."""

    type: str
    text: str = ""
    """Of text; of speech, the transcript."""
    awaited: bool = False
    """Whether speech has no transcript yet."""
    seconds: float = 0.0
    """How long the user's speech is."""
    spoken: Spoken | None = None
    """How the assistant's speech goes with its text."""
    image: Mapping[str, str] = field(default_factory=dict)
    """`url`, and `detail` if it was given."""

    def for_client(self) -> dict[str, Any]:
        if self.type == "input_audio":
            # @openai/agents-realtime throws where the key is missing.
            return {"type": self.type, "transcript": None if self.awaited else self.text}
        if self.type == "output_audio":
            return {"type": self.type, "transcript": self.text}
        if self.type == "input_image":
            url, detail = self.image["url"], self.image.get("detail")
            return (
                {"type": self.type}
                | ({"image_url": url} if len(url) <= LONGEST_URL else {})
                | ({"detail": detail} if detail else {})
            )
        return {"type": self.type, "text": self.text}


@dataclass(eq=False)
class Item:
    """One entry of a conversation. `type` says which of the fields count."""

    id: str
    type: Literal["message", "function_call", "function_call_output"]
    status: Status = "completed"
    role: str = ""
    content: list[Content] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    output: str = ""
    failure: SpeachesError | None = None
    """Why its speech could not be transcribed."""
    silence: int | None = None
    """Milliseconds for which the user has said nothing, where that is what the item stands for."""

    @property
    def awaited(self) -> bool:
        """Whether the transcript of its speech is still to come."""
        return any(part.awaited for part in self.content)

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.content if part.text)

    @property
    def size(self) -> int:
        """Bytes, about, that it takes in memory and in a request to the LLM."""
        images = sum(len(part.image.get("url", "")) for part in self.content)
        return 200 + len(self.arguments) + len(self.output) + sum(len(part.text) for part in self.content) + images

    def for_client(self) -> dict[str, Any]:
        item: dict[str, Any] = {"id": self.id, "object": "realtime.item", "type": self.type, "status": self.status}
        if self.type == "message":
            return item | {"role": self.role, "content": [part.for_client() for part in self.content]}
        if self.type == "function_call":
            return item | {"name": self.name, "call_id": self.call_id, "arguments": self.arguments}
        return item | {"call_id": self.call_id, "output": self.output}


class GivenContent(Part):
    type: Literal["input_text", "input_audio", "input_image", "output_text", "output_audio", "text", "audio"]
    text: str | None = None
    transcript: str | None = None
    audio: str | None = None
    image_url: str | None = None
    detail: Literal["auto", "low", "high"] | None = None


def _listed(value: Any) -> Any:
    # As in Chat Completions.
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


class GivenItem(Part):
    """An item as a client writes it."""

    type: Literal["message", "function_call", "function_call_output"] = "message"
    id: Id | None = None
    status: Status | None = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Annotated[list[GivenContent], BeforeValidator(_listed)] | None = None
    name: str | None = None
    call_id: Id | None = None
    arguments: str | None = None
    output: str | None = None


def read_item(
    values: object, at: str, new_id: Callable[[str], str], audio: Mapping[str, Samples]
) -> tuple[Item, dict[int, Samples]]:
    """An item, and the speech in it that is to be transcribed by the place of its content.

    Args:
        at: Where in the event it stands.
        audio: The event's audio, decoded, by its path.

    Raises:
        InvalidRequest: With the path of what is wrong.
    """
    given = read(GivenItem, values, at)
    item = Item(given.id or new_id("item"), given.type)
    speech: dict[int, Samples] = {}
    if given.type == "message":
        item.role = "system" if given.role == "developer" else _needed(given.role, f"{at}.role")
        item.status = given.status if given.status == "incomplete" else "completed"
        for place, content in enumerate(_needed(given.content, f"{at}.content")):
            path = f"{at}.content[{place}]"
            samples = audio.get(f"{path}.audio")
            item.content.append(_read_content(content, item.role, path, samples))
            if item.content[-1].awaited and samples is not None:
                speech[place] = samples
    elif given.type == "function_call":
        item.name = _needed(given.name, f"{at}.name")
        item.call_id, item.arguments = given.call_id or new_id("call"), given.arguments or ""
    else:
        item.call_id = _needed(given.call_id, f"{at}.call_id")
        item.output = _needed(given.output, f"{at}.output")
    _check_size(item, at)
    return item, speech


def _read_content(given: GivenContent, role: str, at: str, samples: Samples | None) -> Content:
    kind = OLD_TYPES.get(given.type, given.type).format("out" if role == "assistant" else "in")
    if kind not in ALLOWED[role]:
        raise InvalidRequest(
            f"Invalid value for '{at}.type': a message of role {role} may contain {' and '.join(ALLOWED[role])}, not {given.type}.",
            param=f"{at}.type",
            code="invalid_value",
        )
    if kind in ("input_text", "output_text"):
        return Content(kind, _needed(given.text, f"{at}.text"))
    if kind == "input_image":
        detail = {"detail": given.detail} if given.detail else {}
        return Content(kind, image={"url": _needed(given.image_url, f"{at}.image_url"), **detail})
    if kind == "output_audio":
        return Content(kind, _needed(given.transcript or given.text, f"{at}.transcript"))
    if given.transcript is None and samples is None:
        _needed(None, f"{at}.audio")
    seconds = len(samples) / 16_000 if samples is not None else 0.0
    return Content(kind, given.transcript or "", awaited=given.transcript is None and seconds > 0, seconds=seconds)


def _needed(value: Any, at: str) -> Any:
    if value is None:
        raise InvalidRequest(f"Missing required parameter: '{at}'.", param=at, code="missing_required_parameter")
    return value


def _check_size(item: Item, at: str) -> None:
    size = len(json.dumps(item.for_client(), ensure_ascii=False).encode())
    if size > MOST_BYTES:
        raise InvalidRequest(
            f"The item is too large: {size} bytes as JSON; at most {MOST_BYTES} are allowed.",
            param=at,
            code="item_too_large",
        )


def embedded_audio(event: object) -> dict[str, object]:
    """The audio within the items of a client event, by its path, for the driver to decode. Empty for most events."""
    found: dict[str, object] = {}
    if not isinstance(event, Mapping):
        return found
    if event.get("type") == "conversation.item.create":
        _find_audio(event.get("item"), "item", found)
    response = event.get("response")
    if (
        event.get("type") == "response.create"
        and isinstance(response, Mapping)
        and isinstance(response.get("input"), list)
    ):
        for number, item in enumerate(response["input"]):
            _find_audio(item, f"response.input[{number}]", found)
    return found


def _find_audio(item: object, at: str, found: dict[str, object]) -> None:
    content = item.get("content") if isinstance(item, Mapping) else None
    for place, part in enumerate(content if isinstance(content, list) else ()):
        wanted = isinstance(part, Mapping) and part.get("type") == "input_audio" and part.get("transcript") is None
        if wanted and part.get("audio") is not None:
            found[f"{at}.content[{place}].audio"] = part["audio"]

"""What client events hold besides a session and items. Rules only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from speaches.errors import InvalidRequest
from speaches.realtime.config import SessionConfig
from speaches.realtime.conversation import Conversation
from speaches.realtime.fields import Choice, Format, Modalities, Prompt, Reasoning, TokenLimit, Tools, Voice
from speaches.realtime.items import Item, read_item
from speaches.realtime.reading import Id, Part, Whole, read

if TYPE_CHECKING:
    from speaches.engines.base import Samples

MOST_INPUT = 1000  # items of a response's own input


class CreateItem(Part):
    item: Any
    previous_item_id: Id | None = None


class NamedItem(Part):
    """Of `retrieve` and `delete`."""

    item_id: Id


class TruncateItem(Part):
    item_id: Id
    content_index: Whole = Field(ge=0)
    audio_end_ms: Whole = Field(ge=0)


class UpdateSession(Part):
    session: Any


class CancelResponse(Part):
    response_id: str | None = None


class CreateResponse(Part):
    response: Any = None


class ResponseOutput(Part):
    format: Format | None = None
    voice: Voice | None = None


class ResponseAudio(Part):
    output: ResponseOutput = ResponseOutput()


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class Reference(Part):
    type: Literal["item_reference"]
    id: Id


class ResponseSettings(Part):
    """What a client wants for one response; null, or absent, is as the session has it."""

    conversation: Literal["auto", "none"] = "auto"
    input: Annotated[list[Any], Field(max_length=MOST_INPUT)] | None = None
    metadata: Metadata | None = None
    output_modalities: Modalities | None = None
    instructions: str | None = None
    tools: Tools | None = None
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: TokenLimit | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    prompt: Prompt | None = None
    reasoning: Reasoning | None = None
    audio: ResponseAudio = ResponseAudio()

    def over(self, config: SessionConfig) -> SessionConfig:
        """The settings of this response in a session."""
        names = set(type(self).model_fields) & set(SessionConfig.model_fields) - {"audio"}
        wanted = {name: value for name in names if (value := getattr(self, name)) is not None}
        output = {name: value for name, value in self.audio.output if value is not None}
        spoken = config.audio.model_copy(update={"output": config.audio.output.model_copy(update=output)})
        return config.model_copy(update={**wanted, "audio": spoken})


def read_input(
    given: Sequence[Any] | None,
    conversation: Conversation,
    new_id: Callable[[str], str],
    audio: Mapping[str, Samples],
) -> tuple[list[Item] | None, list[tuple[Item, dict[int, Samples]]]]:
    """The items of a response's own input, and the speech in them that is to be transcribed by the place of its content.

    Args:
        given: `response.input`; None where it is the conversation.
        audio: The event's audio, decoded, by its path.

    Raises:
        InvalidRequest: With the path of what is wrong.
    """
    if given is None:
        return None, []
    items, speech = [], []
    for number, one in enumerate(given):
        at = f"response.input[{number}]"
        if isinstance(one, Mapping) and one.get("type") == "item_reference":
            items.append(_referred(read(Reference, one, at).id, conversation, at))
        else:
            item, samples = read_item(one, at, new_id, audio)
            items.append(item)
            speech.append((item, samples))
    return items, speech


def _referred(item_id: str, conversation: Conversation, at: str) -> Item:
    item = conversation.get(item_id)
    if item is None:
        raise InvalidRequest(f"There is no item with id '{item_id}'.", param=f"{at}.id", code="invalid_value")
    return item

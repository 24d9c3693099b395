"""The items of a session in order, bounded, and what the client is told of them. Rules only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from speaches.errors import InvalidRequest
from speaches.realtime.items import Content, Item
from speaches.realtime.outbox import Outbox
from speaches.realtime.spoken import WIRE_RATE

MOST_ITEMS = 2000
MOST_BYTES = 32 * 1024 * 1024  # of all items; pictures are the most of it
ROOT = "root"  # what clients call the place before the first item


class Conversation:
    """Items by their place and by their id."""

    def __init__(self, outbox: Outbox) -> None:
        self.id = outbox.new_id("conv")
        self._outbox = outbox
        self._items: list[Item] = []
        self._by_id: dict[str, Item] = {}
        self._sizes: dict[str, int] = {}
        """Bytes of each item, about, when it was last weighed."""
        self._size = 0
        """Of all of them."""

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._by_id

    def get(self, item_id: str) -> Item | None:
        return self._by_id.get(item_id)

    def find(self, item_id: str, verb: Literal["retrieve", "delete", "truncate"]) -> Item:
        """An item that the client names. Raises InvalidRequest if it is not there."""
        if item_id not in self._by_id:
            raise _unknown(verb, item_id)
        return self._by_id[item_id]

    def place_after(self, previous_item_id: str | None) -> int:
        """Where an item goes: None is the end.

        Raises:
            InvalidRequest: If there is no such item.
        """
        if previous_item_id is None:
            return len(self._items)
        if previous_item_id == ROOT:
            return 0
        if previous_item_id not in self._by_id:
            raise _unknown("create", previous_item_id, "previous_item_id")
        return self._items.index(self._by_id[previous_item_id]) + 1

    def check_room(self, item: Item, reserved: str | None) -> None:
        """Whether a client may add an item; `reserved` is the id of one that is known but not there yet. Raises InvalidRequest."""
        if item.id in self._by_id or item.id == reserved:
            raise InvalidRequest(
                f"Error adding item: an item with the id '{item.id}' already exists.",
                param="item.id",
                code="item_create_duplicate_item_id",
            )
        if len(self._items) >= MOST_ITEMS or self._size + item.size > MOST_BYTES:
            raise InvalidRequest(
                f"The conversation is full: it may have {MOST_ITEMS} items and {MOST_BYTES // 2**20} MiB; delete some, or"
                " start a new session.",
                param="item",
                code="conversation_full",
            )

    def insert(self, item: Item, place: int) -> None:
        self._items.insert(place, item)
        self._by_id[item.id] = item
        self.weigh(item)

    def weigh(self, item: Item) -> None:
        """To be called when an item has grown."""
        if item.id in self._by_id:
            self._size += item.size - self._sizes.get(item.id, 0)
            self._sizes[item.id] = item.size

    def append(self, item: Item) -> None:
        """Add what was said. The oldest items go for it, if they must."""
        while self._items and (len(self._items) >= MOST_ITEMS or self._size > MOST_BYTES):
            self.remove(self._items[0])
        self.insert(item, len(self._items))

    def remove(self, item: Item) -> None:
        self._items.remove(item)
        del self._by_id[item.id]
        self._size -= self._sizes.pop(item.id)
        self._outbox.emit("conversation.item.deleted", item_id=item.id)

    def truncate(self, item: Item, content_index: int, audio_end_ms: int) -> None:
        """No more than this of the assistant's speech was played.

        Raises:
            InvalidRequest: If it is no speech of the assistant, or not so much of it was sent.
        """
        content = item.content[content_index] if content_index < len(item.content) else None
        if content is None or content.type != "output_audio":
            raise InvalidRequest(
                "Only speech of the assistant can be truncated.",
                param="item_id" if content else "content_index",
                code="invalid_value",
            )
        _cut(content, audio_end_ms)
        self.tell_truncated(item, content_index, audio_end_ms)

    @property
    def last_spoken(self) -> Item | None:
        """The item whose speech the client was sent last."""
        return next((item for item in reversed(self._items) if any(part.spoken for part in item.content)), None)

    # --- Telling the client ---

    def tell(self, verb: Literal["added", "done"], item: Item) -> None:
        self._outbox.emit(f"conversation.item.{verb}", previous_item_id=self.previous_id(item), item=item.for_client())

    def tell_truncated(self, item: Item, content_index: int, audio_end_ms: int) -> None:
        self._outbox.emit(
            "conversation.item.truncated", item_id=item.id, content_index=content_index, audio_end_ms=audio_end_ms
        )

    def previous_id(self, item: Item) -> str | None:
        """None for the first, and for one that is gone."""
        if item.id not in self._by_id:
            return None
        place = len(self._items) - 1 if self._items[-1] is item else self._items.index(item)
        return self._items[place - 1].id if place else None

    def has_call(self, call_id: str) -> bool:
        return any(item.type == "function_call" and item.call_id == call_id for item in self._items)


def _cut(content: Content, audio_end_ms: int) -> None:
    spoken = content.spoken  # None for speech that the client itself has added: there is no audio of it
    sent = spoken.milliseconds if spoken else 0
    if audio_end_ms > sent:
        raise InvalidRequest(
            f"Audio content of {sent}ms is already shorter than {audio_end_ms}ms.",
            param="audio_end_ms",
            code="invalid_value",
        )
    if spoken:
        spoken.cut(audio_end_ms * WIRE_RATE // 1000)
    content.text = spoken.heard if spoken else ""


def _unknown(verb: str, item_id: str, param: str = "item_id") -> InvalidRequest:
    """The answer to a client that names an item which is not there."""
    return InvalidRequest(
        f"Error {'adding' if verb == 'create' else verb[:-1] + 'ing'} item: the item with id '{item_id}' does not exist.",
        param=param,
        code=f"item_{verb}_invalid_{'previous_' if verb == 'create' else ''}item_id",
    )

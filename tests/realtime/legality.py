"""What every client may rely on in what a session sends; breaking it breaks one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter

LARGEST_EVENT = 256 * 1024  # bytes
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
OPTIONAL_NULLS = {"status", "call_id", "name", "arguments", "part", "content_index"}
"""Fields that a client's schema lets be absent, but not null."""


class Legality:
    """Reads all events of one connection, in order."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        """Items in the conversation: id -> `added` or `done`."""
        self.responses: dict[str, dict[str, Any]] = {}
        self.done: set[str] = set()
        self._ids: set[str] = set()
        self.speaking: str | None = None
        """The item of the speech that was started and not stopped."""
        self._transcripts: dict[str, str] = {}
        self._completed: set[str] = set()
        self._committed: list[str] = []
        """Items of turns, in order."""
        self._told_up_to = -1
        """The place among them of the last whose transcript was completed, or failed."""
        self._items_of: dict[str, tuple[str, str]] = {}
        """Output items: id -> (response, `added`, `part` or `done`)."""
        self._deltas: dict[tuple[str, str], str] = {}
        self._active: str | None = None

    def see(self, event: dict[str, Any]) -> None:
        text = json.dumps(event, ensure_ascii=False)
        assert len(text.encode()) < LARGEST_EVENT, f"{event['type']} is too large"
        SERVER_EVENT.validate_python(json.loads(text), strict=True)
        assert event["event_id"] not in self._ids, "event ids are unique"
        self._ids.add(event["event_id"])
        _check_nulls(event)
        name = event["type"].replace(".", "_")
        check = getattr(self, f"_{name}", None)
        if check is not None:
            check(event)
        elif event["type"].startswith("response."):
            self._content(event)

    # --- Session and errors ---

    def _session_created(self, event: Mapping[str, Any]) -> None:
        assert len(self._ids) == 1, "session.created is the first event, and the only one of its kind"
        self._session_updated(event)

    def _session_updated(self, event: Mapping[str, Any]) -> None:
        session = event["session"]
        assert session["type"] in ("realtime", "transcription")
        given = session["audio"]["input"]
        for audio in session["audio"].values():
            assert audio["format"] == {"type": "audio/pcm", "rate": 24000} or audio["format"]["type"] in (
                "audio/pcmu",
                "audio/pcma",
            )
        if given["turn_detection"] is not None:
            assert given["turn_detection"]["type"] in ("server_vad", "semantic_vad")
        if given["transcription"] is not None:
            assert None not in given["transcription"].values()
        assert given["noise_reduction"] != {}
        if session["type"] == "realtime":
            assert isinstance(session["audio"]["output"]["voice"], str)

    def _error(self, event: Mapping[str, Any]) -> None:
        error = event["error"]
        assert isinstance(error["type"], str) and isinstance(error["message"], str) and error["message"]

    # --- The conversation ---

    def _conversation_item_added(self, event: Mapping[str, Any]) -> None:
        item = event["item"]
        assert item["id"] not in self.items, "an item is added once"
        if event["previous_item_id"] is not None:
            assert event["previous_item_id"] in self.items
        for part in item.get("content", ()):
            if part["type"] == "input_audio":
                assert "transcript" in part, "@openai/agents-realtime dies without the key"
            assert part["type"] not in ("audio", "text"), "a content part's type, not an item's"
        self.items[item["id"]] = "added"

    def _conversation_item_done(self, event: Mapping[str, Any]) -> None:
        assert self.items[event["item"]["id"]] == "added", "an item is done once, after it was added"
        self.items[event["item"]["id"]] = "done"

    def _conversation_item_deleted(self, event: Mapping[str, Any]) -> None:
        del self.items[event["item_id"]]

    def _conversation_item_retrieved(self, event: Mapping[str, Any]) -> None:
        assert event["item"]["id"] in self.items

    def _conversation_item_truncated(self, event: Mapping[str, Any]) -> None:
        assert event["item_id"] in self.items

    # --- The user's speech ---

    def _input_audio_buffer_speech_started(self, event: Mapping[str, Any]) -> None:
        assert type(event["audio_start_ms"]) is int and event["audio_start_ms"] >= 0
        self.speaking = event["item_id"]

    def _input_audio_buffer_speech_stopped(self, event: Mapping[str, Any]) -> None:
        assert type(event["audio_end_ms"]) is int
        assert event["item_id"] == self.speaking, "stopped is told of the speech that was started"
        self.speaking = None

    def _input_audio_buffer_committed(self, event: Mapping[str, Any]) -> None:
        assert event["item_id"] not in self.items, "committed comes before the item"
        self._committed.append(event["item_id"])

    def _conversation_item_input_audio_transcription_delta(self, event: Mapping[str, Any]) -> None:
        assert event["item_id"] not in self._completed
        assert event["content_index"] == 0 and isinstance(event["delta"], str) and event["delta"]
        self._transcripts[event["item_id"]] = self._transcripts.get(event["item_id"], "") + event["delta"]

    def _conversation_item_input_audio_transcription_completed(self, event: Mapping[str, Any]) -> None:
        assert event["item_id"] not in self._completed, "a transcript is completed once"
        assert event["usage"]["type"] in ("duration", "tokens")
        self._complete(event["item_id"])

    def _conversation_item_input_audio_transcription_failed(self, event: Mapping[str, Any]) -> None:
        assert event["item_id"] not in self._completed
        self._complete(event["item_id"])

    def _complete(self, item_id: str) -> None:
        place = self._committed.index(item_id)
        assert place > self._told_up_to, "transcripts are completed in the order of their items"
        self._told_up_to = place
        self._completed.add(item_id)

    # --- Responses ---

    def _response_created(self, event: Mapping[str, Any]) -> None:
        response = event["response"]
        assert response["status"] == "in_progress" and response["output"] == []
        assert response["id"] not in self.responses
        if response["conversation_id"] is not None:
            assert self._active is None, "one response at a time in the conversation"
            self._active = response["id"]
        self.responses[response["id"]] = dict(response)

    def _response_done(self, event: Mapping[str, Any]) -> None:
        response = event["response"]
        created = self.responses[response["id"]]
        assert response["id"] not in self.done, "a response is done once"
        self.done.add(response["id"])
        if self._active == response["id"]:
            self._active = None
        assert response["metadata"] == created["metadata"]
        assert response["status"] in ("completed", "cancelled", "failed", "incomplete")
        if response["status_details"] is not None:
            assert response["status_details"]["type"] == response["status"]
        for item in response["output"]:
            assert self._items_of[item["id"]] == (response["id"], "done"), "what is open is closed before"
            if item["type"] == "message":
                assert item["content"], "a message has its part"
        self._check_usage(response["usage"])

    def _check_usage(self, usage: Mapping[str, Any]) -> None:
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        given, made = usage["input_token_details"], usage["output_token_details"]
        assert usage["input_tokens"] == given["text_tokens"] + given["audio_tokens"] + given["image_tokens"]
        assert usage["output_tokens"] == made["text_tokens"] + made["audio_tokens"]
        assert 0 <= given["cached_tokens"] <= usage["input_tokens"]

    def _response_output_item_added(self, event: Mapping[str, Any]) -> None:
        item = event["item"]
        assert self._is_open(event["response_id"])
        assert item["status"] == "in_progress" and not item.get("content") and not item.get("arguments")
        if item["type"] == "function_call":
            assert item["name"] is not None and 0 < len(item["call_id"]) <= 32
        self._items_of[item["id"]] = (event["response_id"], "added")

    def _response_output_item_done(self, event: Mapping[str, Any]) -> None:
        item = event["item"]
        response_id, state = self._items_of[item["id"]]
        assert response_id == event["response_id"] and state != "done"
        assert item["status"] in ("completed", "incomplete")
        if item["type"] == "function_call" and item["status"] == "completed":
            assert item["arguments"] == self._deltas.get((item["id"], "function_call_arguments"), "")
        if self.responses[response_id]["conversation_id"] is not None and item["id"] in self.items:
            assert self.items[item["id"]] == "done", "conversation.item.done comes before output_item.done"
        self._items_of[item["id"]] = (response_id, "done")

    def _response_content_part_added(self, event: Mapping[str, Any]) -> None:
        assert event["part"]["type"] in ("audio", "text")
        assert self._items_of[event["item_id"]] == (event["response_id"], "added")
        self._items_of[event["item_id"]] = (event["response_id"], "part")

    def _content(self, event: Mapping[str, Any]) -> None:
        """Deltas and their `done`s."""
        _, kind, what = event["type"].split(".")
        assert self._is_open(event["response_id"]), "nothing comes after response.done"
        owner, state = self._items_of[event["item_id"]]
        assert owner == event["response_id"]
        key = (event["item_id"], kind)
        if kind == "function_call_arguments":
            assert state == "added"
        else:
            assert state == "part", "deltas come within their content part"
        if what == "delta":
            assert isinstance(event["delta"], str) and event["delta"]
            self._deltas[key] = self._deltas.get(key, "") + event["delta"]
        elif kind == "function_call_arguments":
            assert event["name"] is not None and event["arguments"] == self._deltas.get(key, "")
        elif kind == "output_text":
            assert event["text"] == self._deltas[key]
        elif kind == "output_audio_transcript":
            assert self._deltas.get(key, "").startswith(event["transcript"]), (
                "what was heard is the start of what was told"
            )

    def _is_open(self, response_id: str) -> bool:
        return response_id in self.responses and response_id not in self.done


def _check_nulls(value: Any) -> None:
    if isinstance(value, Mapping):
        for key, part in value.items():
            assert part is not None or key not in OPTIONAL_NULLS, f"{key} is to be absent rather than null"
            _check_nulls(part)
    elif isinstance(value, list):
        for part in value:
            _check_nulls(part)

"""The two dialects of the Realtime API: today's (GA), which the session speaks, and the beta's, for clients from before September 2025.

A connection speaks one of them: clients take the other's events for errors. Rules only.
https://platform.openai.com/docs/guides/realtime#beta-to-ga-migration
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from speaches.realtime.fields import FORMATS

Kind = Literal["realtime", "transcription"]

EVENTS = {
    "conversation.item.added": "conversation.item.created",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
}
"""GA -> beta; other events have one name."""
UNKNOWN_TO_BETA = {"conversation.item.done", "input_audio_buffer.timeout_triggered"}
UNKNOWN_TO_GA = {
    "conversation.created"
}  # still in its schema, but Open WebUI takes nothing between session.created and .updated
CONTENT = {"output_text": "text", "output_audio": "audio"}
"""GA -> beta: the assistant's content."""
FIELDS = {
    "modalities": ("output_modalities",),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
    "output_audio_format": ("audio", "output", "format"),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "max_response_output_tokens": ("max_output_tokens",),
}
"""Beta -> GA: where a field of a session or a response is now; others have stayed."""
TEMPERATURE = 0.8  # what beta sessions said that they had


class Dialect(Protocol):
    """What a client speaks."""

    def from_client(self, event: object) -> object:
        """A client's event, in GA. Whatever is no event stays as it is, for the session to refuse."""
        ...

    def to_client(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """An event of the session as the client is to see it; empty where its dialect has none."""
        ...


class Ga:
    """Today's dialect, until the client sends an event as only the beta had it."""

    def __init__(self) -> None:
        self._beta: Beta | None = None
        self._kind: Kind = "realtime"
        """What the client was told that its session is."""

    def from_client(self, event: object) -> object:
        if self._beta is None and isinstance(event, Mapping):
            if event.get("type") == "transcription_session.update":
                self._beta = Beta("transcription")
            elif event.get("type") == "session.update" and _is_old(event.get("session")):
                self._beta = Beta(self._kind)
        return self._beta.from_client(event) if self._beta else event

    def to_client(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        if "session" in event:
            self._kind = event["session"]["type"]
        if self._beta is not None:
            return self._beta.to_client(event)
        return [] if event["type"] in UNKNOWN_TO_GA else [event]


class Beta:
    """The dialect of 2024."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def from_client(self, event: object) -> object:
        if not isinstance(event, Mapping):
            return event
        match event.get("type"):
            case "transcription_session.update":
                self._kind = "transcription"
                return {**event, "type": "session.update", "session": ga_session(event.get("session"), self._kind)}
            case "session.update":
                return {**event, "session": ga_session(event.get("session"), self._kind)}
            case "response.create" if isinstance(event.get("response"), Mapping):
                return {**event, "response": _nested(event["response"])}
        return event

    def to_client(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        name = event["type"]
        if name in UNKNOWN_TO_BETA:
            return []
        told = {**event, "type": EVENTS.get(name, name)}
        if "session" in event:
            told["session"] = beta_session(event["session"])
            if event["session"]["type"] == "transcription":
                told["type"] = f"transcription_{name}"
        if "response" in event:
            told["response"] = _beta_response(event["response"])
        if "item" in event:
            told["item"] = _beta_item(event["item"])
        if name == "error":
            told["error"] = _beta_error(event["error"])
        return [told]


def _is_old(session: object) -> bool:
    """Whether it has fields that have moved since, and none of today's: today every update has a `type`."""
    return (
        isinstance(session, Mapping)
        and not session.keys() & {"type", "audio", "output_modalities"}
        and bool(session.keys() & FIELDS.keys())
    )


def ga_session(session: object, kind: Kind) -> Any:
    """A beta session, or part of one, as GA has it. What is no object stays as it is."""
    return {"type": kind, **_nested(session)} if isinstance(session, Mapping) else session


def beta_session(session: Mapping[str, Any]) -> dict[str, Any]:
    """A session as `config.for_client` makes it, as the beta had it."""
    flat = {key: value for key, value in session.items() if key not in ("type", "audio", "output_modalities")}
    given = session["audio"]["input"]
    flat |= {
        "input_audio_format": _old_format(given["format"]),
        "input_audio_transcription": given["transcription"],
        "input_audio_noise_reduction": given["noise_reduction"],
        "turn_detection": given["turn_detection"],
    }
    if session["type"] == "transcription":
        return flat | {"client_secret": None}
    flat["max_response_output_tokens"] = flat.pop("max_output_tokens")
    spoken = session["audio"]["output"]
    return {"temperature": TEMPERATURE} | flat | _voiced(session) | {"speed": spoken["speed"]}


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the beta at their places in GA."""
    nested = {key: value for key, value in flat.items() if key not in FIELDS}
    for field, path in FIELDS.items():
        if field not in flat:
            continue
        place = nested
        for key in path[:-1]:
            inner = place.get(key)
            place[key] = place = dict(inner) if isinstance(inner, Mapping) else {}
        place[path[-1]] = flat[field]
    return nested


def _beta_response(response: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in response.items() if key not in ("audio", "output_modalities")}
    output = [_beta_item(item) for item in response["output"]]
    return flat | _voiced(response) | {"temperature": TEMPERATURE, "output": output}


def _voiced(of: Mapping[str, Any]) -> dict[str, Any]:
    """How a session, or a response, answers."""
    spoken = of["audio"]["output"]
    modalities = ["audio", "text"] if of["output_modalities"] == ["audio"] else ["text"]
    return {"modalities": modalities, "voice": spoken["voice"], "output_audio_format": _old_format(spoken["format"])}


def _beta_item(item: Mapping[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return dict(item)
    return {**item, "content": [{**part, "type": CONTENT.get(part["type"], part["type"])} for part in item["content"]]}


def _old_format(audio_format: Mapping[str, Any]) -> str:
    return next(old for old, new in FORMATS.items() if new == audio_format["type"])


def _beta_error(error: Mapping[str, Any]) -> dict[str, Any]:
    place = _beta_path(error["param"])
    return {**error, "param": place, "message": error["message"].replace(f"'{error['param']}'", f"'{place}'")}


def _beta_path(path: str | None) -> str | None:
    """Where an error is, for a client that knows the beta's fields."""
    for field, place in FIELDS.items():
        for whole in ("session", "response"):
            new = ".".join((whole, *place))
            if path == new or (path or "").startswith((f"{new}.", f"{new}[")):
                return f"{whole}.{field}{(path or '')[len(new) :]}"
    return path

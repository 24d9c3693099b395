"""What FastAPI can't read from a signature, for /docs and /openapi.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from speaches.api.validation import Parameters

FILE = {
    "type": "string",
    "format": "binary",
    "description": "The recording: flac, mp3, mp4, m4a, ogg, wav, webm and most others.",
}


class Body(dict[str, Any]):
    """What a route's documentation says of its body, by media type. Written when somebody wants to read it: all of them take 20 ms."""

    def __init__(self, schemas: Callable[[], dict[str, Any]]) -> None:
        super().__init__(requestBody=None)  # FastAPI passes over what is empty
        self._schemas = schemas

    def items(self) -> Any:
        """All that FastAPI asks for."""
        content = {media_type: {"schema": schema} for media_type, schema in self._schemas().items()}
        return {"requestBody": {"required": True, "content": content}}.items()


def upload_of(kind: type[Parameters]) -> Body:
    """The body of a route that takes audio, with these parameters, as a form or as JSON with base64."""
    return Body(lambda: _upload(kind))


def _upload(kind: type[Parameters]) -> dict[str, Any]:
    schema = _inlined(kind.model_json_schema())
    properties = schema.get("properties", {})
    form = {"type": "object", "required": ["file"], "properties": {"file": FILE, **properties}}
    in_json = {"type": "string", "description": "base64, or a data URL."}
    return {
        "multipart/form-data": form,
        "application/json": {**form, "properties": {"file": in_json, **properties}},
    }


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its definitions in place: `$defs` have no place within an OpenAPI document's routes."""
    definitions = schema.pop("$defs", {})

    def resolved(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return resolved(definitions[value["$ref"].rpartition("/")[2]])
            return {name: resolved(part) for name, part in value.items()}
        return [resolved(part) for part in value] if isinstance(value, list) else value

    inlined: dict[str, Any] = resolved(schema)
    return inlined

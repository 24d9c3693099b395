"""Requests that carry audio: multipart forms, and JSON with base64 (Open WebUI and others)."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from speaches.api.answers import note_ignored
from speaches.api.validation import Parameters, json_object, validated
from speaches.errors import InvalidRequest
from speaches.transcription.transcribe import Source

if TYPE_CHECKING:
    from starlette.requests import Request

    from speaches.concurrency import Threads

P = TypeVar("P", bound=Parameters)
MAX_FIELDS = 200
MAX_FILES = 8


@dataclass
class Upload(Generic[P]):
    """An uploaded recording with its parameters. Close it when the recording has been read."""

    source: Source
    parameters: P

    def close(self) -> None:
        self.source.file.close()


async def read_upload(request: Request, kind: type[P], threads: Threads) -> Upload[P]:
    """Read a request with audio.

    Raises:
        InvalidRequest: If there is no file in it, or a parameter is wrong.
        TooLarge: If it has more bytes than allowed.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return await _read_form(request, kind)
    if content_type == "application/json" or content_type.endswith("+json"):
        body = await request.body()
        source, values = await threads.run(_from_json, body)  # base64 of megabytes is not for the event loop
        parameters = validated(kind, values)
        note_ignored(request, parameters.ignored)
        return Upload(source, parameters)
    raise InvalidRequest(
        f"Send the audio as multipart/form-data with a field 'file', or as JSON with base64; got {content_type or 'no content type'!r}.",
        param="file",
        code="missing_required_parameter",
    )


async def read_form(request: Request) -> FormData:
    """Read a form. Close it when its files have been read."""
    try:
        return await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
    except HTTPException as error:
        raise InvalidRequest(f"The form can't be read: {error.detail}", code="invalid_form") from None
    except UnicodeError as error:  # a charset that is none
        raise InvalidRequest(f"The form can't be read: {error}.", code="invalid_form") from None


async def _read_form(request: Request, kind: type[P]) -> Upload[P]:
    form = await read_form(request)
    file = form.get("file")
    try:
        others = [(name, one) for name, one in form.multi_items() if isinstance(one, UploadFile) and one is not file]
        for _, other in others:
            await other.close()
        if not isinstance(file, UploadFile):
            raise InvalidRequest(
                "Missing required parameter: 'file'. Send the audio as a file field of the form.",
                param="file",
                code="missing_required_parameter",
            )
        parameters = validated(kind, form_values(form))
        note_ignored(request, (*parameters.ignored, *(name for name, _ in others)))
        return Upload(Source(file.file, file.content_type or ""), parameters)
    except BaseException:
        await form.close()
        raise


def form_values(form: FormData | Mapping[str, Any]) -> dict[str, Any]:
    """A form's fields as nested values.

    `name[]` and a bare name that comes more than once are lists; `object[key]` is an object, as OpenAI's SDK writes `chunking_strategy`.
    An empty value is an absent one. Names that contradict each other make a list of all, which is no value of anything.
    """
    values: dict[str, Any] = {}
    items = form.multi_items() if isinstance(form, FormData) else list(form.items())
    for name, value in items:
        if not isinstance(value, str) or not value:
            continue
        outer, bracket, inner = name.removesuffix("]").partition("[")
        if not name.endswith("]") or not bracket:
            outer, bracket = name, ""
        before = values.get(outer)
        if bracket and inner and (before is None or isinstance(before, dict)):
            values[outer] = {**(before or {}), inner: value}
        elif before is None:
            values[outer] = [value] if bracket else value
        else:
            values[outer] = [*before, value] if isinstance(before, list) else [before, value]
    return values


def _from_json(body: bytes) -> tuple[Source, dict[str, Any]]:
    """`{"input_audio": {"data", "format"}, ...}` or `{"file": base64 or data URL, ...}`."""
    values = json_object(body)
    audio = values.pop("input_audio", None)
    data = audio.get("data") if isinstance(audio, dict) else values.pop("file", None)
    if not isinstance(data, str) or not data:
        raise InvalidRequest(
            "Missing required parameter: 'file'. In JSON, send the audio as base64 in 'file', or as 'input_audio': {'data', 'format'}.",
            param="file",
            code="missing_required_parameter",
        )
    return _decoded(data), values


def _decoded(data: str) -> Source:
    head, comma, rest = data.partition(",")
    is_url = comma == "," and head.startswith("data:")
    try:
        content = _from_base64(rest if is_url else data)
    except ValueError:
        raise InvalidRequest("The audio is not valid base64.", param="file", code="invalid_base64") from None
    return Source(io.BytesIO(content), head.removeprefix("data:").removesuffix(";base64") if is_url else "")


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return base64.b64decode("".join(text.split()), validate=True)  # in lines, as `base64 recording.wav` prints it

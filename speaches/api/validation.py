"""Pydantic's findings -> OpenAI's errors: one sentence that names the parameter, what was wrong and what is allowed. Rules only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from speaches.errors import InvalidRequest

M = TypeVar("M", bound=BaseModel)
LONGEST_QUOTE = 60  # characters of a wrong value, or name, that a message repeats


class Parameters(BaseModel):
    """Parameters of a request. Null and empty mean absent, as clients send them for what a user left alone; unknown ones are
    ignored, but noted."""

    _ignored: tuple[str, ...] = PrivateAttr(())

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names that came with a value and mean nothing here."""
        return self._ignored

    @classmethod
    def unknown(cls, values: Mapping[str, Any]) -> Iterable[str]:
        """Those of the names that are no parameters. They come from outside and may hold anything."""
        known = {*cls.model_fields, *(field.alias for field in cls.model_fields.values() if field.alias)}
        return (name for name, value in values.items() if name not in known and value is not None and value != "")

    @model_validator(mode="wrap")
    @classmethod
    def _note_unknown(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        parameters = validate(values)
        if isinstance(values, dict):
            parameters._ignored = tuple(cls.unknown(values))
        return parameters

    @model_validator(mode="before")
    @classmethod
    def _drop_absent(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        # An empty text to speak is a mistake to be told, not an absent one.
        return {
            name: _well_formed(value)
            for name, value in values.items()
            if value is not None and (value != "" or name == "input")
        }


def _well_formed(value: Any) -> Any:
    """Text without what libraries stumble over: NUL, and half characters, which JavaScript makes when it cuts a string within an emoji."""
    if isinstance(value, list):
        return [_well_formed(part) if isinstance(part, str) else part for part in value]
    if not isinstance(value, str):
        return value
    value = value.replace("\0", " ")
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _no_switch(value: Any) -> Any:
    """Python takes true for 1, which nobody means by it."""
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


Number: TypeAlias = Annotated[float, BeforeValidator(_no_switch)]
Whole: TypeAlias = Annotated[int, BeforeValidator(_no_switch)]
LanguageTag: TypeAlias = Annotated[str, AfterValidator(lambda tag: tag.replace("_", "-"))]
"""BCP 47; a POSIX locale's `de_DE` becomes `de-DE`."""


def validated(kind: type[M], values: Mapping[str, Any]) -> M:
    """Build parameters from what a form or JSON held. Raises InvalidRequest."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid(error.errors()) from None


def json_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object. Slow for megabytes: not for the event loop. Raises InvalidRequest."""
    try:
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(values, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    return values


def invalid(errors: Sequence[Any]) -> InvalidRequest:
    """The first finding as an error."""
    error = errors[0]
    path = [str(part) for part in error["loc"] if part not in ("body", "query", "path")]
    if error["type"] == "json_invalid":
        return InvalidRequest(f"The body is not valid JSON: {error['ctx']['error']}.", code="invalid_json")
    if not path and error["type"] != "missing":
        hint = (
            ""
            if not isinstance(error.get("input"), bytes)
            else " Say so with the header Content-Type: application/json."
        )
        return InvalidRequest(f"The body must be a JSON object.{hint}", code="invalid_json")
    # Unions name their members and lists their positions after the parameter; a caller thinks of the parameter.
    param = path[0] if path else None
    if error["type"] == "missing":
        return InvalidRequest(
            f"Missing required parameter: '{param}'." if param else "The request has no body; send JSON.",
            param=param,
            code="missing_required_parameter",
        )
    message = error["msg"].removeprefix("Value error, ").removesuffix(".").removeprefix("Input ").strip()
    return InvalidRequest(
        f"Invalid value for '{param}': {message}, got {_quoted(error.get('input'))}.",
        param=param,
        code="invalid_value",
    )


def _quoted(value: Any) -> str:
    try:
        return shortened(repr(value))
    except RecursionError:  # arrays in arrays that JSON could just be read from
        return f"a {type(value).__name__}"


def shortened(text: str) -> str:
    """What a message repeats of what it is about."""
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."

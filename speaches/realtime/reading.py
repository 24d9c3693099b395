"""Hostile JSON -> values whose types are known; what is wrong becomes an error that names its place in the event. Rules only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from speaches.errors import InvalidRequest

DEEPEST = 100  # arrays and objects within each other; a tool's schema has perhaps thirty
LONGEST_QUOTE = 60  # characters of a wrong value that a message repeats
LONGEST_ID = 256  # characters, also of a voice's name; OpenAI allows 32, some clients send two UUIDs
KINDS = {
    "string": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "a boolean",
    "list": "an array",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "tuple": "an array",
}
"""Pydantic's words for types, in JSON's."""
NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


class Part(BaseModel):
    """A part of an event. Types are strict; unknown keys are ignored; null means absent unless the field is `nullable`."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)
    nullable: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None or key in cls.nullable}


def _whole(value: Any) -> Any:
    # Python clients compute with floats: 500.0 is meant as 500.
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Id = Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
M = TypeVar("M", bound=BaseModel)


def read(kind: type[M], values: object, at: str = "") -> M:
    """Build a part of an event.

    Args:
        at: Where in the event it stands, such as "session".

    Raises:
        InvalidRequest: With `param`, the path of what is wrong.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        # Where a value may be of several kinds, what is wrong within it says more than that it is none of the other kinds.
        raise _told(max(error.errors(include_url=False), key=lambda one: len(one["loc"])), values, at) from None


def an_object(values: object, at: str) -> Mapping[str, Any]:
    """A part of an event whose keys are read one by one. Raises InvalidRequest."""
    if not isinstance(values, Mapping):
        read(Part, values, at)
        raise AssertionError("pydantic takes only objects")
    return values


def _told(finding: Any, values: object, at: str) -> InvalidRequest:
    path = _path(finding, values, at) or None
    wrong = finding["type"]
    named = f"'{path}'" if path else "the event"
    if wrong == "missing":
        return InvalidRequest(f"Missing required parameter: {named}.", param=path, code="missing_required_parameter")
    kind = wrong.removesuffix("_type").removesuffix("_from_float")
    if wrong.endswith("_type") and kind in KINDS:
        got = NAMES.get(type(finding["input"]), "something else")
        return InvalidRequest(
            f"Invalid type for {named}: expected {KINDS[kind]}, but got {got} instead.",
            param=path,
            code="invalid_type",
        )
    if wrong == "union_tag_invalid":
        return _unknown_kind(finding["ctx"], path)
    message = finding["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    return InvalidRequest(
        f"Invalid value for {named}: {message}, got {quoted(finding['input'])}.",
        param=path,
        code="invalid_value",
    )


def _unknown_kind(found: Mapping[str, str], path: str | None) -> InvalidRequest:
    """For an object of which one key says what kind it is."""
    place, kinds = f"{path}.{found['discriminator']}".replace("'", ""), found["expected_tags"].replace(", ", " or ")
    return InvalidRequest(
        f"Invalid value for '{place}': should be {kinds}, got {quoted(found['tag'])}.",
        param=place,
        code="invalid_value",
    )


def _path(finding: Any, values: object, at: str) -> str:
    """Where in the event a finding is: pydantic's places, without the names that it gives to a union's members."""
    path, here = at, values
    for part in finding["loc"]:
        if isinstance(here, Mapping) and part in here:
            path, here = f"{path}.{part}".lstrip("."), here[part]
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path, here = f"{path}[{part}]", here[part]
        elif finding["type"] == "missing" and part == finding["loc"][-1]:
            path = f"{path}.{part}".lstrip(".")
    return path


def quoted(value: object) -> str:
    """What a message repeats of a wrong value."""
    if isinstance(value, str):
        value = value[: 2 * LONGEST_QUOTE]
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."


def well_formed(value: Any, depth: int = 0) -> Any:
    """A value from JSON without NUL, half characters (which JavaScript makes when it cuts a string within an emoji) and infinite numbers.

    Raises:
        InvalidRequest: If it is nested deeper than anything sensible.
    """
    if depth > DEEPEST:
        raise InvalidRequest(f"The event is nested more than {DEEPEST} levels deep.", code="invalid_value")
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        return {
            plain_text(key) if isinstance(key, str) else str(key): well_formed(part, depth + 1)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [well_formed(part, depth + 1) for part in value]
    # Python reads NaN and 1e999, which no other JSON reader can be sent back.
    return value if not isinstance(value, float) or abs(value) < float("inf") else None


def plain_text(value: str) -> str:
    """Text that can be sent and spoken."""
    if "\0" in value:
        value = value.replace("\0", " ")
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

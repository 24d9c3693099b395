"""
Errors raised on purpose. Anything else is a bug: it becomes a logged traceback and a 500.

* SpeachesError                 500
    * InvalidRequest            400
        * UnsupportedAudio      400 unsupported_audio
        * Unauthorized          401
        * Forbidden             403
        * NotFound              404
            * UnknownModel      404 model_not_found
        * MethodNotAllowed      405
        * Conflict              409
        * TooLarge              413
    * TooBusy                   429
    * BadGateway                502
    * Unavailable               503
        * IncompleteModel       503 model_incomplete
    * TimedOut                  504

HTTP, SSE, WebSocket and job print the same envelope, `as_openai()`, as the API reference and the SDKs expect:
https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

from typing import Any, ClassVar


class SpeachesError(Exception):
    """Base of all. `str(error)` is one sentence or two for the person who sent the request."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code
        self.retry_after = retry_after
        """Seconds after which it is worth trying again; sent as `Retry-After`."""

    def as_openai(self) -> dict[str, Any]:
        """The envelope of OpenAI's API."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(SpeachesError):
    status = 400
    type = "invalid_request_error"


class Unauthorized(InvalidRequest):
    status = 401
    default_code = "invalid_api_key"


class Forbidden(InvalidRequest):
    status = 403


class NotFound(InvalidRequest):
    status = 404


class UnknownModel(NotFound):
    default_code = "model_not_found"


class MethodNotAllowed(InvalidRequest):
    status = 405


class Conflict(InvalidRequest):
    status = 409


class TooLarge(InvalidRequest):
    status = 413
    default_code = "request_too_large"


class UnsupportedAudio(InvalidRequest):
    # A 400 as OpenAI's, whose SDKs raise BadRequestError for it; there is no class of theirs for a 415.
    default_code = "unsupported_audio"


class TooBusy(SpeachesError):
    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class BadGateway(SpeachesError):
    status = 502
    type = "upstream_error"


class Unavailable(SpeachesError):
    status = 503
    default_code = "service_unavailable"


class IncompleteModel(Unavailable):
    default_code = "model_incomplete"


class TimedOut(SpeachesError):
    status = 504
    default_code = "timeout"


def internal_error(request_id: str) -> dict[str, Any]:
    """The envelope for a bug: it tells what to look for in the log and nothing of the inside."""
    return SpeachesError(
        f"The server failed on this request. Its log has the reason under request id {request_id}."
    ).as_openai()

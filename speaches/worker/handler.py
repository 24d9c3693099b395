"""A job in, its output out: the one place where reading, fetching, sending and answering meet."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any

import httpx

from speaches.errors import BadGateway, SpeachesError, internal_error
from speaches.settings import Settings
from speaches.worker import media, results
from speaches.worker.bucket import bucket_of, store
from speaches.worker.fetch import Fetcher
from speaches.worker.job import read_job
from speaches.worker.log import CURRENT_JOB
from speaches.worker.proxy import BUSY_SECONDS, Answer, AnswerTooLarge, Proxy, read
from speaches.worker.stream import pieces
from speaches.worker.threads import in_thread
from speaches.worker.uploads import collect

logger = logging.getLogger(__name__)

MAX_STORED = 4 * 1024**3  # bytes of an answer on its way into a bucket; it is held in memory


class Worker:
    """Works on jobs for one server.

    Args:
        settings: limits, key, bucket.
        base_url: where the server is.
        explain: says what happened to the server when a connection broke.
        fetcher: fetches `file_url`; by default as the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        base_url: str,
        *,
        explain: Callable[[], str] | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self._settings = settings
        self._proxy = Proxy(base_url, settings, explain)
        self._fetcher = fetcher or Fetcher(
            max_bytes=settings.max_upload_bytes,
            timeout=settings.file_url_timeout,
            allow_private=settings.allow_private_urls,
        )

    async def handle(self, job: dict[str, Any]) -> Any:
        """Work on one job. Returns its output; whatever goes wrong is an output too. Only cancellation is raised."""
        CURRENT_JOB.set(job_id(job))
        try:
            async with self._response(job, streaming=False) as response:
                return await self._output(job, response)
        except SpeachesError as error:
            return self._failure(job, error)
        except Exception:
            return self._bug(job)

    async def stream(self, job: dict[str, Any]) -> AsyncGenerator[Any]:
        """The same in parts where the server streams, else in one. An error is the last part."""
        CURRENT_JOB.set(job_id(job))
        try:
            async with self._response(job, streaming=True) as response, aclosing(self._parts(job, response)) as parts:
                async for part in parts:
                    if isinstance(part, dict) and "error" in part:
                        last = part
                        break
                    yield part
                else:
                    return
        except SpeachesError as error:
            last = self._failure(job, error)
        except Exception:
            last = self._bug(job)
        # Out here, where all is closed: after an error the SDK reads no further, and leaves this generator where it is.
        yield last

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        await self._proxy.aclose()

    @asynccontextmanager
    async def _response(self, job: dict[str, Any], *, streaming: bool) -> AsyncIterator[httpx.Response]:
        """The server's answer to a job, of which the body is still to be read. The job's files are gone afterwards."""
        request = read_job(job.get("input"), streaming=streaming)
        bucket_of(job, self._settings)  # a bucket that can't be used is said before the work is done
        async with AsyncExitStack() as stack:
            parts = await collect(request.uploads, self._fetcher, self._settings.max_upload_bytes, stack)
            response = self._proxy.stream(request, parts, job_id=job_id(job), busy_seconds=job_seconds(job))
            yield await stack.enter_async_context(response)

    async def _output(self, job: dict[str, Any], response: httpx.Response) -> Any:
        bucket, limit = bucket_of(job, self._settings), self._settings.worker_max_result_bytes
        try:
            answer = await read(response, MAX_STORED if bucket else limit)
        except AnswerTooLarge as error:
            raise results.too_large(
                error.content_type, results.encoded_size(error.content_type, error.size), limit
            ) from None
        if answer.status >= 300:
            return results.refusal(answer)
        output = await _small_output(answer, limit)
        if output is not None:
            return output
        if bucket is None:
            raise results.too_large(
                answer.content_type, results.encoded_size(answer.content_type, len(answer.body)), limit
            )
        return await store(bucket, answer, job_id(job), allow_private=self._settings.allow_private_urls)

    async def _parts(self, job: dict[str, Any], response: httpx.Response) -> AsyncGenerator[Any]:
        if media.bare(response.headers.get("content-type", "")) != "text/event-stream" or response.status_code >= 300:
            yield await self._output(job, response)
            return
        sent, limit = 0, self._settings.worker_max_result_bytes
        async with aclosing(pieces(response.aiter_raw())) as stream:
            async for piece in stream:
                if isinstance(error := piece.get("error"), dict):
                    raise BadGateway(
                        str(error.get("message") or "The speech server failed in mid-stream."), code=error.get("code")
                    )
                sent += results.size_of(piece)
                if sent > limit:  # Runpod gets all parts once more, together, at the end
                    raise results.too_large("text/event-stream", sent, limit)
                yield piece

    def _failure(self, job: Mapping[str, Any], error: SpeachesError) -> dict[str, Any]:
        log = logger.error if error.status >= 500 else logger.info
        log("Job %s: %s (%d)", job_id(job), error.message, error.status)
        return results.failure(error)

    def _bug(self, job: Mapping[str, Any]) -> dict[str, Any]:
        logger.exception("Job %s failed in the worker.", job_id(job))
        detail = internal_error(job_id(job))["error"]
        return {"error": detail["message"], "status_code": 500, "detail": detail}


async def _small_output(answer: Answer, limit: int) -> Any:
    """The output of a job if it is small enough to be returned, else None."""
    if results.encoded_size(answer.content_type, len(answer.body)) > limit:
        return None
    output = await in_thread(results.to_output, answer)
    if media.is_json(answer.content_type) or media.is_text(answer.content_type):
        size = await in_thread(results.size_of, output)  # of base64 it is known before
        return output if size <= limit else None
    return output


def job_id(job: Mapping[str, Any]) -> str:
    return str(job.get("id") or "job")


def job_seconds(job: Mapping[str, Any]) -> float:
    """How long the job may wait for a busy server: as long as it may take at all, if it says so (`policy.executionTimeout`, in ms)."""
    policy = job.get("policy")
    timeout = policy.get("executionTimeout") if isinstance(policy, dict) else None
    return timeout / 1000 if isinstance(timeout, (int, float)) and timeout > 0 else BUSY_SECONDS

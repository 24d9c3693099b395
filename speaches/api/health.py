"""Whether the server is alive, ready and well. None of this waits behind inference."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from speaches.api.answers import until_gone
from speaches.api.state import server_of
from speaches.errors import SpeachesError, Unavailable
from speaches.selftest import SelfTest

router = APIRouter(tags=["Health"])


@router.get("/health")
@router.head("/health", include_in_schema=False)
@router.api_route("/healthz", methods=["GET", "HEAD"], include_in_schema=False)
async def health() -> dict[str, str]:
    """Alive: 200 as soon as the process serves."""
    return {"message": "OK"}


@router.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    """Ready: 503 while models preload, then 200; 503 with the models and reasons where some of PRELOAD_MODELS could not be had."""
    server = server_of(request)
    if server.ready:
        return JSONResponse({"status": "ready"})
    if server.preloading:
        return JSONResponse({"status": "preloading"}, status_code=503)
    missing = [{"model": name, "reason": reason} for name, reason in server.models.missing.items()]
    told = " ".join(f"Model {one['model']} of PRELOAD_MODELS is not ready: {one['reason']}" for one in missing)
    error = Unavailable(f"{told} A request for it that succeeds makes the server ready.", code="preload_failed")
    return JSONResponse({"status": "failed", "missing": missing} | error.as_openai(), status_code=503)


@router.get("/ping")
async def ping(request: Request) -> Response:
    """The same for Runpod's load balancer, which takes 204 for "still starting" and 503 for "unhealthy"."""
    server = server_of(request)
    return Response(status_code=200 if server.ready else 204 if server.preloading else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    server = server_of(request)
    return Response(
        server.metrics.page(server.models), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
    )


@router.get("/selftest")
async def selftest(request: Request) -> JSONResponse:
    """Speak, find the speech, hear the words: 200 with the steps and their times, or 500 with what failed."""
    server = server_of(request)
    test = SelfTest(server.models, server.threads)
    await until_gone(request, _run(test))
    report: dict[str, Any] = {"status": "ok" if test.ok else "failed", "steps": [asdict(step) for step in test.steps]}
    if not test.ok:
        failed = test.steps[-1]
        report |= SpeachesError(
            f"The self-test failed at {failed.name!r}: {failed.detail}", code="selftest_failed"
        ).as_openai()
    return JSONResponse(report, status_code=200 if test.ok else 500)


async def _run(test: SelfTest) -> bool:
    await test.run()
    return True

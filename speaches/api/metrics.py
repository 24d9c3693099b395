"""What Prometheus reads at /metrics."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from speaches.models.models import Models

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """One registry for one server, so that several can live in a process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "speaches_request_seconds", "Requests by route, with the time to their end.", ("route", "method", "status"),
            buckets=SECONDS, registry=self._registry,
        )  # fmt: skip
        self._in_progress = Gauge(
            "speaches_requests_in_progress", "Requests that are being answered.", registry=self._registry
        )
        self._audio = Counter(
            "speaches_audio_seconds_total",
            "Seconds of audio: heard, kept as speech, spoken.",
            ("kind",),
            registry=self._registry,
        )
        self._phantoms = Counter(
            "speaches_phantom_segments_total",
            "Segments that were dropped as made up by the recogniser.",
            registry=self._registry,
        )
        self._users = Gauge(
            "speaches_model_users", "Requests that use a loaded model.", ("model",), registry=self._registry
        )
        self._queued = Gauge(
            "speaches_model_queue", "Requests that wait for a loaded model.", ("model",), registry=self._registry
        )
        self._waiting = Gauge(
            "speaches_model_tasks_waiting",
            "Windows to hear or pieces to speak that wait for a thread of a loaded model.",
            ("model",),
            registry=self._registry,
        )

    def phantoms(self, count: int) -> None:
        self._phantoms.inc(count)

    def in_progress(self) -> AbstractContextManager[None]:
        return self._in_progress.track_inprogress()

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        self._seconds.labels(route, method, str(status)).observe(seconds)

    def audio(self, kind: str, seconds: float) -> None:
        self._audio.labels(kind).inc(seconds)

    def page(self, models: Models) -> bytes:
        for gauge in (self._users, self._queued, self._waiting):
            gauge.clear()
        for loaded in models.pool.loaded():
            self._users.labels(loaded.model.id).set(loaded.users)
            self._queued.labels(loaded.model.id).set(loaded.scheduler.queued if loaded.scheduler else 0)
            self._waiting.labels(loaded.model.id).set(loaded.scheduler.waiting if loaded.scheduler else 0)
        return generate_latest(self._registry)

"""Runpod's entry point: choose the mode, start the server, hand over. What happens then is in `speaches/worker/`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from speaches.settings import Settings


def main(command: Callable[[int], Sequence[str]] | None = None) -> int:
    """Run the worker until it is told to stop. Returns the exit code; `command` replaces the server in tests."""
    try:
        settings = Settings()
    except ValidationError as error:
        from speaches.cli import explain

        print("\n".join(["These settings can't be used:", *explain(error)]), file=sys.stderr)
        return 2
    if settings.worker_mode == "http":  # a load-balancing endpoint: the server itself, no second process
        from speaches.serve import serve

        serve(
            settings.model_copy(update={"uvicorn_host": "0.0.0.0", "uvicorn_port": settings.port}),
            health_port=settings.port_health,
        )
        return 0
    from speaches.worker.boot import run

    return run(settings, command)


if __name__ == "__main__":  # the SDK's heartbeat is a second process, which may import this file again
    sys.exit(main())

"""The worker's log: readable lines at home, Runpod's JSON lines on the platform, where its console filters them by job."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar

CURRENT_JOB: ContextVar[str | None] = ContextVar("current_job", default=None)
"""Id of the job that the running task works on."""
LEVEL_NAMES = {"WARNING": "WARN", "CRITICAL": "ERROR"}  # as Runpod's SDK calls them
QUIET = (
    "httpx",
    "httpcore",
    "botocore",
    "boto3",
    "s3transfer",
    "urllib3",
)  # one line per request, of no use to anybody


class JsonLines(logging.Formatter):
    """Lines like the SDK's own: {"requestId", "message", "level"}."""

    def format(self, record: logging.LogRecord) -> str:
        level = LEVEL_NAMES.get(record.levelname, record.levelname)
        return json.dumps({"requestId": CURRENT_JOB.get(), "message": super().format(record), "level": level})


def configure_logging(level: str, *, as_json: bool) -> None:
    """Set the root logger up, before the SDK does it in its own way."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(levelname)-7s| %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)

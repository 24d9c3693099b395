"""Runpod's SDK, brought in the way we need it: quickly, and without its payload log. Facts: it is read at version 1.12."""

from __future__ import annotations

import platform
import sys
from collections.abc import MutableMapping, Sequence
from enum import StrEnum
from importlib import import_module
from types import ModuleType
from typing import Any

LEVELS = ("NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR")
OTHER_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR", "FATAL": "ERROR"}


class Mode(StrEnum):
    """What the SDK will do when it is started."""

    PLATFORM = "platform"
    """Take jobs from Runpod's queue."""
    SIMULATOR = "simulator"
    """Answer /runsync and the like on a local port (`--rp_serve_api`)."""
    HARNESS = "harness"
    """Work on one job, from `--test_input` or test_input.json, and exit."""


def mode_of(arguments: Sequence[str], environ: MutableMapping[str, str]) -> Mode:
    """The SDK's own choice (`runpod.serverless.start`), known before it is imported."""
    # argparse takes every beginning that is unique, and --option=value.
    if any(len(argument) > 5 and "--rp_serve_api".startswith(argument) for argument in arguments):
        return Mode.SIMULATOR
    if environ.get("RUNPOD_REALTIME_PORT", "0") not in ("", "0"):
        return Mode.SIMULATOR
    if (
        any(argument.partition("=")[0] == "--test_input" for argument in arguments)
        or "RUNPOD_WEBHOOK_GET_JOB" not in environ
    ):
        return Mode.HARNESS
    return Mode.PLATFORM


def set_log_level(environ: MutableMapping[str, str]) -> None:
    """INFO unless said otherwise: the SDK's default, DEBUG, prints what the jobs hold. A name that it doesn't know kills it at import."""
    wish = (environ.get("RUNPOD_LOG_LEVEL") or environ.get("RUNPOD_DEBUG_LEVEL") or "INFO").upper()
    wish = OTHER_LEVELS.get(wish, wish)
    environ["RUNPOD_LOG_LEVEL"] = wish if wish in LEVELS else "INFO"


def import_runpod(environ: MutableMapping[str, str]) -> Any:
    """Import the SDK, without the second that its look at the processor takes."""
    set_log_level(environ)
    stub = ModuleType("cpuinfo")
    stub.get_cpu_info = lambda: {"brand_raw": platform.processor()}  # type: ignore[attr-defined]
    real = sys.modules.get("cpuinfo")
    sys.modules["cpuinfo"] = stub
    try:
        return import_module("runpod")
    finally:
        if real is None:
            del sys.modules["cpuinfo"]
        else:
            sys.modules["cpuinfo"] = real

"""What the routes share."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request

from speaches.api.metrics import Metrics
from speaches.chat.history import SpokenHistory
from speaches.chat.llm import Llm
from speaches.chat.transcripts import Transcripts
from speaches.concurrency import Threads
from speaches.models.models import Models
from speaches.realtime.calls import Calls
from speaches.speech.cache import SpeechCache
from speaches.speech.presets import Preset, Presets, default_folder

if TYPE_CHECKING:
    from speaches.audio.decode import AudioLimits
    from speaches.engines.registry import EngineKind
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

LOOKUP_THREADS = 2  # searches of the hub, which may take as long as its time-out; they must not keep recordings waiting
AUDIO_THREADS = 8  # decoding, encoding and resampling: short steps that take turns


class Server:
    """One server: its settings, models and threads. `app.py` makes it, starts and closes it."""

    def __init__(self, settings: Settings, kinds: Sequence[EngineKind]) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.threads = Threads(AUDIO_THREADS, "audio")
        self.lookups = Threads(LOOKUP_THREADS, "lookup")
        self.models = Models(settings, kinds, self.threads)
        self.llm = Llm(settings, self.threads)
        self.spoken = SpokenHistory()
        self.transcripts = Transcripts()
        self.calls = Calls()
        self.sessions = 0
        """Realtime sessions that are open."""
        self.speech_cache = SpeechCache(settings.speech_cache_bytes)
        self.presets = Presets(settings.voices_dir or default_folder(os.environ))
        self.preloading = bool(settings.preload_models)

    @property
    def audio_limits(self) -> AudioLimits:
        from speaches.audio.decode import AudioLimits

        return AudioLimits.of(self.settings)

    @property
    def ready(self) -> bool:
        """Whether all models are there that PRELOAD_MODELS names."""
        return not self.preloading and not self.models.missing

    async def preset(self, name: str | None) -> Preset | None:
        """The voice that was kept under this name or id."""
        return await self.threads.run(self.presets.find, name) if name else None

    async def preload(self) -> None:
        try:
            await self.models.preload()
        except Exception:  # a bug, of an engine perhaps: the server serves all the same, and its log must say so
            logger.exception("Preloading broke off.")
            self.models.missing["PRELOAD_MODELS"] = "Preloading broke off; the server's log has the reason."
        finally:
            self.preloading = False

    async def close(self) -> None:
        await self.calls.close()
        await self.llm.close()
        await self.models.close()
        self.lookups.close()
        self.threads.close()


def server_of(request: Request) -> Server:
    server: Server = request.app.state.server
    return server

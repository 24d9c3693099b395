"""The models of a server: from the name in a request to an engine in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from speaches.engines.base import Engine, SpeechToText, Task
from speaches.errors import Conflict, InvalidRequest, SpeachesError, UnknownModel
from speaches.models.aliases import Aliases
from speaches.models.catalogue import Catalogue, Model, hub_caches
from speaches.models.deletion import check_deletable, delete
from speaches.models.downloads import Downloads
from speaches.models.hub import Hub, configure
from speaches.models.pool import Loaded, Pool
from speaches.scheduling import Scheduler

if TYPE_CHECKING:
    from speaches.concurrency import Threads
    from speaches.engines.registry import EngineKind
    from speaches.settings import Settings

logger = logging.getLogger(__name__)

VAD_MODEL = "silero_vad_v6"
# What voice models say as they are loaded. Memory is taken, and convolutions on a GPU are chosen, for each length of text.
FIRST_WORDS = (
    "Hello.",
    "The quick brown fox jumps over the lazy dog.",
    "A voice that has spoken once speaks sooner the second time: so here is a sentence that is long enough for most of those to come,"
    " with a clause or two, some numbers such as 1, 2 and 3, and an end.",
)
BATCH_DELAY = 0.005  # seconds; a batch on a GPU takes ten times as long


class Models:
    """Finds models by the names that requests give them, fetches those that are not here, and holds them in memory."""

    def __init__(self, settings: Settings, kinds: Sequence[EngineKind], threads: Threads) -> None:
        configure(settings, os.environ)
        self._settings = settings
        self._threads = threads
        self._kinds = {kind.NAME: kind for kind in kinds}
        self.catalogue = Catalogue(settings.model_dirs, hub_caches(os.environ), kinds)
        self.aliases = Aliases(settings.model_aliases)
        self.hub = Hub.of(settings, kinds, os.environ)
        self.downloads = Downloads(self.hub.download)
        self.missing: dict[str, str] = {}
        """Why a model of PRELOAD_MODELS is not there, by its name; it goes when a request has the model after all."""
        ttls = {Task.STT: settings.stt_model_ttl, Task.TTS: settings.tts_model_ttl}
        ttls |= dict.fromkeys((Task.VAD, Task.END_OF_TURN, Task.DENOISING), settings.vad_model_ttl)
        self.pool = Pool(
            self._load,
            self._schedule,
            ttl=lambda task: ttls.get(task, settings.stt_model_ttl),
            load_timeout=settings.model_load_timeout,
            memory_bytes=settings.model_memory_bytes,
        )

    async def find(self, name: str) -> Model | None:
        """The model on disk that a name or alias means."""
        return await self._threads.run(self.catalogue.find, self.aliases.resolve(name))

    async def first(self, task: Task) -> Model | None:
        """A model for a task that can be done without, where nobody names one; None where none is on disk."""
        return next((model for model in await self._threads.run(self.catalogue.models) if model.task == task), None)

    async def get(self, name: str | None, task: Task) -> Model:
        """The model that a request means, downloaded first if it is not on disk.

        Raises:
            UnknownModel: If it is not here and can't be fetched.
            InvalidRequest: If it is for another task.
        """
        wanted = name or self._default(task)
        model = await self.find(wanted)
        if model is None:
            model = await self._fetch(self.aliases.resolve(wanted), task)
        if model.task != task:
            raise InvalidRequest(
                f"Model {model.id!r} is for {model.task}; this request needs one for {task}.",
                param="model",
                code="wrong_model",
            )
        return model

    @asynccontextmanager
    async def use(self, name: str | None, task: Task) -> AsyncIterator[Loaded]:
        """Hold the model that a request means, in memory."""
        model = await self.get(name, task)
        async with self.pool.use(model) as loaded:
            yield loaded
        self._is_there(model)

    async def listed(self) -> list[tuple[str, Model]]:
        """What is on disk by id, then each alias whose target is."""
        models = {model.id: model for model in await self._threads.run(self.catalogue.models)}
        aliases = {alias: models[target] for alias, target in self.aliases.names().items() if target in models}
        return list((models | {alias: model for alias, model in aliases.items() if alias not in models}).items())

    async def delete(self, model: Model) -> None:
        """Take a model out of memory and off the disk. Raises Conflict if it is in use or being loaded, Forbidden if it has to stay."""
        check_deletable(model)
        if self.pool.is_loading(model.id):
            raise Conflict(f"Model {model.id!r} is being loaded; try again when it is.", param="model")
        if self.pool.is_loaded(model.id):
            self.pool.unload(model.id)
        await self._threads.run(delete, model)

    async def preload(self) -> None:
        """Download if need be, load and warm up what PRELOAD_MODELS names. A model that fails is logged, and told in `missing`."""
        for name in self._settings.preload_models:
            try:
                await self._preload(name)
            except SpeachesError as error:
                self.missing[name] = error.message
                logger.error("Model %s of PRELOAD_MODELS is not ready: %s", name, error)
            except Exception:  # a bug of one engine must not keep the models after it from being ready
                self.missing[name] = "It failed; the server's log has the reason."
                logger.exception("Model %s of PRELOAD_MODELS is not ready.", name)

    async def close(self) -> None:
        await self.downloads.close()
        await self.pool.close()

    async def _preload(self, name: str) -> None:
        model = await self.find(name)
        if model is None and not self._settings.auto_download:
            raise UnknownModel(f"Model {name!r} is not on disk, and AUTO_DOWNLOAD is off.", param="model")
        if model is None:
            await self.downloads.get(self.aliases.resolve(name))
            model = await self.find(name)
        if model is None:
            raise UnknownModel(f"Model {name!r} was downloaded, but no engine recognises its files.", param="model")
        async with self.pool.use(model) as loaded:
            await _warm_up(loaded)

    def _default(self, task: Task) -> str:
        defaults = {
            Task.STT: self._settings.default_stt_model,
            Task.TTS: self._settings.default_tts_model,
            Task.VAD: VAD_MODEL,
        }
        return defaults[task]

    async def _fetch(self, model_id: str, task: Task) -> Model:
        reason = "AUTO_DOWNLOAD is off."
        if self._settings.auto_download and "/" in model_id:
            try:
                await self.downloads.get(model_id)
            except UnknownModel as error:
                reason = error.message
            else:
                reason = "It was downloaded, but no engine recognises its files."
                if model := await self.find(model_id):
                    return model
        elif "/" not in model_id:
            reason = "It is no alias either."
        here = [model.id for model in await self._threads.run(self.catalogue.models) if model.task == task]
        raise UnknownModel(
            f"Model {model_id!r} is not on this server. {reason}"
            f" Fetch it with `speaches models pull {model_id}` or `POST /v1/models/{model_id}`. Here for {task}: {', '.join(here)}.",
            param="model",
        )

    def _load(self, model: Model) -> Engine:
        engine = self._kinds[model.engine].load(model.folder, self._settings)
        self._is_there(model)
        return engine

    def _is_there(self, model: Model) -> None:
        for name in [name for name in self.missing if self.aliases.resolve(name) == model.id]:
            self.missing.pop(name, None)

    def _schedule(self, model: Model, engine: Any) -> Scheduler[Any, Any] | None:
        settings = self._settings
        if model.task == Task.STT:
            return _recognition(engine, settings, model.id)
        if model.task == Task.TTS:
            return Scheduler(
                lambda pieces: [engine.synthesize(piece) for piece in pieces],
                workers=engine.workers,
                concurrency=settings.tts_concurrency,
                queue_size=settings.tts_queue_size,
                name=model.id,
            )
        return None


def _recognition(engine: SpeechToText, settings: Settings, name: str) -> Scheduler[Any, Any]:
    return Scheduler(
        engine.decode,
        workers=engine.workers,
        batch_size=engine.batch_size,
        batch_key=engine.batch_key,
        batch_delay=BATCH_DELAY,
        concurrency=settings.stt_concurrency,
        queue_size=settings.stt_queue_size,
        name=name,
    )


async def _warm_up(loaded: Loaded) -> None:
    """An inference or a few, so that the first request does not pay for what the libraries put off."""
    import numpy as np

    from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Piece, Window

    scheduler, engine = loaded.scheduler, loaded.engine
    if scheduler is None:
        return
    async with scheduler.admit() as request:
        if loaded.model.task == Task.TTS:
            voice = engine.voices()[0].id
            for text in FIRST_WORDS:
                await request.submit(Piece(text, voice))
        else:
            silence = np.zeros(SAMPLE_RATE, np.float32)
            await request.submit(Window(silence, DecodeOptions(language=engine.languages[0])))
    logger.info("Warmed up %s.", loaded.model.id)

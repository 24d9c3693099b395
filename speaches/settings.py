"""All that the environment can change, built once at the entry point and passed in."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

logger = logging.getLogger(__name__)

OLD_NAMES = {
    "WHISPER__TTL": "STT_MODEL_TTL",
    "WHISPER__MODEL": "DEFAULT_STT_MODEL",
    "SPEACHES_LOG_LEVEL": "LOG_LEVEL",
}
"""Names of earlier versions. They still work, with a warning: a renamed setting that is silently ignored costs somebody a day."""


def _list(value: Any) -> Any:
    """Accept `["a", "b"]` as well as `a,b`: both are in use for the same settings."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _paths(value: Any) -> Any:
    return [Path(part).expanduser() for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _aliases(value: Any) -> Any:
    """A JSON object, or the path of a file that holds one."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return json.loads(value)
    try:
        return json.loads(Path(value).expanduser().read_text())
    except OSError as error:
        raise ValueError(f"neither a JSON object nor a readable file: {error}") from error


def _voice_aliases(value: Any) -> Any:
    """The same, in which a name may lead to one voice or to several that are tried in order."""
    value = _aliases(value)
    if not isinstance(value, dict):
        return value
    return {name: [voices] if isinstance(voices, str) else voices for name, voices in value.items()}


def _http_url(value: str) -> str:
    """Checked at the start: a wrong one would fail with every request."""
    value = value.strip()
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is no number
        good = False
    if not good:
        raise ValueError("should be the URL of a server, such as http://localhost:11434")
    return value


def _header_key(value: SecretStr) -> SecretStr:
    """What a header can carry: a line end, as files of secrets have it, would come back in an error, and the key with it."""
    key = value.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("should be letters, digits and signs of ASCII")
    return SecretStr(key)


Names = Annotated[list[str], NoDecode, BeforeValidator(_list)]
Paths = Annotated[list[Path], NoDecode, BeforeValidator(_paths)]
Aliases = Annotated[dict[str, str], NoDecode, BeforeValidator(_aliases)]
VoiceAliases = Annotated[dict[str, list[str]], NoDecode, BeforeValidator(_voice_aliases)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
HeaderKey = Annotated[SecretStr, AfterValidator(_header_key)]
Device = Literal["auto", "cpu", "cuda"]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
IceUrl = Annotated[str, Field(pattern=r"^(stun|turn)s?:\S+$")]


class IceServer(BaseModel):
    """As in a browser's RTCPeerConnection."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    urls: list[IceUrl] | IceUrl
    username: str | None = None
    credential: SecretStr | None = None

    @property
    def for_aiortc(self) -> dict[str, Any]:
        credential = self.credential.get_secret_value() if self.credential else None
        return {"urls": self.urls, "username": self.username, "credential": credential}


class Settings(BaseSettings):
    """All that the environment can change. `docs/configuration.md` lists the same with examples."""

    # An empty string means unset: Runpod's command line sends empty strings for what a user left alone.
    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True, extra="ignore", populate_by_name=True)

    # The server
    api_key: SecretStr | None = None
    """The key that every request must carry; unset lets everybody in."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(lambda v: str(v).lower())] = (
        Field(default="info", validation_alias=AliasChoices("log_level", "speaches_log_level"))
    )
    """How much is logged."""
    uvicorn_host: str = "127.0.0.1"
    """The address to listen on; the images set 0.0.0.0."""
    uvicorn_port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one and prints it."""
    allow_origins: Names = []
    """Origins that browsers may call from (CORS); `*` for all."""
    shutdown_timeout: Seconds = 10.0
    """Seconds that running requests get to finish when the server is told to stop."""

    # Models
    default_stt_model: str = Field(
        default="Systran/faster-distil-whisper-small.en",
        validation_alias=AliasChoices("default_stt_model", "whisper__model"),
    )
    """Recogniser of a request that names none."""
    default_tts_model: str = "speaches-ai/Kokoro-82M-v1.0-ONNX"
    """Voice model of a request that names none."""
    default_voice: str = "af_heart"
    """Voice of a request that names none, where the model has it; else the model's first."""
    model_dirs: Paths = []
    """Folders laid out as <owner>/<name>/files, `:`-separated, looked through before the Hugging Face cache."""
    model_aliases: Aliases = {}
    """Other names for models: a JSON object, or the path of one. Wins over the built-in aliases."""
    voice_aliases: VoiceAliases = {}
    """Other names for voices: a JSON object, or the path of one; a name may lead to a list, of which the first that a model has counts."""
    voices_dir: Path | None = None
    """Folder for the voices that users keep; `speaches/voices` in the user's data folder (XDG_DATA_HOME) unless set."""
    preload_models: Names = []
    """Models to download if need be, load and warm up before the server says that it is ready."""
    auto_download: bool = True
    """Whether a model that is not on disk is downloaded on first use."""
    hf_token: SecretStr | None = None
    """Token for private and gated models of the Hugging Face hub."""
    hf_hub_enable_hf_transfer: bool = True
    """Faster downloads. huggingface-hub 2 does them with Xet: this sets HF_XET_HIGH_PERFORMANCE."""
    model_load_timeout: Seconds = 300.0
    """Seconds that a request waits for a model to load (then 504); the load itself goes on."""
    model_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """What the loaded models may weigh together, by their files; idle ones go first. 0 is no limit."""
    stt_model_ttl: float = Field(default=300.0, validation_alias=AliasChoices("stt_model_ttl", "whisper__ttl"))
    """Seconds an idle recogniser stays in memory; 0 unloads at once, -1 keeps it for ever."""
    tts_model_ttl: float = 300.0
    """The same for voice models."""
    vad_model_ttl: float = -1.0
    """The same for voice activity detection, which is small."""

    # Engines
    whisper__inference_device: Device = "auto"
    """Where Whisper runs."""
    whisper__compute_type: str = "default"
    """CTranslate2's compute type; `default` takes float16 on CUDA and int8 on CPU."""
    whisper__cpu_threads: Annotated[int, Field(ge=0)] = 0
    """Threads of one recognition on the CPU; 0 chooses 1."""
    whisper__num_workers: Annotated[int, Field(ge=0)] = 0
    """Recognitions at the same time on the CPU; 0 chooses as many as the threads leave cores for."""
    whisper__batch_size: Annotated[int, Field(ge=0)] = 0
    """Windows of different requests that share a batch; 0 chooses 8 on CUDA and 1 on the CPU, where batches are slower."""
    encoder_window: Literal["full", "auto"] = "auto"
    """`auto` lets Whisper's encoder see less than 30 s of English, where that was measured to change no words; `full` never."""
    tts_inference_device: Device = "auto"
    """Where Kokoro and Piper run."""
    speech_cache_bytes: Annotated[int, Field(ge=0)] = 0
    """Memory for speech that was made before, so that the same request is answered at once; 0 keeps none."""

    # Voice chat
    chat_completion_base_url: HttpUrl | None = None
    """The LLM of voice chat: any OpenAI-compatible API; without a path, `/v1` is added."""
    chat_completion_model: str | None = None
    """The LLM's model, in place of whatever a request names."""
    chat_completion_api_key: HeaderKey | None = None
    """The LLM's key."""
    chat_completion_timeout: Annotated[float, Field(gt=0)] = 600.0
    """Seconds that the LLM may keep silent, before its answer and within it; more is a 504."""

    realtime_session_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """How long a Realtime session may last; OpenAI ends them after an hour too."""
    realtime_max_sessions: Count = 64
    """Realtime sessions at the same time; one more gets a 429."""
    webrtc_ice_servers: Annotated[list[IceServer], NoDecode, BeforeValidator(_list)] = []
    """STUN and TURN servers for WebRTC, where clients can't reach the server's own addresses: a JSON list."""

    # Limits
    stt_concurrency: Count = 16
    """Requests that one recogniser works on in turns; more wait."""
    stt_queue_size: Annotated[int, Field(ge=0)] = 128
    """Requests that may wait for one recogniser; one more gets a 429."""
    tts_concurrency: Count = 64
    """Requests that one voice model works on in turns; more wait."""
    tts_queue_size: Annotated[int, Field(ge=0)] = 128
    """Requests that may wait for one voice model; one more gets a 429."""
    max_upload_bytes: Count = 1024**3
    """The largest request body, and the largest file behind a `file_url`; more is a 413."""
    max_audio_seconds: Seconds = 6 * 3600.0
    """The longest recording; more is a 413."""
    max_audio_channels: Count = 8
    """The most channels of a recording; more is a 413."""
    max_text_chars: Count = 1_000_000
    """The longest text to speak; more is a 400."""
    file_url_timeout: Seconds = 300.0
    """Seconds that fetching a `file_url` may take."""
    allow_private_urls: bool = False
    """Whether a `file_url` may point at private and loopback addresses: for tests and closed networks."""

    # The Runpod worker
    worker_mode: Literal["queue", "http"] = "queue"
    """`queue` takes jobs from Runpod's queue; `http` is the server itself, for load-balancing endpoints."""
    worker_concurrency: Count = 8
    """Jobs that one worker takes at the same time."""
    worker_stream: bool = False
    """Whether jobs may stream their answers in parts (`/stream`); their output is then a list."""
    worker_boot_timeout: Seconds = 600.0
    """Seconds that the server may take until it is ready, preloading included."""
    worker_restarts: Annotated[int, Field(ge=0)] = 3
    """How often a server that died is started again before the worker gives itself up."""
    worker_max_result_bytes: Count = 9_500_000
    """The largest result of a job, as JSON; Runpod loses results over 10 MB (`/run`) or 20 MB (`/runsync`)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 80
    """The port of `WORKER_MODE=http`."""
    port_health: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where `/ping` is answered too in `WORKER_MODE=http`, when that is another port."""
    bucket_endpoint_url: str | None = None
    """S3 bucket for results that are too large to return; the bucket's name is its last part, or BUCKET_NAME."""
    bucket_name: str | None = None
    """The bucket's name, where the endpoint does not end in it."""
    bucket_access_key_id: str | None = None
    """Access key of the bucket."""
    bucket_secret_access_key: SecretStr | None = None
    """Secret key of the bucket."""


def warn_of_old_names(environ: Mapping[str, str]) -> None:
    """Say which settings in the environment have a newer name."""
    for old, new in OLD_NAMES.items():
        if environ.get(old):
            logger.warning("The setting %s is now called %s; the old name still works.", old, new)

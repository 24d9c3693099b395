"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speaches.errors import SpeachesError, UnknownModel

if TYPE_CHECKING:
    from pydantic import ValidationError

    from speaches.engines.base import Task
    from speaches.models.aliases import Aliases
    from speaches.models.catalogue import Catalogue, Model
    from speaches.models.hub import Hub
    from speaches.settings import Settings

__all__ = ["main"]

SHOWN_CHARS = 200  # of a string in a job's result
FEW_LANGUAGES = 4  # are named; more are counted
STOP_SECONDS = 1.0  # that a download has to end after Ctrl-C

app = typer.Typer(
    help="Speech to text and text to speech, served as OpenAI does it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models = typer.Typer(help="The models on this machine.", no_args_is_help=True)
app.add_typer(models, name="models")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 when it went well, 1 with a sentence when not, 2 when it is written wrongly."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="speaches")
    except (SpeachesError, OSError) as error:
        sys.exit(f"speaches: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


# --- The server ---


def _print_version(wanted: bool) -> None:
    if wanted:
        from speaches import __version__

        print(f"speaches {__version__}")
        raise typer.Exit


@app.callback()
def speaches(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on [UVICORN_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="The port; 0 takes a free one [UVICORN_PORT].")] = None,
    fd: Annotated[int | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the server. Its settings come from the environment: docs/configuration.md lists them."""
    settings = load_settings(uvicorn_host=host, uvicorn_port=port)
    from speaches.serve import serve as run

    run(settings, fd=fd, parent=parent)


# --- Models ---


def _read_task(text: str) -> Task:
    from speaches.engines.base import Task

    names = {task.name.lower(): task for task in Task} | {task.value: task for task in Task}
    if text.lower() not in names:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(names)}.")
    return names[text.lower()]


@models.command("list")
def list_models(
    task: Annotated[
        Any, typer.Option(parser=_read_task, metavar="TASK", help="Only stt, tts, vad or embedding models.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that can be used without a download."""
    found = [model for model in _Shelf(load_settings()).catalogue.models() if task in (None, model.task)]
    if as_json:
        print(json.dumps([_as_json(model) for model in found], indent=2, ensure_ascii=False))
    else:
        _print_table(found)


@models.command()
def pull(ids: Annotated[list[str], typer.Argument(help="owner/name as on huggingface.co, or an alias.")]) -> None:
    """Download models. What is here already is left as it is."""
    shelf = _Shelf(load_settings())
    failed = False
    for name in ids:
        try:
            _pull(shelf, name)
        except SpeachesError as error:
            print(f"speaches: {error}", file=sys.stderr)
            failed = True
    if failed:
        raise typer.Exit(1)


@models.command()
def rm(ids: Annotated[list[str], typer.Argument(help="As `speaches models list` names them, or an alias.")]) -> None:
    """Delete models from the disk."""
    from speaches.models.deletion import delete

    shelf = _Shelf(load_settings())
    for model in [shelf.find(name) for name in ids]:  # all or none
        delete(model)
        print(f"Deleted {model.id} ({_megabytes(model.size_bytes)}).")


class _Shelf:
    """The models of this machine, as the settings describe it."""

    def __init__(self, settings: Settings) -> None:
        from speaches.engines.registry import KINDS
        from speaches.models.aliases import Aliases
        from speaches.models.catalogue import Catalogue, hub_caches
        from speaches.models.hub import Hub, configure

        configure(settings, os.environ)
        self.aliases: Aliases = Aliases(settings.model_aliases)
        self.catalogue: Catalogue = Catalogue(settings.model_dirs, hub_caches(os.environ), KINDS)
        self.hub: Hub = Hub.of(settings, KINDS, os.environ)

    def find(self, name: str) -> Model:
        model_id = self.aliases.resolve(name)
        if model := self.catalogue.find(model_id):
            return model
        raise UnknownModel(f"There is no model {_both(name, model_id)} on this machine: try `speaches models list`.")


def _pull(shelf: _Shelf, name: str) -> None:
    model_id = shelf.aliases.resolve(name)
    if model := shelf.catalogue.find(model_id):
        where = f"in {model.folder}" if model.folder else "built in"
        print(f"{_both(name, model_id)} is here already: {where}.")
        return
    folder = _download(shelf.hub, model_id)
    print(f"Downloaded {_both(name, model_id)} to {folder}.")


class _Stopped(Exception):
    """Ends a download from within."""


def _download(hub: Hub, model_id: str) -> Path:
    """Download with a progress bar. Ctrl-C ends it: a thread of huggingface-hub would not notice by itself."""
    import threading
    from concurrent.futures import ThreadPoolExecutor, wait

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    stopped = threading.Event()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task(model_id, total=None)

        def progress(done: int, total: int) -> None:
            if stopped.is_set():
                raise _Stopped
            bar.update(task, completed=done, total=total)

        download = ThreadPoolExecutor(1).submit(hub.download, model_id, progress)
        try:
            return download.result()
        except KeyboardInterrupt:
            stopped.set()
            bar.stop()
            if not wait([download], timeout=STOP_SECONDS).done:
                os._exit(130)  # Python itself would wait until the hub answers
            raise


def _print_table(found: Sequence[Model]) -> None:
    rows = [("MODEL", "TASK", "LANGUAGES", "SIZE", "FOLDER")]
    for model in found:
        size = _megabytes(model.size_bytes) if model.folder else ""
        rows.append((model.id, model.task.name.lower(), _languages(model), size, str(model.folder or "built in")))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _languages(model: Model) -> str:
    few = len(model.languages) <= FEW_LANGUAGES
    return " ".join(model.languages) if few else f"{len(model.languages)} languages"


def _as_json(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "task": model.task,
        "engine": model.engine,
        "languages": model.languages,
        "voices": [voice.id for voice in model.voices],
        "sample_rate": model.sample_rate,
        "size_bytes": model.size_bytes,
        "folder": str(model.folder) if model.folder else None,
    }


def _both(name: str, model_id: str) -> str:
    return model_id if name == model_id else f"{model_id} ({name})"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# --- Jobs ---


@app.command()
def job(
    file: Annotated[Path, typer.Argument(help='A JSON file: {"input": {"path": "/v1/models"}}.')],
    url: Annotated[str | None, typer.Option(help="A server that runs; without it one is started for the job.")] = None,
) -> None:
    """Work on one job as the Runpod worker does. Long results go into the folder out/."""
    settings = load_settings()
    from speaches.worker.harness import OUT, save
    from speaches.worker.once import run_file
    from speaches.worker.server import ServerFailed

    try:
        output = run_file(file, settings, base_url=url)
    except ServerFailed as error:
        sys.exit(f"speaches: {error}")
    short = shorten(output)
    print(json.dumps(short, indent=2, ensure_ascii=False))
    if isinstance(output, dict) and "error" in output:
        raise typer.Exit(1)
    if short != output:
        path, size = save(output, OUT, file.stem)
        print(f"The whole result, {size:,} bytes, is in {path}", file=sys.stderr)


def shorten(value: Any) -> Any:
    """A result that a person can read: long strings end in their length."""
    match value:
        case str() if len(value) > SHOWN_CHARS:
            return f"{value[:SHOWN_CHARS]}... ({len(value):,} characters)"
        case dict():
            return {key: shorten(part) for key, part in value.items()}
        case list():
            return [shorten(part) for part in value]
        case _:
            return value


# --- Settings ---


def load_settings(**given: Any) -> Settings:
    """The settings of the environment, and those given on the command line. Exits with what is wrong with them."""
    from pydantic import ValidationError

    from speaches.settings import Settings, warn_of_old_names

    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        sys.exit("\n".join(["speaches: these settings can't be used:", *explain(error)]))
    except OSError as error:  # MODEL_ALIASES may name a file
        sys.exit(f"speaches: a file that the settings name can't be read: {error}")
    warn_of_old_names(os.environ)
    return settings


def explain(error: ValidationError) -> list[str]:
    """A line for each setting: its name, what it was and what it may be."""
    lines = []
    for problem in error.errors(include_url=False):
        name = "__".join(str(part) for part in problem["loc"]).upper()
        secret = any(word in name for word in ("KEY", "TOKEN", "SECRET"))
        value = "" if secret else f" is {problem['input']!r}"
        why = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
        lines.append(f"  {name}{value}: {why}")
    return lines

"""Makes the clients' environments, serves, runs each client's script, and prints a table. Exits 1 when anything failed."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.clients.server import problems, running

HERE = Path(__file__).parent
LONGEST = 300  # seconds until a script that hangs is a failure


@dataclass(frozen=True)
class Client:
    """A script, and what it tries."""

    script: str
    environment: str
    """A file of `requirements/`, or js."""
    package: str
    """Whose version is shown."""


CLIENTS = {
    "sdk": Client("sdk.py", "sdk", "openai"),
    "agents-realtime": Client("agents_realtime.py", "agents", "openai-agents"),
    "agents-voice": Client("agents_voice.py", "agents", "openai-agents"),
    "pipecat": Client("pipecat_services.py", "pipecat", "pipecat-ai"),
    "livekit": Client("livekit_services.py", "livekit", "livekit-plugins-openai"),
    "js-agents": Client("agents_realtime.mjs", "js", "@openai/agents"),
    "js-ai-sdk": Client("ai_sdk.mjs", "js", "ai"),
    "js-browser": Client("browser.mjs", "js", "ws"),
    "js-node-sdk": Client("node_sdk.mjs", "js", "openai"),
    "guides": Client("guides.py", "sdk", "openai"),
    "js-guides": Client("guides.mjs", "js", "ws"),
}


@dataclass(frozen=True)
class Row:
    client: str
    check: str
    seconds: float
    problem: str | None


def main() -> None:
    parser = argparse.ArgumentParser("scripts/clients/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CLIENTS)}; all by default")
    names = parser.parse_args().names or list(CLIENTS)
    if unknown := set(names) - CLIENTS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CLIENTS)}")
    rows: list[Row] = []
    with _folder() as environments, tempfile.TemporaryDirectory() as recordings:
        for environment in dict.fromkeys(CLIENTS[name].environment for name in names):
            _make(environments / environment, environment)
        with running(Path(recordings)) as environ:
            for name in names:
                rows += _run(name, CLIENTS[name], environments, environ)
        rows += [Row("server", "its log", 0.0, line) for line in problems(Path(recordings))]
    _print(rows)
    sys.exit(any(row.problem for row in rows))


@contextmanager
def _folder() -> Iterator[Path]:
    if given := os.environ.get("CLIENTS"):
        Path(given).mkdir(parents=True, exist_ok=True)
        yield Path(given).resolve()
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)


# --- Their environments ---


def _make(folder: Path, environment: str) -> None:
    """Install what the client needs, unless that was done before."""
    needs = HERE / ("js/package.json" if environment == "js" else f"requirements/{environment}.txt")
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == needs.read_text():
        return
    print(f"Installing {environment} ...", file=sys.stderr, flush=True)
    folder.mkdir(exist_ok=True)
    if environment == "js":
        (folder / "package.json").write_text(needs.read_text())
        _do("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent", folder=folder)
    else:
        _do(sys.executable, "-m", "venv", str(folder))
        _do(str(folder / "bin/python"), "-m", "pip", "install", "-qq", "--requirement", str(needs))
    stamp.write_text(needs.read_text())


def _do(*command: str, folder: Path | None = None) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    except FileNotFoundError:
        sys.exit(f"{command[0]} is not here; the JavaScript clients need Node.js 20 or newer.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(command)} failed with {error.returncode}.")


def _version(client: Client, folder: Path) -> str:
    if client.environment == "js":
        package = folder / "node_modules" / client.package / "package.json"
        return str(json.loads(package.read_text())["version"])
    code = f"from importlib.metadata import version; print(version({client.package!r}))"
    return _do(str(folder / "bin/python"), "-c", code).strip()


# --- Running them ---


def _run(name: str, client: Client, environments: Path, environ: dict[str, str]) -> list[Row]:
    """What a client's script prints of each of its checks; the rest of its output goes on to ours."""
    folder = environments / client.environment
    label = f"{name} {_version(client, folder)}"
    print(f"Running {label} ...", file=sys.stderr, flush=True)
    if client.environment == "js":
        # Node looks for packages beside the script that imports them.
        for script in (HERE / "js").glob("*.mjs"):
            (folder / script.name).write_text(script.read_text())
        command = ["node", str(folder / client.script)]
    else:
        command = [str(folder / "bin/python"), str(HERE / client.script)]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "PYTHON"))}
    try:
        done = subprocess.run(command, env={**clean, **environ}, stdout=subprocess.PIPE, text=True, timeout=LONGEST)
        output, problem = done.stdout, f"exit code {done.returncode}" if done.returncode else None
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        problem = f"not done after {LONGEST} s"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"check":')]
    rows = [Row(label, line["check"], line["seconds"], line["problem"]) for line in lines]
    if not rows or (problem and not any(row.problem for row in rows)):
        rows.append(Row(label, "the script as a whole", 0.0, problem or "it checked nothing"))
    return rows


def _print(rows: list[Row]) -> None:
    print("| client | what it did | seconds | |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.client} | {row.check} | {row.seconds} | {row.problem or 'ok'} |")


if __name__ == "__main__":
    main()

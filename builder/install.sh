#!/usr/bin/env bash
# What the images are built with: `builder/install.sh cpu` or `gpu` fills the virtual environment VENV with exactly what the lock files name.
#
# onnxruntime-gpu and onnxruntime are two packages with the same files. Installed together, each has overwritten part of the other, and
# the import breaks or stays on the CPU. So the one goes before the other comes, and nothing is asked to bring its dependencies:
# faster-whisper, kokoro-onnx and piper-tts name `onnxruntime`, which would bring it back.
set -euo pipefail
cd "$(dirname "$0")"
variant=${1:-}
venv=${VENV:-/opt/venv}

case $variant in
cpu) other=onnxruntime-gpu wanted=$(cat requirements.txt) ;;
gpu) other=onnxruntime wanted=$(grep -v '^onnxruntime==' requirements.txt && cat requirements-gpu.txt) ;;
*) echo "usage: $0 cpu|gpu" >&2 && exit 2 ;;
esac

[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
python=$venv/bin/python
"$python" -m pip uninstall -qq --yes "$other"
"$python" -m pip install -qq --no-deps -r <(echo "$wanted")

# Nothing may be missing or of a wrong version, but for the name under which onnxruntime-gpu is not known.
if problems=$("$python" -m pip check | grep -v -e 'requires onnxruntime, which is not installed' -e '^No broken requirements'); then
    echo "$problems" >&2 && exit 1
fi
"$python" check_onnxruntime.py "$variant"

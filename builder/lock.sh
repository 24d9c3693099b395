#!/usr/bin/env bash
# Write requirements.txt and requirements-gpu.txt anew, from the ranges in pyproject.toml and what the registry has today.
# Made with the images' Python (3.12 of Ubuntu 24.04); where that is another one: PYTHON=/path/to/python3.12 builder/lock.sh
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.12}" -m venv "$folder/venv"
python=$folder/venv/bin/python

resolve() { # what pip would install, as name==version
    "$python" -m pip install -qq --dry-run --ignore-installed --report "$folder/report.json" "$@"
    "$python" - "$folder/report.json" <<'PYTHON'
import json, re, sys
found = [package["metadata"] for package in json.load(open(sys.argv[1]))["install"]]
print("\n".join(sorted(f"{re.sub('[-_.]+', '-', p['name']).lower()}=={p['version']}" for p in found if p["name"] != "speaches")))
PYTHON
}

# numpy 2.5 wants Python 3.12 or later: without this, CI could not try the lock with 3.11.
echo "numpy<2.5" >"$folder/constraints"
resolve -c "$folder/constraints" ".[runpod]" >"$folder/cpu"
{
    echo "# All that the images are built with, made by builder/lock.sh; install.sh installs it with --no-deps."
    cat "$folder/cpu"
} >builder/requirements.txt

# The CUDA libraries are of the generation that onnxruntime-gpu is built for, which is also the base image's.
resolve -c "$folder/cpu" "onnxruntime-gpu>=1.24,<1.27" "nvidia-cuda-runtime-cu12==12.8.*" "nvidia-cuda-nvrtc-cu12==12.8.*" \
    "nvidia-cublas-cu12==12.8.*" "nvidia-cufft-cu12==11.3.3.*" "nvidia-curand-cu12==10.3.9.*" "nvidia-cudnn-cu12==9.10.*" \
    "nvidia-nvjitlink-cu12==12.8.*" >"$folder/gpu"
{
    echo "# What the GPU image has besides requirements.txt, made by builder/lock.sh; onnxruntime-gpu takes the place of onnxruntime."
    grep -vxFf "$folder/cpu" "$folder/gpu"
} >builder/requirements-gpu.txt

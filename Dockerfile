# syntax=docker/dockerfile:1
#
#   docker build --platform linux/amd64 -t speaches .                        GPU (CUDA 12, cuDNN 9)
#   docker build --build-arg VARIANT=cpu -t speaches:cpu .                   CPU
#   docker build --build-arg MODELS="owner/name owner/other" ... .           with models inside; private ones by --secret id=HF_TOKEN
#
# `docker run speaches` runs the job in test_input.json, as a Runpod queue worker takes its jobs from Runpod when there.
# Another command: `docker run -p 8000:8000 speaches speaches serve` is the plain server (compose.yaml).
ARG VARIANT=gpu

# CUDA 12 because CTranslate2 loads libcublas.so.12; onnxruntime-gpu has to be of before 1.27 for the same reason. The libraries come as
# wheels, locked in builder/requirements-gpu.txt: cuBLAS, cuDNN, cuFFT, cuRAND and NVRTC are 1.6 GB to pull. NVIDIA's cudnn-runtime image
# brings those and cuSOLVER, cuSPARSE, NPP and NCCL, over 1 GB more on each cold host, which nothing here loads.
# .runpod/hub.json allows the hosts from this CUDA version on; tests/deploy compares the two.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04 AS base-gpu

FROM ubuntu:24.04 AS base-cpu
# Runpod's SDK refuses to start with less than 4 GB free, which small CPU workers don't have.
ENV RUNPOD_MIN_MEMORY_GB=1


FROM ubuntu:24.04 AS build
ARG VARIANT
# A compiler for what has no wheel (pocketsphinx on Python 3.12). It stays in this stage.
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-dev python3-venv build-essential \
    && rm -rf /var/lib/apt/lists/*
COPY builder/requirements.txt builder/requirements-gpu.txt builder/install.sh builder/check_onnxruntime.py /build/builder/
RUN --mount=type=cache,target=/var/cache/pip \
    PIP_CACHE_DIR=/var/cache/pip bash /build/builder/install.sh "$VARIANT" \
    && /opt/venv/bin/python -m pip uninstall -qq --yes pip \
    && { /opt/venv/bin/python -m compileall -qq -j 0 /opt/venv/lib || true; }  # a package may carry files of another Python


FROM build AS models
ARG MODELS=""
COPY builder/fetch_models.py /build/builder/
COPY speaches /build/speaches
# Into /models/baked, which MODEL_DIRS names below. Without MODELS it makes an empty folder.
RUN --mount=type=secret,id=HF_TOKEN \
    HF_TOKEN=$(cat /run/secrets/HF_TOKEN 2>/dev/null || true) MODELS=$MODELS PYTHONPATH=/build \
    /opt/venv/bin/python /build/builder/fetch_models.py


# hadolint ignore=DL3006
FROM base-${VARIANT}
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 speaches \
    && install -d -o speaches /models
COPY --from=build /opt/venv /opt/venv
# Where CTranslate2 and ONNX Runtime find the CUDA libraries. In the CPU image there are none.
RUN find /opt/venv/lib -path '*/nvidia/*/lib' -type d > /etc/ld.so.conf.d/speaches.conf && ldconfig
COPY --from=models --chown=speaches /models /models
WORKDIR /app
COPY --chmod=755 builder/entrypoint.sh /usr/local/bin/entrypoint
COPY handler.py test_input.json LICENSE ./
COPY speaches speaches
RUN printf '#!/bin/sh\nexec python -m speaches "$@"\n' > /usr/local/bin/speaches \
    && chmod 755 /usr/local/bin/speaches \
    && /opt/venv/bin/python -m compileall -q handler.py speaches \
    && install -d -o speaches out

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MODEL_DIRS=/models/baked \
    UVICORN_HOST=0.0.0.0 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    RUNPOD_LOG_LEVEL=INFO

# 8000: the plain server. 80: WORKER_MODE=http, where Runpod expects it. A queue worker listens on loopback only.
EXPOSE 8000 80

# No HEALTHCHECK: a queue worker has no port to ask, and Runpod reads none. compose.yaml has the plain server's.
# tini is PID 1: it reaps, and passes signals on to the whole group. The entrypoint gives up root where it can.
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "entrypoint"]
CMD ["python", "-u", "handler.py"]

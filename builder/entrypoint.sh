#!/bin/bash
# Decide where models are kept and who runs the program, then become it.
set -eu

# Downloaded models go to the network volume where one is attached, so that the next worker has them; else to /models, which compose.yaml
# keeps. Never to a folder that can't be written: Runpod may mount its cached models read-only. What is there is found all the same.
if [ -z "${HF_HUB_CACHE:-}${HF_HOME:-}" ]; then
    HF_HUB_CACHE=/models/hub
    if [ -d /runpod-volume ] && mkdir -p /runpod-volume/huggingface-cache/hub 2>/dev/null && [ -w /runpod-volume/huggingface-cache/hub ]; then
        HF_HUB_CACHE=/runpod-volume/huggingface-cache/hub
    fi
    export HF_HUB_CACHE
fi

# A user of its own, unless that would break something: Runpod's network volumes belong to root, and a load-balancing endpoint asks on
# port 80, which Docker lets every user have but other runtimes may not.
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid speaches --regid speaches --init-groups --no-new-privs)
    port=65535
    if [ "${WORKER_MODE:-queue}" = http ]; then port=${PORT:-80}; fi
    cache=${HF_HUB_CACHE:-$HF_HOME}
    if ! "${as_user[@]}" mkdir -p "$cache" 2>/dev/null || ! "${as_user[@]}" test -w "$cache"; then
        echo "Running as root: $cache is not open to others." >&2
    elif [ "$port" -lt "$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)" ]; then
        echo "Running as root: port $port is not open to others." >&2
    else
        export HOME=/home/speaches
        exec "${as_user[@]}" "$@"
    fi
fi
exec "$@"

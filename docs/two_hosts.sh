#!/usr/bin/env bash
# Two hosts with addresses of their own form a cluster and finish a search: two network namespaces joined by a virtual cable.
#
#     sudo bash docs/two_hosts.sh DATA TARGET [words for fit]
#
# Each host sees only its own loopback and its end of the cable, and has its own run folder for what Ray leaves. The cluster asks
# for a token. What they share is the file system, as hosts that mount one do.
set -euo pipefail
data=$1 target=$2
shift 2
bin="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin"
place=$(mktemp -d /tmp/hosts.XXXX)

on() { # HOST COMMAND...
    local host=$1
    shift
    ip netns exec "$host" env PATH="$bin:$PATH" HOME="$place/$host" RAY_AUTH_MODE=token RAY_AUTH_TOKEN="$token" \
        RAY_USAGE_STATS_ENABLED=0 "$@"
}

stop() {
    kill %% 2>/dev/null || true
    for host in left right; do
        ip netns pids "$host" 2>/dev/null | xargs --no-run-if-empty kill -9 2>/dev/null || true
        ip netns del "$host" 2>/dev/null || true
    done
    rm -rf "$place"
}

token=$(od --address-radix=n --format=x1 --read-bytes=32 /dev/urandom | tr -d ' \n')
trap stop EXIT
for host in left right; do
    mkdir -p "$place/$host"
    ip netns add "$host"
    ip -n "$host" link set lo up
done
ip link add cable netns left type veth peer name cable netns right
ip -n left addr add 10.77.0.1/24 dev cable
ip -n right addr add 10.77.0.2/24 dev cable
ip -n left link set cable up
ip -n right link set cable up

one=(--num-cpus=1 --object-store-memory=100000000 --disable-usage-stats)
on left ray start --head --node-ip-address=10.77.0.1 --port=6379 --dashboard-host=127.0.0.1 --temp-dir="$place/l" "${one[@]}" >/dev/null
on right ray start --address=10.77.0.1:6379 --node-ip-address=10.77.0.2 "${one[@]}" >/dev/null
on left python - <<'PYTHON'
import ray

ray.init(address="10.77.0.1:6379", log_to_driver=False, logging_level="ERROR")
for node in ray.nodes():
    print(f"host {node['NodeManagerAddress']}: {node['Resources'].get('CPU', 0):.0f} CPU, alive={node['Alive']}")
PYTHON
echo "without the token, from the other host:"
ip netns exec right env PATH="$bin:$PATH" HOME="$place/nobody" \
    fusion-automl fit "$data" --target "$target" --engine ray --address 10.77.0.1:6379 --out "$place/refused" --budget 30s || true
echo "with it:"
while sleep 1; do
    for host in left right; do ip netns pids "$host" >>"$place/$host.pids" 2>/dev/null; done
done &
on left fusion-automl fit "$data" --target "$target" --engine ray --address 10.77.0.1:6379 --out "$place/run" "$@"
echo "processes that ran trials, by host:"
for host in left right; do
    pids=$(sort --unique "$place/$host.pids" | paste --serial --delimiters='|')
    echo "$host: $(grep -cE "^[^ ]+ [^ ]+ ($pids) .* (done|pruned) " "$place/run/worker.log" || true) trials"
done

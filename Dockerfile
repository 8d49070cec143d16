# syntax=docker/dockerfile:1
# The stream-al command in a small image: no compiler, no pip cache, no root.
#   docker build --tag stream-al:0.1.0 .
# For production pin the base by digest as well: --build-arg PYTHON=3.11-slim-bookworm@sha256:...
ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
# an environment of its own is one directory to copy; without pip in it, nothing can be installed later
RUN python -m venv --without-pip /opt/stream-al
WORKDIR /src
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --root-user-action=ignore --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY stream_al stream_al
COPY consumers consumers
COPY schemas schemas
# every dependency has wheels for Linux: --only-binary makes a missing one an error, not a long compilation
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m hatchling build -t wheel -d /dist \
    && pip --python /opt/stream-al/bin/python install \
       --only-binary=:all: --constraint constraints.txt /dist/*.whl

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="stream-al" \
      org.opencontainers.image.description="Streaming active learning with an exact label budget" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/stream-al/bin:$PATH \
    HOME=/var/lib/stream-al \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# A fixed uid, so that volumes and runAsUser agree on it. The directories exist and are ours because a new
# named volume takes over the owner of the directory that it is mounted on.
RUN groupadd --system --gid 10001 stream-al \
    && useradd --system --uid 10001 --gid 10001 --no-create-home \
       --home-dir /var/lib/stream-al --shell /usr/sbin/nologin stream-al \
    && install --directory --owner=10001 --group=10001 --mode=0750 \
       /var/lib/stream-al /var/lib/stream-al/bases /var/lib/stream-al/data /var/lib/stream-al/secrets
COPY --from=build /opt/stream-al /opt/stream-al
# numeric, so that Kubernetes can see that it is not root
USER 10001:10001
WORKDIR /var/lib/stream-al
EXPOSE 8420
# `serve` finishes its batch, commits and writes a base on SIGTERM
STOPSIGNAL SIGTERM
# for `serve`; the one-shot commands and simulated people have no port, so compose disables it there
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('STREAM_AL__HTTP__PORT', '8420') + '/livez', timeout=4)"]
ENTRYPOINT ["stream-al"]
CMD ["serve"]

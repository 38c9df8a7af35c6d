# Three images; docs/containers.md has the run lines.
#   docker build --build-arg BASE=IMAGE --tag trtbench:gpu .        decoders: on NVIDIA's Triton + TensorRT-LLM image, the default
#   docker build --target encoder --build-arg ENCODER_BASE=IMAGE --tag trtbench:encoder .   encoders by TensorRT: on NVIDIA's Triton image
#   docker build --target cpu --tag trtbench:cpu .                  Triton and OpenVINO on a slim Python image; x86-64 alone
# Only the base that a target needs is pulled. Credentials of a package index: --secret id=pip,src=pip.conf, which leaves no trace in
# a layer; there is none to give as ARG or ENV.

# With the name of your registry before them. BASE is the last image with TensorRT engines (docs/containers.md has the others).
ARG BASE=tritonserver:26.07-trtllm-python-py3
ARG ENCODER_BASE=tritonserver:26.10-py3
ARG CPU_BASE=python:3.11-slim-bookworm

FROM ${CPU_BASE} AS cpu-packages
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt requirements-nodeps.txt ./
COPY engines engines
COPY model_repo model_repo
COPY scenarios scenarios
COPY trtbench trtbench
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 -m venv /opt/trtbench \
    && /opt/trtbench/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu]' \
    && /opt/trtbench/bin/pip install --no-cache-dir --no-deps --requirement requirements-nodeps.txt

FROM ${CPU_BASE} AS cpu
COPY --from=cpu-packages /opt/trtbench /opt/trtbench
# For the figures of Chinese reports, and for scenarios with a load balancer; the versions are the base's matter.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends fonts-noto-cjk haproxy && rm -rf /var/lib/apt/lists/*
RUN useradd --no-log-init --uid 10001 --user-group --home-dir /cache --shell /usr/sbin/nologin bench \
    && install -d -o bench -g bench /work/runs /work/engines /work/engines/built /cache \
    && ln -s /opt/trtbench/bin/trtbench /usr/local/bin/trtbench
# Everything that is written lies in a volume, so that the root file system can be read-only and the user any number.
ENV HOME=/cache USER=bench XDG_CACHE_HOME=/cache XDG_STATE_HOME=/cache/state PYTHONUNBUFFERED=1
VOLUME ["/work/runs", "/work/engines/built", "/cache"]
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["/opt/trtbench/bin/trtbench"]
CMD ["--help"]

FROM ${ENCODER_BASE} AS encoder-packages
# NVIDIA's images may name another user; only this stage, which is not shipped, is root's to the end.
# hadolint ignore=DL3002
USER 0
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY engines engines
COPY model_repo model_repo
COPY scenarios scenarios
COPY trtbench trtbench
COPY scripts/install_beside.py scripts/gpu_entry.sh scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 scripts/install_beside.py /opt/trtbench --extra tensorrt \
    && install scripts/gpu_entry.sh /opt/trtbench/bin/trtbench-gpu

FROM ${ENCODER_BASE} AS encoder
COPY --from=encoder-packages /opt/trtbench /opt/trtbench
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends fonts-noto-cjk haproxy && rm -rf /var/lib/apt/lists/*
RUN useradd --no-log-init --uid 10001 --user-group --home-dir /cache --shell /usr/sbin/nologin bench \
    && install -d -o bench -g bench /work/runs /work/engines /work/engines/built /cache \
    && ln -s /opt/trtbench/bin/trtbench-gpu /usr/local/bin/trtbench
ENV HOME=/cache USER=bench XDG_CACHE_HOME=/cache XDG_STATE_HOME=/cache/state PYTHONUNBUFFERED=1
VOLUME ["/work/runs", "/work/engines/built", "/cache"]
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["/opt/trtbench/bin/trtbench-gpu"]
CMD ["--help"]

FROM ${BASE} AS gpu-packages
# NVIDIA's images may name another user; only this stage, which is not shipped, is root's to the end.
# hadolint ignore=DL3002
USER 0
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY engines engines
COPY model_repo model_repo
COPY scenarios scenarios
COPY trtbench trtbench
COPY scripts/install_beside.py scripts/gpu_entry.sh scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python3 scripts/install_beside.py /opt/trtbench \
    && install scripts/gpu_entry.sh /opt/trtbench/bin/trtbench-gpu

FROM ${BASE} AS gpu
COPY --from=gpu-packages /opt/trtbench /opt/trtbench
USER 0
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends fonts-noto-cjk haproxy && rm -rf /var/lib/apt/lists/*
RUN useradd --no-log-init --uid 10001 --user-group --home-dir /cache --shell /usr/sbin/nologin bench \
    && install -d -o bench -g bench /work/runs /work/engines /work/engines/built /cache \
    && ln -s /opt/trtbench/bin/trtbench-gpu /usr/local/bin/trtbench
ENV HOME=/cache USER=bench XDG_CACHE_HOME=/cache XDG_STATE_HOME=/cache/state PYTHONUNBUFFERED=1
VOLUME ["/work/runs", "/work/engines/built", "/cache"]
WORKDIR /work
USER 10001:10001
ENTRYPOINT ["/opt/trtbench/bin/trtbench-gpu"]
CMD ["--help"]

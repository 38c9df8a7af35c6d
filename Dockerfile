# CPU image by default: the embedded Triton and OpenVINO engines.
#   docker build -t trtbench . && docker run --rm -v "$PWD/runs:/work/runs" -v trtbench-cache:/cache trtbench serve-and-bench quickstart
# On GPU nodes, on top of NVIDIA's Triton + TensorRT-LLM image, whose own Triton and packages are used:
#   docker build -t trtbench-gpu --build-arg BASE=IMAGE --build-arg EXTRA= .   then run it with --gpus all
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG EXTRA=cpu

WORKDIR /src
COPY . .
# The environment sees the base image's packages, so that on NVIDIA's image nothing that TensorRT-LLM needs is replaced.
RUN python3 -m venv --system-site-packages /opt/trtbench \
    && if [ "$EXTRA" = cpu ]; then \
        /opt/trtbench/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu]' \
        && /opt/trtbench/bin/pip install --no-cache-dir --no-deps --requirement requirements-nodeps.txt; \
    else \
        /opt/trtbench/bin/pip install --no-cache-dir .; \
    fi \
    && useradd --create-home bench \
    && mkdir -p /work/runs /work/engines/built /cache \
    && chown -R bench: /work /cache

USER bench
WORKDIR /work
ENV XDG_CACHE_HOME=/cache PYTHONUNBUFFERED=1
VOLUME ["/work/runs", "/cache"]
ENTRYPOINT ["/opt/trtbench/bin/trtbench"]
CMD ["--help"]

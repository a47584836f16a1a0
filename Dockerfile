# One image for every service of compose.yaml: code server, webserver, daemon and search differ by their command.
#
#   docker build -t cir_assets .                                # torch as the registry has it: CUDA along
#   docker build -t cir_assets --build-arg TORCH_INDEX=… .      # from an index of torch built for the CPU: 2 GB less
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS built
ARG TORCH_INDEX=""
WORKDIR /source
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python -m venv /opt/cir_assets
ENV PATH=/opt/cir_assets/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch; \
    fi
COPY cir_assets cir_assets
RUN pip install --constraint constraints.txt '.[service,heif]' \
    && find /opt/cir_assets -name __pycache__ -prune -exec rm -r {} +

FROM python:${PYTHON}-slim
RUN useradd --uid 10001 --create-home --home-dir /srv/cir_assets --shell /usr/sbin/nologin cir_assets \
    && mkdir /srv/cir_assets/storage \
    && chown cir_assets: /srv/cir_assets/storage
COPY --from=built /opt/cir_assets /opt/cir_assets
ENV PATH=/opt/cir_assets/bin:$PATH \
    DAGSTER_HOME=/srv/cir_assets/storage \
    PYTHONUNBUFFERED=1
USER 10001
WORKDIR /srv/cir_assets
VOLUME /srv/cir_assets/storage
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8765/healthz', timeout=4)"]
CMD ["cir-assets", "serve", "--host", "0.0.0.0"]

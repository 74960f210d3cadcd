# One image for operator, webhook and sidecar. Builds with docker and with buildah.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS build
# Set where the machine's package index is behind a proxy with roots of its own; nothing of it stays in the image.
ARG PIP_CERT=
ARG SSL_CERT_FILE=
ARG REQUESTS_CA_BUNDLE=
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==0.13.8
WORKDIR /src
COPY pyproject.toml uv.lock README.md LICENSE ./
# The locked dependencies first: they change less often than the code. Wheels only, so no compiler is needed.
RUN python3 -m venv --without-pip /opt/toolpolicy \
 && VIRTUAL_ENV=/opt/toolpolicy UV_NO_BUILD_PACKAGE=1 /opt/uv/bin/uv sync --active --frozen --no-dev --no-install-project \
    --extra sidecar --extra operator --no-cache --link-mode copy --no-managed-python
COPY crds crds
COPY sidecar sidecar
COPY operator operator
RUN VIRTUAL_ENV=/opt/toolpolicy /opt/uv/bin/uv sync --active --frozen --no-dev --no-editable --extra sidecar --extra operator \
    --no-cache --link-mode copy --no-managed-python \
 && python3 -m compileall -q -j 0 /opt/toolpolicy/lib

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib ca-certificates \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/doc /usr/share/man
COPY --from=build /opt/toolpolicy /opt/toolpolicy
ENV PATH=/opt/toolpolicy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["toolpolicy"]

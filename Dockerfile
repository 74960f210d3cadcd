# One image for operator, webhook and sidecar. Builds with docker and with buildah.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# Set where the machine's package index is behind a proxy with roots of its own; nothing of it stays in the image.
ARG PIP_CERT=
ARG SSL_CERT_FILE=
ARG REQUESTS_CA_BUNDLE=
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv ca-certificates binutils
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir --quiet uv==0.13.8
WORKDIR /src
ENV VIRTUAL_ENV=/opt/toolpolicy UV_FROZEN=1 UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_PREFERENCE=only-system
COPY pyproject.toml uv.lock README.md LICENSE ./
# The locked dependencies first: they change less often than the code. Wheels only, so no compiler is needed.
# Then what nobody needs at run time goes: symbols, and the asynchronous twin of the kubernetes client.
RUN python3 -m venv --without-pip /opt/toolpolicy \
 && /opt/uv/bin/uv sync --active --no-dev --no-install-project --no-build --extra sidecar --extra operator --extra cli \
 && rm -r /opt/toolpolicy/lib/python3*/site-packages/kubernetes/aio \
 && find /opt/toolpolicy -name '*.so' -exec strip --strip-unneeded {} + \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/toolpolicy/lib
COPY crds crds
COPY sidecar sidecar
COPY operator operator
RUN /opt/uv/bin/uv sync --active --no-dev --no-editable --inexact --extra sidecar --extra operator --extra cli \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/toolpolicy/lib/python3*/site-packages/toolpolicy_*

FROM ${BASE}
# Debian compiles its standard library only with the full python3; on a read-only root Python never would.
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib ca-certificates nftables \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /usr/lib/python3.* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* /usr/share/doc /usr/share/man
COPY --from=build /opt/toolpolicy /opt/toolpolicy
ENV PATH=/opt/toolpolicy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["toolpolicy"]

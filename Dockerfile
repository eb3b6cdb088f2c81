# Pillarbox in one process: `docker run -p 127.0.0.1:2525:2525 -p 127.0.0.1:8000:8000 -v mail:/data …`
#
# The queue, the admin token and the key that seals passwords are under /data. The admin token is
# made at the first start; read it with `docker exec … cat /data/default/api_token`, or bring your
# own in PILLARBOX_API_TOKEN. Each secret can be a file: the same name with _FILE at its end.
#
# Mail is written to /data only, so it runs with `--read-only --tmpfs /tmp`. `docker stop --time 120`
# lets it finish what is under way. Everything it needs comes as wheels, for amd64 and for arm64:
# `docker buildx build --platform linux/amd64,linux/arm64 .`

ARG PYTHON_VERSION=3.11

FROM docker.io/library/python:${PYTHON_VERSION}-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY relay relay
COPY admin_api admin_api
COPY cli cli
RUN pip wheel --no-deps --wheel-dir /wheels .
# Our own wheel, with what cloud storages need; Sanic asks for setuptools and does not use it.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/pillarbox \
    && wheel=$(echo /wheels/*.whl) \
    && pip --python /opt/pillarbox/bin/python install --only-binary=:all: "${wheel}[storage]" \
    && pip --python /opt/pillarbox/bin/python uninstall --yes setuptools

FROM docker.io/library/python:${PYTHON_VERSION}-slim-bookworm
ARG VERSION=0.1.0
ARG REVISION=
# aioimaplib is GPL-3.0, so an image that carries it is conveyed under its terms.
LABEL org.opencontainers.image.title="Pillarbox" \
      org.opencontainers.image.description="A drop-in SMTP relay with a durable queue" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-3.0-only" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What the base image brings for installing packages is of no use to a relay.
RUN rm -rf /usr/local/lib/python3.*/site-packages/* /usr/local/lib/python3.*/ensurepip \
           /usr/local/bin/pip* \
    && groupadd --gid 10001 pillarbox \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data \
               --shell /usr/sbin/nologin pillarbox \
    && install --directory --mode 0700 --owner 10001 --group 10001 /data
COPY --from=build /opt/pillarbox /opt/pillarbox

# Inside a container every address but loopback counts as the network, so this image has to say what
# a bare `pillarbox serve` refuses to assume: logins in clear are allowed, because only those to whom
# you publish the port can reach it. Before you publish it beyond this host, give a certificate
# (PILLARBOX_TLS_CERT, PILLARBOX_TLS_KEY) and set PILLARBOX_SMTP_REQUIRE_TLS=true.
ENV PATH=/opt/pillarbox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PILLARBOX_HOME=/data \
    PILLARBOX_HTTP_LISTEN=0.0.0.0:8000 \
    PILLARBOX_SMTP_LISTEN=0.0.0.0:2525 \
    PILLARBOX_SMTP_REQUIRE_TLS=false

USER 10001:10001
VOLUME /data
EXPOSE 2525 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as http; http.urlopen('http://127.0.0.1:' + os.environ['PILLARBOX_HTTP_LISTEN'].rpartition(':')[2] + '/ready', timeout=4)"]
ENTRYPOINT ["pillarbox"]
CMD ["serve"]

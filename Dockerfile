# The image has Python and one virtualenv, and runs as nobody in particular on a root that may be read-only.
# Nothing in here is of one architecture: `docker buildx build --platform linux/amd64,linux/arm64 .`
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
# With the packages as files in a folder `wheels`, and PIP_NO_INDEX=1, the build asks nobody for anything.
ARG PIP_NO_INDEX=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_FIND_LINKS=/locked
WORKDIR /source
# pip and what builds the project stay in a virtualenv of their own, which is left behind.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/meter
COPY requirements/run.txt requirements/demo.txt wheel[s] /locked/
RUN /build/bin/pip install --quiet --no-compile --require-hashes --requirement /locked/demo.txt \
 && /build/bin/pip --python /opt/meter/bin/python install --quiet --no-compile --require-hashes --requirement /locked/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY meter meter
# What is left is what runs. Its bytecode is not checked against the sources, as the times of files may differ by then.
RUN /build/bin/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir /wheel . \
 && /build/bin/pip --python /opt/meter/bin/python install --quiet --no-compile --no-index --no-deps /wheel/*.whl \
 && find /opt/meter/lib -type d '(' -name tests -o -name testing ')' -prune -exec rm -r '{}' + \
 && find /opt/meter/bin -type f ! -name meter -delete \
 && /opt/meter/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/meter/lib \
 && install -d -m 0700 /state/meter

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="Meter" \
      org.opencontainers.image.description="A proxy that meters OpenAI-compatible traffic" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/meter /opt/meter
COPY --from=build --chown=65532:65532 /state /var/lib
# The admin port is set where the health check reads it, so that the two agree; a variable wins over a settings file.
ENV PATH=/opt/meter/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_STATE_HOME=/var/lib/meter \
    METER_HOST=0.0.0.0 \
    METER_ADMIN_HOST=0.0.0.0 \
    METER_ADMIN_PORT=9464
USER 65532:65532
# The ledger and the temporary files of SQLite go here, so the rest can be read-only.
WORKDIR /var/lib/meter
VOLUME /var/lib/meter
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
# Any answer is a sign of life: with a token set, it may be 401.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-Ic", "import os; from http.client import HTTPConnection; admin = HTTPConnection(os.environ['METER_ADMIN_HOST'], int(os.environ['METER_ADMIN_PORT']), timeout=4); admin.request('GET', '/healthz'); admin.getresponse()"]
ENTRYPOINT ["meter"]
CMD ["serve"]

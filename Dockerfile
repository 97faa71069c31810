# One image for every service; compose says which one a container runs. For a build that can be repeated to the
# byte, pin the base by its digest: FROM python:3.11-slim@sha256:...
FROM python:3.11-slim AS build

WORKDIR /src
COPY requirements-services.lock requirements-build.lock ./
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes --requirement requirements-build.lock
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes --requirement requirements-services.lock

COPY pyproject.toml README.md ./
COPY events ./events
COPY services ./services
RUN /build/bin/python -m hatchling build --target wheel --directory /wheels \
 && /venv/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.11-slim

# The files of the image can't be written; Python would try to note what it has compiled.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp
COPY --from=build /venv /venv
# What a node of the api keeps between runs: a volume that is mounted here gets this owner.
RUN mkdir -m 700 /var/lib/hokusai && chown 10001:10001 /var/lib/hokusai

# By number, so that an orchestrator can see that it is not root.
USER 10001:10001

ENTRYPOINT ["/venv/bin/hokusai-auth"]
CMD ["--help"]

# One image for every service; compose says which one a container runs.
FROM python:3.11-slim

WORKDIR /srv/hokusai-auth
COPY requirements-services.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-services.lock

COPY pyproject.toml README.md ./
COPY events ./events
COPY services ./services
RUN pip install --no-cache-dir --no-deps .

RUN useradd --system hokusai
USER hokusai

ENTRYPOINT ["hokusai-auth"]
CMD ["--help"]

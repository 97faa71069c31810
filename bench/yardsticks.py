"""What we are measured against, each a server of its own:
`python -m bench.yardsticks PORT WORKERS NAME FILE [URL]`.

FILE holds a real answer of ours, URL is a database with the table `naive_key`. All run under the very
settings that `services/api/__main__.py` gives uvicorn.
"""

from __future__ import annotations

import asyncio
import functools
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import bcrypt
import uvicorn
from fastapi import FastAPI, Header, HTTPException
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.supervisors import Multiprocess

from services.api.__main__ import server_options
from services.local.ports import LOOPBACK

PATH = "/api/v1/keys/validate"
Headers = Sequence[tuple[str, str]]


class Question(BaseModel):
    """The body of a validation."""

    service_id: str | None = None
    required_scope: str | None = None
    client_ip: str | None = None
    api_key: str | None = None


class ValidKey(BaseModel):
    """The answer of a validation."""

    is_valid: bool
    key_id: str
    user_id: str
    service_id: str
    scopes: list[str]
    rate_limit_per_hour: int
    billing_plan: str
    monthly_prediction_limit: int | None


def bare(headers: Headers, body: bytes) -> ASGIApp:
    """Y1: reads the request's body and answers the very same headers and body, nothing else."""
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    content = {"type": "http.response.body", "body": body}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _no_lifespan(receive, send)
            return
        while (await receive()).get("more_body", False):
            pass
        await send(start)
        await send(content)

    return application


def framework(headers: Headers, body: bytes) -> ASGIApp:
    """Y2: FastAPI with models for the body and the answer; no work in between, no headers but its own."""
    app = FastAPI()
    answer = json.loads(body)

    @app.post(PATH)
    async def validate(question: Question) -> ValidKey:
        return ValidKey(**answer)

    @app.get("/")
    async def ready() -> None:
        return None

    return app


def naive(headers: Headers, body: bytes, database_url: str) -> ASGIApp:
    """Y3: what one would write first: one look-up in Postgres and one bcrypt of 12 rounds a request."""
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(database_url, open=False)
    threads = ThreadPoolExecutor()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post(PATH)
    async def validate(question: Question, authorization: Annotated[str, Header()]) -> ValidKey:
        key = authorization.removeprefix("Bearer ")
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT bcrypt_hash, answer FROM naive_key WHERE prefix = %s", (key[:11],)
            )
            row = await cursor.fetchone()
        loop = asyncio.get_running_loop()
        if row is None or not await loop.run_in_executor(
            threads, bcrypt.checkpw, key.encode(), row[0].encode()
        ):
            raise HTTPException(401, "Invalid API key")
        return ValidKey(**row[1])

    @app.get("/")
    async def ready() -> None:
        return None

    return app


YARDSTICKS: dict[str, Callable[..., ASGIApp]] = {"bare": bare, "framework": framework, "naive": naive}


def main(port: str, workers: str, name: str, file: str, *more: str) -> None:
    """Serve one of them until it is told to end; several workers as the api has them."""
    told = json.loads(Path(file).read_text())
    config = uvicorn.Config(
        functools.partial(YARDSTICKS[name], told["headers"], told["body"].encode(), *more),
        factory=True,
        host=LOOPBACK,
        port=int(port),
        workers=int(workers),
        **server_options(),
    )
    if config.workers == 1:
        uvicorn.Server(config).run()
    else:
        Multiprocess(config, sockets=[config.bind_socket()]).run()


async def _no_lifespan(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


if __name__ == "__main__":
    main(*sys.argv[1:])

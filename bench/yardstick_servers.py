"""The servers that the api is measured against; they answer what the api answers to the hot key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import bcrypt
import psycopg
from psycopg.types.json import Jsonb

from bench import traffic
from bench.answers import Answer, ask
from bench.sample_keys import SampleKeys
from bench.servers import BenchService, Place

MODULE = "bench.yardsticks"


@contextmanager
def yardsticks(place: Place, keys: SampleKeys, api: BenchService) -> Iterator[Mapping[str, BenchService]]:
    """Y1, Y2 and Y3."""
    request = traffic.one_hot_key(keys).requests[0]
    answer = ask(api.url, request)
    _naive_table(place, keys.secret(0), json.loads(answer.body))
    file = str(_written(place, answer))
    with ExitStack() as opened, bare_echo(place, keys, api) as bare:
        servers = {
            "bare": bare,
            "framework": opened.enter_context(place.python(MODULE, "framework", file)),
            "naive": opened.enter_context(place.python(MODULE, "naive", file, place.database_url)),
        }
        assert all(ask(server.url, request).body == answer.body for server in servers.values())
        yield servers


@contextmanager
def bare_echo(place: Place, keys: SampleKeys, api: BenchService, workers: int = 1) -> Iterator[BenchService]:
    """Y1 alone, with as many workers."""
    request = traffic.one_hot_key(keys).requests[0]
    answer = ask(api.url, request)
    with place.python(MODULE, "bare", str(_written(place, answer)), workers=workers) as server:
        assert ask(server.url, request) == answer
        yield server


def _written(place: Place, answer: Answer) -> Path:
    file = place.folder / "answer.json"
    file.write_text(json.dumps({"headers": answer.headers, "body": answer.body}))
    return file


def _naive_table(place: Place, secret: str, answer: object) -> None:
    hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(12)).decode()
    with psycopg.connect(place.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE naive_key (prefix text PRIMARY KEY, bcrypt_hash text, answer jsonb)")
        connection.execute("INSERT INTO naive_key VALUES (%s, %s, %s)", (secret[:11], hashed, Jsonb(answer)))

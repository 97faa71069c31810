"""A key of a retired pepper is used for the first time, while somebody guesses 300 keys a second."""

from __future__ import annotations

import asyncio
import hashlib
import random
import string
import time
from pathlib import Path

import httpx

from bench.append import append_all
from bench.command import Bench, run_bench
from bench.figure import Figure, Goal
from bench.report import Report
from bench.sample_keys import PREFIX, SampleKeys
from bench.servers import ADMIN_TOKEN, NO_DATABASE, PEPPER, BenchService
from services.api.validation.key_material import Pepper

RETIRED = Pepper("retired", "a-retired-pepper-for-benches-only-5d1c9e7b42a8")
KEYS = 120_000
GUESSES_PER_SECOND = 300
GUESSERS = 30
REAL_KEYS = 10
#: Until guesses fill all that they can fill.
BEFORE_SECONDS = 10.0
AGAIN_SECONDS = 0.2
VALIDATE = "/api/v1/keys/validate"
LETTERS = string.ascii_letters + string.digits


class SpreadKeys(SampleKeys):
    """Keys with prefixes as those that the api issues have: a guess meets one in two and a half."""

    def secret(self, number: int, generation: int = 0) -> str:
        left = int.from_bytes(hashlib.sha512(f"{number} {generation}".encode()).digest(), "big")
        letters = []
        for _ in range(32):
            left, letter = divmod(left, len(LETTERS))
            letters.append(LETTERS[letter])
        return PREFIX + "".join(letters)


def retired_pepper(bench: Bench, report: Report) -> None:
    """How long until a real key is recognised by bcrypt, among guesses from the same address."""
    count = bench.scaled(KEYS, 12_000)
    keys = SpreadKeys(RETIRED)
    place = bench.servers.place()
    records = (keys.created(number) for number in range(count))
    asyncio.run(append_all(place.kafka, place.topics.lifecycle.name, records))
    before = f"{RETIRED.name}:{RETIRED.secret}"
    with place.api(DATABASE_URL=NO_DATABASE, KEY_PEPPERS=before) as api:
        real = [_create(api) for _ in range(bench.scaled(REAL_KEYS, 2))]
    after = f"{PEPPER.name}:{PEPPER.secret}"
    with place.api(DATABASE_URL=NO_DATABASE, KEY_PEPPERS=after) as api:
        times = asyncio.run(_recognise(api, real))
    what = f"recognised among {GUESSES_PER_SECOND} guesses a second and {count:,} keys of a retired pepper"
    report.add(what, Figure(times), "s", Goal(at_most=2))
    report.add("the latest of them", Figure([max(times)]), "s")


def _create(api: BenchService) -> str:
    answer = httpx.post(
        f"{api.url}/api/v1/keys",
        json={"name": "real", "service_id": "platform"},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
    )
    secret: str = answer.raise_for_status().json()["api_key"]
    return secret


async def _recognise(api: BenchService, real: list[str]) -> list[float]:
    async with httpx.AsyncClient(base_url=api.url, timeout=20) as client:
        guessing = [asyncio.create_task(_guess(client)) for _ in range(GUESSERS)]
        await asyncio.sleep(BEFORE_SECONDS)
        times = [await _until_it_passes(client, secret) for secret in real]
        for task in guessing:
            task.cancel()
        await asyncio.gather(*guessing, return_exceptions=True)
    return times


async def _guess(client: httpx.AsyncClient) -> None:
    while True:
        await _validate(client, PREFIX + "".join(random.choices(LETTERS, k=32)))  # noqa: S311
        await asyncio.sleep(GUESSERS / GUESSES_PER_SECOND)


async def _until_it_passes(client: httpx.AsyncClient, secret: str) -> float:
    began = time.perf_counter()
    while await _validate(client, secret) != httpx.codes.OK:
        await asyncio.sleep(AGAIN_SECONDS)
    return time.perf_counter() - began


async def _validate(client: httpx.AsyncClient, secret: str) -> int:
    return (await client.post(VALIDATE, headers={"Authorization": f"Bearer {secret}"})).status_code


if __name__ == "__main__":
    run_bench(Path(__file__).stem, retired_pepper)

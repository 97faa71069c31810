"""What the api tells of use, kept by Postgres behind the projections and by the twin in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg
import pytest

from events.claims import advance, claim_partition
from events.codec import encode
from events.keeper.schema import prepare_schema, set_goals
from events.keys import KeyCreated, KeyEvent
from events.memory_log import MemoryLog
from events.projection import Projection
from events.topics import Topics
from events.usage import KeyUsed
from events.usage_identity import content_of
from services.api.errors import ReadModelUnavailable
from services.api.ports import UsageReadModels
from services.api.read_models import PostgresReadModels
from services.api.usage_read_models import (
    Charges,
    DayOfUse,
    MonthOfUse,
    PostgresUsageReadModels,
    Sums,
)
from services.billing.accounts import AccountsProjection
from services.billing.schema import billing_schema
from services.projector.keys import KeysProjection
from services.projector.schema import projector_schema
from services.projector.usage import UsageProjection
from tests.builders import a_key_created, a_key_rotated, fresh_id, some_usage
from tests.usage_fakes import MemoryUsageReadModels

pytestmark = pytest.mark.anyio

TOPICS = Topics.from_environment({})
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
#: Uses happen before this, and are appended at it.
NOW = datetime(2026, 2, 3, tzinfo=UTC)
LAST_OF_JANUARY = datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC)
AS_BILLING_DOES = """
    INSERT INTO billing.hour
        (key_id, hour, lineage_id, revision, requests, errors, predictions, compute_us, response_time_us)
    SELECT key_id, hour, lineage_id, requests, requests, errors, predictions, compute_us, response_time_us
    FROM projector.usage_hour
"""


class Subject:
    """One implementation, told what happened."""

    def __init__(self, read_models: UsageReadModels, log: MemoryLog) -> None:
        self.read_models = read_models
        self._log = log

    async def knows(self, *events: KeyEvent | KeyUsed) -> None:
        """All of it, at once."""
        for event in events:
            if isinstance(event, KeyUsed):
                topic, key = TOPICS.usage, event.data.key_id
            else:
                topic, key = TOPICS.lifecycle, event.partitionkey
            await self._log.append(topic.name, key.encode(), encode(event))
        await self.project()

    async def project(self) -> None: ...


class Projected(Subject):
    """The work of projector and billing without their processes."""

    def __init__(
        self, read_models: UsageReadModels, log: MemoryLog, connection: psycopg.AsyncConnection[Any]
    ) -> None:
        super().__init__(read_models, log)
        self.connection = connection

    async def project(self) -> None:
        await self._catch_up("projector", KeysProjection(TOPICS))
        await self._catch_up("projector", UsageProjection(TOPICS, self._lifecycle_ends))
        await self._catch_up("billing", AccountsProjection(TOPICS, lambda: None))
        await self.connection.execute("TRUNCATE billing.hour")
        await self.connection.execute(AS_BILLING_DOES)

    async def fill(self, goal: int, **of_one: int) -> None:
        """From there on the schemas count as filled; of one topic, `usage=3`, from somewhere else."""
        for schema, names in (
            ("projector", ["lifecycle", "usage", "hourly_usage"]),
            ("billing", ["hourly_usage", "lifecycle", "statements"]),
        ):
            await self.connection.execute(f"SET search_path = {schema}")
            await set_goals(
                self.connection,
                {(getattr(TOPICS, name).name, 0): of_one.get(name, goal) for name in names},
            )

    async def _catch_up(self, schema: str, projection: Projection) -> None:
        topic = projection.topic
        reader = self._log.reader(topic)
        await reader.begin({})
        records = await reader.read(timeout_seconds=0)
        await self.connection.execute(f"SET search_path = {schema}")
        for partition in range(topic.partitions):
            claim = await claim_partition(self.connection, projection.name, topic.name, partition)
            batch = [record for record in records if record.partition == partition]
            async with self.connection.transaction():
                await advance(self.connection, claim, len(batch))
                assert not await projection.apply(self.connection, batch[claim.next_offset :])

    async def _lifecycle_ends(self) -> Mapping[int, int]:
        return await self._log.reader(TOPICS.lifecycle).end_offsets()


@pytest.fixture(params=["memory", "postgres"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    log = MemoryLog(seconds=NOW.timestamp)
    if request.param == "memory":
        yield Subject(MemoryUsageReadModels(log, TOPICS), log)
        return
    async with in_postgres(log, request.getfixturevalue("database_url")) as subject:
        await subject.fill(goal=0)
        yield subject


@asynccontextmanager
async def in_postgres(log: MemoryLog, database_url: str) -> AsyncIterator[Projected]:
    postgres = PostgresReadModels(database_url, TOPICS.lifecycle.name)
    async with AsyncExitStack() as opened:
        await postgres.open()
        opened.push_async_callback(postgres.close)
        connection = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        await opened.enter_async_context(connection)
        for schema in (projector_schema(), billing_schema()):
            await connection.execute(f"SET search_path = {schema.name}")
            await prepare_schema(connection, schema)
        yield Projected(PostgresUsageReadModels(postgres, TOPICS), log, connection)


def used(key: KeyCreated | str, time: datetime = LAST_OF_JANUARY, **facts: Any) -> KeyUsed:
    key_id = key if isinstance(key, str) else key.data.key_id
    return some_usage(key_id=key_id, time=time, **facts)


async def test_a_month_sums_every_use_of_the_lineage_once(subject: Subject) -> None:
    created = a_key_created()
    rotated = a_key_rotated(created)
    other = a_key_created()
    twice = used(created, id="the same", status_code=500, response_time_ms=0.125, compute_ms=1.5)
    await subject.knows(
        created,
        rotated,
        other,
        twice,
        twice,
        used(created, status_code=400, predictions_count=3, endpoint="/b"),
        used(rotated.data.new_key.key_id, status_code=399, predictions_count=0),
        used(other, id="the same"),
        used(created, LAST_OF_JANUARY + timedelta(microseconds=1)),
    )

    assert await subject.read_models.month(created.data.key_id, JANUARY) == MonthOfUse(
        Sums(requests=3, errors=2, predictions=4, compute_us=1500, response_time_us=25_125),
        (("/api/v1/models/30/predict", 2), ("/b", 1)),
    )
    february = await subject.read_models.month(created.data.key_id, FEBRUARY)
    assert february.sums.requests == 1


async def test_the_ten_largest_endpoints_come_by_count_and_name_beside_the_sums_of_all(
    subject: Subject,
) -> None:
    created = a_key_created()
    names = ["/Z", "/a", "/é", "/b", *(f"/{number}" for number in range(9))]
    uses = [used(created, endpoint=name) for name in names]
    await subject.knows(created, *uses, used(created, endpoint="/8"))

    month = await subject.read_models.month(created.data.key_id, JANUARY)

    assert month.sums.requests == 14
    assert month.top_endpoints == (("/8", 2), *((f"/{n}", 1) for n in range(8)), ("/Z", 1))


async def test_what_a_use_states_is_known_by_key_and_id_for_35_days(subject: Subject) -> None:
    created = a_key_created()
    use = used(created, id="one", predictions_count=3)
    await subject.knows(created, use, used(created, id="another"))
    content = partial(subject.read_models.content, created.data.key_id)

    assert await content("one", NOW) == content_of(use.data)
    assert await content("one", NOW + timedelta(days=33)) == content_of(use.data)
    assert await content("one", NOW + timedelta(days=60)) is None
    assert await content("two", NOW) is None
    assert await subject.read_models.content(fresh_id(), "one", NOW) is None


async def test_of_nothing_the_sums_are_zero(subject: Subject) -> None:
    created = a_key_created(monthly_prediction_limit=0)
    await subject.knows(created)

    assert await subject.read_models.month(created.data.key_id, JANUARY) == MonthOfUse()
    assert await subject.read_models.charges(created.data.key_id, JANUARY) == Charges()
    assert await subject.read_models.days(JANUARY, FEBRUARY, None) == []


@pytest.mark.parametrize(
    ("limit", "overage"),
    [(None, "0"), (0, "1.007"), (7, "1"), (1007, "0"), (2000, "0")],
    ids=["no limit", "nothing included", "over", "reached", "below"],
)
async def test_charges_are_for_what_lies_over_the_limit(
    subject: Subject, limit: int | None, overage: str
) -> None:
    created = a_key_created(monthly_prediction_limit=limit)
    rotated = a_key_rotated(created)
    await subject.knows(
        created,
        rotated,
        used(created, predictions_count=1000, compute_ms=0.5),
        used(rotated.data.new_key.key_id, predictions_count=7, compute_ms=2),
        used(created, NOW, predictions_count=5),
    )

    charges = await subject.read_models.charges(created.data.key_id, JANUARY)

    assert charges == Charges(requests=2, predictions=1007, compute_us=2500, overage=Decimal(overage))


async def test_days_are_summed_by_the_service_that_reported(subject: Subject) -> None:
    """Over keys and partitions; both ends of the span are in it."""
    keys = [a_key_created(service_id="prediction") for _ in range(5)]
    await subject.knows(
        *keys,
        *(used(key, response_time_ms=1, compute_ms=2) for key in keys),
        used(keys[0], service_id="Website"),
        used(keys[0], NOW - timedelta(days=1), status_code=404),
        used(keys[0], NOW, service_id="late"),
        used(keys[0], LAST_OF_JANUARY - timedelta(days=1), service_id="early"),
    )
    last, first = date(2026, 2, 2), date(2026, 1, 31)

    assert await subject.read_models.days(first, last, None) == [
        DayOfUse(first, "Website", Sums(1, 0, 1, 0, 12_500)),
        DayOfUse(first, "platform", Sums(5, 0, 5, 10_000, 5_000)),
        DayOfUse(last, "platform", Sums(1, 1, 1, 0, 12_500)),
    ]
    of_two = await subject.read_models.days(first, last, ["Website", "nobody"])
    assert [day.service_id for day in of_two] == ["Website"]
    assert await subject.read_models.days(first, last, []) == []


async def test_a_month_its_days_and_its_charges_are_the_same_sums(subject: Subject) -> None:
    created = a_key_created(monthly_prediction_limit=1)
    hours = [LAST_OF_JANUARY - timedelta(hours=7 * number) for number in range(60)]
    await subject.knows(
        created,
        *(
            used(created, hour, compute_ms=number / 8, predictions_count=number)
            for number, hour in enumerate(hours)
        ),
    )

    month = (await subject.read_models.month(created.data.key_id, JANUARY)).sums
    charges = await subject.read_models.charges(created.data.key_id, JANUARY)
    days = await subject.read_models.days(JANUARY, date(2026, 1, 31), None)

    assert (month.requests, month.predictions, month.compute_us) == (60, 1770, 221_250)
    assert (charges.requests, charges.predictions, charges.compute_us) == (60, 1770, 221_250)
    assert sum(day.sums.requests for day in days) == 60
    assert sum(day.sums.predictions for day in days) == 1770
    assert sum(day.sums.compute_us for day in days) == 221_250


class TestPostgresAlone:
    @pytest.mark.parametrize(
        ("unfilled", "refused"),
        [
            ({"usage": 1}, {"month", "days"}),
            ({"hourly_usage": 1}, {"charges"}),
            ({"lifecycle": 1}, {"charges"}),
            ({"statements": 1}, set()),
        ],
        ids=["usage", "hourly", "lifecycle", "statements"],
    )
    async def test_half_a_picture_is_not_shown(
        self, database_url: str, unfilled: dict[str, int], refused: set[str]
    ) -> None:
        async with in_postgres(MemoryLog(), database_url) as subject:
            await subject.fill(0, **unfilled)

            assert await refusals(subject.read_models) == refused

    async def test_a_picture_that_nobody_has_begun_is_not_shown(self, database_url: str) -> None:
        async with in_postgres(MemoryLog(), database_url) as subject:
            assert await refusals(subject.read_models) == {"month", "days", "charges"}

    async def test_schemas_that_are_not_there_are_being_rebuilt(self, database_url: str) -> None:
        async with in_postgres(MemoryLog(), database_url) as subject:
            await subject.fill(0)
            await subject.connection.execute("DROP SCHEMA billing CASCADE")
            assert await refusals(subject.read_models) == {"charges"}
            await subject.connection.execute("DROP SCHEMA projector CASCADE")
            assert await refusals(subject.read_models) == {"month", "days", "charges"}

    async def test_the_last_use_is_shown_with_the_key(self, database_url: str) -> None:
        """The later one of what was reported and of what was admitted."""
        created, reported, admitted = a_key_created(), NOW - timedelta(hours=2), NOW - timedelta(hours=1)
        postgres = PostgresReadModels(database_url, TOPICS.lifecycle.name)
        await postgres.open()

        async def last_used_at() -> datetime | None:
            info = await postgres.get_key(created.data.key_id, {}, NOW)
            assert info is not None
            page = await postgres.list_keys({}, NOW, services=None, active_only=False, page=None, limit=9)
            assert page.keys == info.model_dump_json().encode()
            return info.last_used_at

        async with in_postgres(MemoryLog(seconds=NOW.timestamp), database_url) as subject:
            await subject.knows(created)
            assert await last_used_at() is None
            await subject.knows(used(created, reported), used(created, reported - timedelta(days=1)))
            assert await last_used_at() == reported
            await subject.connection.execute(
                "INSERT INTO projector.key_activity (key_id, last_used_at) VALUES (%s, %s)",
                [created.data.key_id, admitted],
            )
            assert await last_used_at() == admitted
        await postgres.close()


async def refusals(read_models: UsageReadModels) -> set[str]:
    """The questions that are answered by `being rebuilt`."""
    questions = {
        "month": read_models.month(fresh_id(), JANUARY),
        "charges": read_models.charges(fresh_id(), JANUARY),
        "days": read_models.days(JANUARY, FEBRUARY, None),
    }
    refused = set()
    for name, question in questions.items():
        try:
            await question
        except ReadModelUnavailable as error:
            if "being rebuilt" in str(error):
                refused.add(name)
    return refused

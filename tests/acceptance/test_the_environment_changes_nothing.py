"""What is counted, published and billed depends on no variable that libpq, the C library or Python reads."""

from __future__ import annotations

import psycopg

from events.codec import decode_total, encode
from events.kafka_log import KafkaEventLog
from events.totals import HourlyUsage
from tests.acceptance.eventually import eventually
from tests.acceptance.stack import Stack
from tests.acceptance.test_every_codec_is_read import is_billed
from tests.acceptance.the_log import postgres_agrees, records, run
from tests.builders import some_usage

#: An hour there begins half an hour off ours; the other encodings and orders of dates are no better.
SURROUNDINGS = {
    "PGTZ": "America/St_Johns",
    "PGDATESTYLE": "SQL, DMY",
    "PGGEQO": "off",
    "PGCLIENTENCODING": "LATIN1",
    "PGOPTIONS": "-c timezone=Asia/Kolkata -c search_path=pg_temp -c default_transaction_read_only=on",
    "TZ": "America/St_Johns",
    "LC_ALL": "de_DE.ISO-8859-1",
    "LANG": "tr_TR.UTF-8",
}
NAME = "clé 鍵 ß"
CAUGHT_UP_SECONDS = 20


def test_use_is_published_by_hours_of_utc_and_billed(stack: Stack) -> None:
    stack.settings |= SURROUNDINGS
    stack.projector()
    stack.windows()
    stack.billing()
    api = stack.api()
    key = api.client.new_key(name=NAME)
    use = some_usage(key_id=key.key_id, predictions_count=7)

    async def append() -> None:
        async with KafkaEventLog(stack.kafka) as log:
            await log.append(stack.topics.usage.name, key.key_id.encode(), encode(use))

    run(append())
    eventually(lambda: is_billed(api, key), CAUGHT_UP_SECONDS, "the use in the bill")
    # The projector sends a row for as long as it does not read back what it has sent.
    eventually(lambda: _unpublished(stack) == 0, CAUGHT_UP_SECONDS, "the row to be seen in usage.hourly")

    hour = use.time.replace(minute=0, second=0, microsecond=0)
    events = [decode_total(record.value) for record in records(stack, stack.topics.hourly_usage)]
    assert [event.data.hour for event in events if isinstance(event, HourlyUsage)] == [hour]
    assert [key["name"] for key in api.client.list().json()] == [NAME]
    postgres_agrees(stack)


def _unpublished(stack: Stack) -> int:
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute("SELECT count(*) FROM projector.usage_unpublished").fetchone()
    assert row is not None
    return int(row[0])

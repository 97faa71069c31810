"""Records that nobody can follow: dead letters with coordinates; their key fails closed, others live on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import orjson
import psycopg
import pytest

from events.codec import encode
from events.log import Position
from services.local.kafka import EmbeddedKafka
from services.local.postgres import EmbeddedPostgres
from tests.acceptance.client import Created
from tests.acceptance.eventually import eventually
from tests.acceptance.fresh_stack import fresh_stack
from tests.acceptance.stack import ApiNode, Keeper, Stack
from tests.acceptance.test_every_codec_is_read import is_billed
from tests.acceptance.the_log import append, end_of_log, folded, postgres_agrees, records, run
from tests.bcrypt_hashes import BAD
from tests.builders import a_key_created, a_key_revoked, fresh_id
from tests.raw_headers import append_with_headers

NOTICE_SECONDS = 10.0

Poison = Callable[[Stack, str], Position]


class Poisoned:
    """A stack with a projector and a node that read the log while it is being poisoned."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.projector: Keeper = stack.projector()
        self.node: ApiNode = stack.api()
        self.bystander: Created = self.node.client.new_key()


@pytest.fixture(scope="module")
def poisoned(
    kafka: EmbeddedKafka, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Poisoned]:
    with fresh_stack(kafka, postgres, tmp_path_factory.mktemp("poisoned")) as stack:
        yield Poisoned(stack)


def broken_json(stack: Stack, key: str) -> Position:
    return append(stack, key, b'{"specversion": "1.0", "type": ')


def not_utf8(stack: Stack, key: str) -> Position:
    return append(stack, key, b"\xff\xfe\x00")


def no_value(stack: Stack, key: str) -> Position:
    return append(stack, key, None)


def unknown_type(stack: Stack, key: str) -> Position:
    return append(stack, key, _changed(key, type="hokusai.auth.KeyPraised.v1"))


def future_version(stack: Stack, key: str) -> Position:
    return append(stack, key, _changed(key, type="hokusai.auth.KeyCreated.v99"))


def missing_field(stack: Stack, key: str) -> Position:
    return append(stack, key, _changed(key, data={"key_id": key}))


def another_record_key(stack: Stack, key: str) -> Position:
    return append(stack, key, encode(a_key_created()))


def hash_of_cost_31(stack: Stack, key: str) -> Position:
    return append(stack, key, _with_hash(key, BAD["cost 31"]))


def hash_that_bcrypt_refuses(stack: Stack, key: str) -> Position:
    return append(stack, key, _with_hash(key, BAD["a salt of half a byte more"]))


def gap(stack: Stack, key: str) -> Position:
    """An event two ahead of what its lineage has seen."""
    lineages, _ = folded(stack)
    lineage = lineages[key]
    return append(stack, key, encode(a_key_revoked(lineage, sequence=lineage.sequence + 2)))


def _changed(key: str, **changes: object) -> bytes:
    event = orjson.loads(encode(a_key_created(key_id=key)))
    return orjson.dumps({**event, **changes})


def _with_hash(key: str, bcrypt_hash: str) -> bytes:
    event = orjson.loads(encode(a_key_created(key_id=key)))
    event["data"]["bcrypt_hash"] = bcrypt_hash
    return orjson.dumps(event)


UNREADABLE = [
    broken_json,
    not_utf8,
    no_value,
    unknown_type,
    future_version,
    missing_field,
    another_record_key,
    hash_of_cost_31,
    hash_that_bcrypt_refuses,
]


@pytest.mark.parametrize("poison", UNREADABLE)
def test_an_unreadable_record_of_nobody_is_a_dead_letter(poisoned: Poisoned, poison: Poison) -> None:
    position = poison(poisoned.stack, fresh_id())
    is_dead_letter(poisoned, position)
    everything_else_works(poisoned)


def test_a_record_without_a_key_is_a_dead_letter(poisoned: Poisoned) -> None:
    position = append(poisoned.stack, None, encode(a_key_created()))
    is_dead_letter(poisoned, position)
    everything_else_works(poisoned)


@pytest.mark.parametrize("poison", [*UNREADABLE, gap])
def test_a_record_that_cannot_follow_parks_its_lineage(poisoned: Poisoned, poison: Poison) -> None:
    """What could not be read may have been the revocation."""
    client = poisoned.node.client
    key = client.new_key()
    before = poisoned.node.metric("hokusai_api_parked_lineages")

    position = poison(poisoned.stack, key.key_id)

    eventually(lambda: not client.accepts(key.api_key), NOTICE_SECONDS, "the node to refuse the key")
    assert poisoned.node.metric("hokusai_api_parked_lineages") == before + 1
    for answer in (client.rotate(key.key_id), client.revoke(key.key_id)):
        assert answer.status_code == 409, answer.text
    is_dead_letter(poisoned, position)
    assert client.look_up(key.key_id).json()["is_active"] is False
    everything_else_works(poisoned)


def test_a_parked_lineage_stays_parked_for_readers_that_start_later(poisoned: Poisoned) -> None:
    """Both the one that starts from the snapshot and the one that replays the log."""
    client, stack = poisoned.node.client, poisoned.stack
    keys = [client.new_key() for _ in range(2)]
    for key, poison in zip(keys, (broken_json, gap), strict=True):
        position = poison(stack, key.key_id)
        is_dead_letter(poisoned, position)
        # A reader that starts from the snapshot reads the last record again, so that must be another one.
        while end_of_log(stack, position.partition) == position.offset + 1:
            client.new_key()
    postgres_agrees(stack)

    from_snapshot = stack.api()
    assert "replaying the whole log" not in from_snapshot.log_of_this_run()
    from_log = stack.api(DATABASE_URL="postgresql://postgres@127.0.0.1:1/nowhere")
    for reader in (from_snapshot, from_log):
        for key in keys:
            assert not reader.client.accepts(key.api_key)
            assert reader.client.rotate(key.key_id).status_code == 409
        assert reader.client.accepts(poisoned.bystander.api_key)
        parked = reader.metric("hokusai_api_parked_lineages")
        assert parked == poisoned.node.metric("hokusai_api_parked_lineages") >= len(keys)
        reader.stop()
    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute(
            "SELECT count(*) FROM projector.lineages WHERE parked IS NOT NULL"
        ).fetchone()
    assert row == (parked,)
    eventually(
        lambda: poisoned.projector.metric("projector_parked_lineages") == parked, NOTICE_SECONDS, "the metric"
    )


def is_dead_letter(poisoned: Poisoned, position: Position) -> None:
    """Exactly that record, whole, with where it stood and what is wrong with it."""
    stack = poisoned.stack
    (original,) = (
        record
        for record in records(stack, stack.topics.lifecycle)
        if (record.partition, record.offset) == (position.partition, position.offset)
    )

    def letter() -> dict[str, bytes] | None:
        for record in records(stack, stack.topics.lifecycle_dead_letters):
            headers = dict(record.headers)
            if (headers["partition"], headers["offset"]) == (
                str(position.partition).encode(),
                str(position.offset).encode(),
            ):
                assert (record.key, record.value) == (original.key, original.value)
                return headers
        return None

    headers = eventually(letter, NOTICE_SECONDS, f"the dead letter of {position}")
    assert headers["topic"].decode() == position.topic
    assert headers["error"]
    assert headers["time"]


def everything_else_works(poisoned: Poisoned) -> None:
    client = poisoned.node.client
    assert client.accepts(poisoned.bystander.api_key)
    key = client.new_key()
    assert client.accepts(key.api_key)
    assert client.look_up(key.key_id).json()["is_active"] is True


def test_what_no_client_can_decode_stops_nobody(stack: Stack) -> None:
    """A header whose name is no UTF-8 is an error of the client at every reading: in every topic we read."""
    stack.projector()
    stack.windows()
    stack.billing()
    api = stack.api()
    topics = stack.topics
    for topic in (
        topics.lifecycle,
        topics.usage,
        topics.hourly_usage,
        topics.rate_counters,
        topics.statements,
    ):
        for partition in range(topic.partitions):
            run(append_with_headers(stack.kafka, topic.name, partition))
    key = api.client.new_key()
    assert api.client.report(key.key_id, predictions_count=7).status_code == 200
    eventually(lambda: is_billed(api, key), NOTICE_SECONDS, "the use in the bill")
    api.client.revoke(key.key_id)
    assert not api.client.accepts(key.api_key)
    assert not stack.api().client.accepts(key.api_key)
    postgres_agrees(stack)

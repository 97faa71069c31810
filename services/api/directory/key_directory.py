"""Every key of the node, by fingerprint and by id: what validation answers from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import lmdb
import orjson

from events.lineage import Key, Lineage
from services.api.directory.key_facts import KeyFacts
from services.api.directory.key_store import KeyStore
from services.api.directory.stored_facts import decode_lineage, id_bytes, id_bytes_or_none, key_of

#: So many facts of a kilobyte are remembered, and as many that were asked for before. Others are read from
#: the store once more, which takes some microseconds.
REMEMBERED = 4096
#: More of a prefix than LMDB takes for a key; those that begin alike are told apart by bcrypt.
PREFIX_BYTES = 400


class KeyDirectory:
    """A reader of the store. It remembers facts, and believes them only while the store still says so.

    Every question begins a snapshot of its own: what the follower has committed before is in the answer.
    """

    def __init__(self, store: KeyStore) -> None:
        self._store = store
        self._begin = store.begin
        self._recent: dict[bytes, KeyFacts] = {}
        self._older: dict[bytes, KeyFacts] = {}

    def __len__(self) -> int:
        return self._store.counts()[0]

    def __contains__(self, key_id: str) -> bool:
        return self._store.read(lambda snapshot: self._record(snapshot, key_id) is not None)

    def find(self, fingerprint: bytes) -> KeyFacts | None:
        """The key whose secret has this fingerprint."""
        snapshot = self._begin()
        try:
            version = snapshot.id()
            facts = self._recent.get(fingerprint)
            if facts is not None and facts.version == version:
                return facts
            facts = facts or self._older.get(fingerprint)
            if facts is not None and self._is_unchanged(snapshot, facts):
                facts.version = version
            else:
                key_id = snapshot.get(fingerprint, db=self._store.fingerprints)
                facts = None if key_id is None else self._read(snapshot, key_id)
        finally:
            snapshot.abort()
        if facts is not None:
            self._remember(fingerprint, facts)
        return facts

    def _remember(self, fingerprint: bytes, facts: KeyFacts) -> None:
        if len(self._recent) >= REMEMBERED:
            self._older, self._recent = self._recent, {}
        self._recent[fingerprint] = facts

    def key(self, key_id: str) -> Key | None:
        """All that is known of a key."""
        return self._store.read(lambda snapshot: self._key(snapshot, key_id))

    def facts(self, key_id: str) -> KeyFacts | None:
        """A key as validation needs it."""
        return self._store.read(lambda snapshot: self._read(snapshot, id_bytes(key_id)))

    def declared_peppers(self) -> frozenset[str]:
        """The peppers that any node was ever started with, as far as this node has heard."""
        return self._store.declared_peppers()

    def lineage(self, lineage_id: str, named: Collection[str] = ()) -> Lineage | None:
        """The lineage with its current key, and before it those of the `named` keys that belong to it."""
        return self._store.read(lambda snapshot: read_lineage(self._store, snapshot, lineage_id, named))

    def lineage_of(self, key_id: str) -> Lineage | None:
        """The lineage that a key belongs to: with that key, and its current one."""

        def read(snapshot: lmdb.Transaction[bytes]) -> Lineage | None:
            record = self._record(snapshot, key_id)
            if record is None:
                return None
            return read_lineage(self._store, snapshot, orjson.loads(record)["lineage_id"], (key_id,))

        return self._store.read(read)

    def unverifiable(self, key_prefix: str) -> list[KeyFacts]:
        """The keys that look like this and that only bcrypt can verify."""

        def read(snapshot: lmdb.Transaction[bytes]) -> list[KeyFacts]:
            with snapshot.cursor(self._store.unverifiable) as cursor:
                key_ids = list(cursor.iternext_dup()) if cursor.set_key(prefix_bytes(key_prefix)) else []
            found = [self._read(snapshot, key_id) for key_id in key_ids]
            return [facts for facts in found if facts is not None]

        return self._store.read(read)

    def positions(self) -> Mapping[int, int]:
        """By partition the offset after the last record that the store includes."""
        return self._store.positions()

    def _record(self, snapshot: lmdb.Transaction[bytes], key_id: str) -> bytes | None:
        sixteen = id_bytes_or_none(key_id)
        return None if sixteen is None else snapshot.get(sixteen, db=self._store.keys)

    def _key(self, snapshot: lmdb.Transaction[bytes], key_id: str) -> Key | None:
        record = self._record(snapshot, key_id)
        if record is None:
            return None
        key = key_of(orjson.loads(record))
        lineage = read_lineage(self._store, snapshot, key.lineage_id, (key_id,))
        return (lineage and lineage.find(key_id)) or key

    def _read(self, snapshot: lmdb.Transaction[bytes], key_id: bytes) -> KeyFacts | None:
        record = snapshot.get(key_id, db=self._store.keys)
        if record is None:
            return None
        facts: dict[str, Any] = orjson.loads(record)
        lineage_record, is_closed = None, False
        if facts["superseded_by"] is not None:
            # Its own record is not written again when its lineage ends: that may have any number of keys.
            lineage_record = snapshot.get(id_bytes(facts["lineage_id"]), db=self._store.lineages)
            is_closed = lineage_record is None or _is_closed(lineage_record)
        return KeyFacts(facts, (record, lineage_record), snapshot.id(), is_closed=is_closed)

    def _is_unchanged(self, snapshot: lmdb.Transaction[bytes], facts: KeyFacts) -> bool:
        if facts.version == snapshot.id():
            return True
        record, lineage_record = facts.records
        if snapshot.get(id_bytes(facts.key_id), db=self._store.keys) != record:
            return False
        return (
            lineage_record is None
            or snapshot.get(id_bytes(facts.lineage_id), db=self._store.lineages) == lineage_record
        )


def read_lineage(
    store: KeyStore, snapshot: lmdb.Transaction[bytes], lineage_id: str, named: Collection[str] = ()
) -> Lineage | None:
    """See `KeyDirectory.lineage`. What it costs does not depend on how often the lineage was rotated."""
    sixteen = id_bytes_or_none(lineage_id)
    record = None if sixteen is None else snapshot.get(sixteen, db=store.lineages)
    if record is None:
        return None
    stored = decode_lineage(record)
    keys = {key.key_id: key for key in stored.keys}
    for key_id in (*named, stored.current):
        if key_id is None or key_id in keys:
            continue
        record = snapshot.get(id_bytes(key_id), db=store.keys)
        if record is not None and (key := key_of(orjson.loads(record))).lineage_id == lineage_id:
            ended_at = key.revoked_at or stored.revoked_at
            keys[key_id] = key if ended_at is key.revoked_at else key._replace(revoked_at=ended_at)
    if stored.current in keys:
        keys[stored.current] = keys.pop(stored.current)  # the current key is the last one
    return Lineage(lineage_id, stored.sequence, tuple(keys.values()), stored.parked)


def prefix_bytes(key_prefix: str) -> bytes:
    """What the keys with this visible prefix are found under."""
    return key_prefix.encode()[:PREFIX_BYTES]


def _is_closed(lineage_record: bytes) -> bool:
    stored = decode_lineage(lineage_record)
    return stored.parked is not None or stored.revoked_at is not None

"""Writes what the log says into the node's store: facts and the offsets they include, in one transaction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import lmdb
import orjson

from events.errors import UnreadableRecord
from events.lifecycle import Folded, fold_unreadable, named_keys, read_event
from events.lineage import Key, Lineage, apply
from events.log import Record
from events.log_marks import mark_of
from services.api.directory.key_directory import prefix_bytes, read_lineage
from services.api.directory.key_store import KeyStore
from services.api.directory.stored_facts import (
    StoredLineage,
    decode_lineage,
    encode_key,
    encode_lineage,
    id_bytes,
    key_of,
)

Transaction: TypeAlias = "lmdb.Transaction[bytes]"


class SnapshotKey(NamedTuple):
    """A key of a snapshot, beside what its lineage comes to. `record` is what `encode_key` makes of it."""

    key_id: str
    lineage_id: str
    sequence: int
    parked: str | None
    is_current: bool
    revoked_at_us: int | None
    key_prefix: str
    fingerprint: bytes
    pepper_id: str
    record: bytes


class StoreWriter:
    """The one writer of a node's store.

    Keys whose pepper is not among `pepper_ids` can't be found by fingerprint. They are kept by what is
    visible of them, until bcrypt has recognised one and its fingerprint is known.
    """

    def __init__(self, store: KeyStore, pepper_ids: frozenset[str]) -> None:
        self._store = store
        self._pepper_ids = pepper_ids

    def apply(self, records: Sequence[Record], positions: Mapping[int, int]) -> list[Folded]:
        """Fold the records; the store then includes the log up to these positions. Twice is as good as once.

        Raises `StoreUnavailable`, and nothing of it is kept then.
        """

        def write(transaction: Transaction) -> list[Folded]:
            folded = [self._fold(transaction, record) for record in records]
            self._store.put_positions(transaction, positions)
            last = {record.partition: record for record in records}
            self._store.put_marks(transaction, map(mark_of, last.values()))
            return folded

        return self._store.write(write)

    def load(self, keys: Iterable[SnapshotKey]) -> None:
        """Take keys from a snapshot, in any order."""

        def write(transaction: Transaction) -> None:
            for key in batch:
                self._load(transaction, key)

        batch = list(keys)
        self._store.write(write)

    def put(self, lineage: Lineage) -> None:
        """Take a lineage from a snapshot that has no key."""
        self._store.write(lambda transaction: self._put(transaction, lineage))

    def set_positions(self, positions: Mapping[int, int]) -> None:
        self._store.write(lambda transaction: self._store.put_positions(transaction, positions))

    def learn(self, key_id: str, fingerprint: bytes, pepper_id: str) -> None:
        """bcrypt has recognised this key: from now on its fingerprint of today finds it."""

        def write(transaction: Transaction) -> None:
            sixteen = id_bytes(key_id)
            record = transaction.get(sixteen, db=self._store.keys)
            # Nobody needs a bcrypt to know any other key, which one more fingerprint could only be lost by.
            if record is None or not self._is_unverifiable(
                transaction, prefix := orjson.loads(record)["key_prefix"], sixteen
            ):
                return
            learnt = orjson.dumps({"fingerprint": fingerprint.hex(), "pepper_id": pepper_id})
            transaction.put(sixteen, learnt, db=self._store.learnt)
            self._forget_prefix(transaction, prefix, sixteen)
            transaction.put(fingerprint, sixteen, overwrite=False, db=self._store.fingerprints)

        self._store.write(write)

    def forget_dead(self, now_seconds: float, after: bytes = b"", most: int = 1000) -> bytes | None:
        """Forget what is visible of keys that nobody has to recognise any more: their time is over.

        Looks at so many prefixes after that one, or a few more; returns the last one, None after them all.
        """

        def is_over(transaction: Transaction, key_id: bytes) -> bool:
            record = transaction.get(key_id, db=self._store.keys)
            return record is None or is_dead(orjson.loads(record), now_seconds)

        def write(transaction: Transaction) -> bytes | None:
            last: bytes | None = None
            over: list[tuple[bytes, bytes]] = []
            with transaction.cursor(self._store.unverifiable) as cursor:
                is_there, looked_at = cursor.set_range(after + b"\0"), 0
                while is_there and looked_at < most:
                    last = cursor.key()
                    key_ids = list(cursor.iternext_dup())
                    looked_at += len(key_ids)
                    over += [(last, key_id) for key_id in key_ids if is_over(transaction, key_id)]
                    is_there = cursor.set_range(last + b"\0")
            for prefix, key_id in over:
                transaction.delete(prefix, key_id, db=self._store.unverifiable)
            return last if is_there else None

        return self._store.write(write)

    def use_own_peppers(self) -> None:
        """Make the fingerprints those of this node's peppers, where it had others when they were kept."""
        if self._store.own_peppers() == self._pepper_ids:
            return

        def write(transaction: Transaction) -> None:
            for database in (self._store.fingerprints, self._store.unverifiable):
                transaction.drop(database, delete=False)
            with transaction.cursor(self._store.keys) as keys:
                for sixteen, record in keys:
                    facts = orjson.loads(record)
                    self._index(
                        transaction,
                        bytes(sixteen),
                        bytes.fromhex(facts["fingerprint"]),
                        facts["pepper_id"],
                        facts["key_prefix"],
                    )
            self._store.put_own_peppers(transaction, self._pepper_ids)

        self._store.write(write)

    def _fold(self, transaction: Transaction, record: Record) -> Folded:
        def lineage_of(lineage_id: str) -> Lineage | None:
            return read_lineage(self._store, transaction, lineage_id)

        try:
            event = read_event(record)
        except UnreadableRecord as error:
            folded = Folded(None, fold_unreadable(record.key, str(error), lineage_of))
        else:
            before = read_lineage(self._store, transaction, event.partitionkey, named_keys(event))
            folded = Folded(event, apply(before, event))
        if folded.lineage is not None:
            self._put(transaction, folded.lineage)
        return folded

    def _put(self, transaction: Transaction, lineage: Lineage) -> None:
        """This is what is known of the lineage now, as far as it is told."""
        store, is_irregular = self._store, not lineage.keys
        lineage_id = id_bytes(lineage.lineage_id)
        for key in lineage.keys:
            key_id = id_bytes(key.key_id)
            written = transaction.get(key_id, db=store.keys)
            if written is None:
                transaction.put(key_id, _record(key, lineage), db=store.keys)
                self._index(transaction, key_id, key.fingerprint, key.pepper_id, key.key_prefix)
            elif (facts := orjson.loads(written))["lineage_id"] == key.lineage_id:
                is_conflicting = facts.get("is_conflicting", False)
                record = _record(key, lineage, is_conflicting=is_conflicting)
                if record != written:
                    transaction.put(key_id, record, db=store.keys)
                    self._follow_fingerprint(transaction, key_id, key, facts)
                if is_dead(orjson.loads(record)):
                    self._forget_prefix(transaction, key.key_prefix, key_id)
            else:
                # Who was met first keeps the id, so that every reader decides alike; nobody passes with it.
                self._mark_conflicting(transaction, key_id)
                is_irregular = True
        before = transaction.get(lineage_id, db=store.lineages)
        if before is not None and decode_lineage(before).keys:
            is_irregular = True
        current = lineage.keys[-1] if lineage.keys else None
        stored = StoredLineage(
            lineage.sequence,
            None if current is None else current.key_id,
            None if current is None else current.revoked_at,
            lineage.parked,
            lineage.keys if is_irregular else (),
        )
        transaction.put(lineage_id, encode_lineage(stored), db=store.lineages)
        if lineage.parked is None:
            transaction.delete(lineage_id, db=store.parked)
        else:
            transaction.put(lineage_id, b"", db=store.parked)

    def _load(self, transaction: Transaction, key: SnapshotKey) -> None:
        store = self._store
        key_id, lineage_id = id_bytes(key.key_id), id_bytes(key.lineage_id)
        if not transaction.put(key_id, key.record, overwrite=False, db=store.keys):
            before = read_lineage(store, transaction, key.lineage_id) or Lineage(key.lineage_id)
            own = key_of(orjson.loads(key.record))
            keys = (*before.keys, own) if key.is_current else (own, *before.keys)
            self._put(transaction, Lineage(key.lineage_id, key.sequence, keys, key.parked))
            return
        self._index(transaction, key_id, key.fingerprint, key.pepper_id, key.key_prefix)
        if not key.is_current:
            return
        facts: dict[str, Any] = {"sequence": key.sequence, "current": key.key_id}
        if key.revoked_at_us is not None:
            facts["revoked_at"] = key.revoked_at_us
        if key.parked is not None:
            facts["parked"] = key.parked
            transaction.put(lineage_id, b"", db=store.parked)
        if not transaction.put(lineage_id, orjson.dumps(facts), overwrite=False, db=store.lineages):
            # An older key of it came first, whose id another lineage has taken.
            before = orjson.loads(transaction.get(lineage_id, b"{}", db=store.lineages))
            record = orjson.dumps({**facts, "keys": before.get("keys", [])})
            transaction.put(lineage_id, record, db=store.lineages)

    def _index(
        self, transaction: Transaction, key_id: bytes, fingerprint: bytes, pepper_id: str, key_prefix: str
    ) -> None:
        """Let the key be found: by its fingerprint, or by what is visible of it."""
        other = transaction.get(fingerprint, db=self._store.fingerprints)
        if other is not None and other != key_id:
            self._mark_conflicting(transaction, other)
            self._mark_conflicting(transaction, key_id)
        elif pepper_id in self._pepper_ids:
            transaction.put(fingerprint, key_id, db=self._store.fingerprints)
        elif (learnt := self._learnt(transaction, key_id)) is not None:
            transaction.put(learnt, key_id, overwrite=False, db=self._store.fingerprints)
        elif not is_dead(orjson.loads(transaction.get(key_id, b"{}", db=self._store.keys))):
            # Nobody has to recognise a key that passes no more.
            transaction.put(prefix_bytes(key_prefix), key_id, db=self._store.unverifiable)

    def _learnt(self, transaction: Transaction, key_id: bytes) -> bytes | None:
        """What bcrypt has told of the key, if it was under a pepper that the node still has."""
        record = transaction.get(key_id, db=self._store.learnt)
        if record is None:
            return None
        learnt = orjson.loads(record)
        return bytes.fromhex(learnt["fingerprint"]) if learnt["pepper_id"] in self._pepper_ids else None

    def _follow_fingerprint(
        self, transaction: Transaction, key_id: bytes, key: Key, before: Mapping[str, Any]
    ) -> None:
        """The log has another fingerprint of the key than before."""
        old = bytes.fromhex(before["fingerprint"])
        if old == key.fingerprint:
            return
        if transaction.get(old, db=self._store.fingerprints) == key_id:
            transaction.delete(old, db=self._store.fingerprints)
        self._forget_prefix(transaction, key.key_prefix, key_id)
        transaction.delete(key_id, db=self._store.learnt)
        self._index(transaction, key_id, key.fingerprint, key.pepper_id, key.key_prefix)

    def _is_unverifiable(self, transaction: Transaction, key_prefix: str, key_id: bytes) -> bool:
        with transaction.cursor(self._store.unverifiable) as cursor:
            return cursor.set_key_dup(prefix_bytes(key_prefix), key_id)

    def _forget_prefix(self, transaction: Transaction, key_prefix: str, key_id: bytes) -> None:
        transaction.delete(prefix_bytes(key_prefix), key_id, db=self._store.unverifiable)

    def _mark_conflicting(self, transaction: Transaction, key_id: bytes) -> None:
        """Another lineage claims the same id or secret, which no writer of ours does: nobody passes."""
        written = transaction.get(key_id, db=self._store.keys)
        if written is not None:
            record = orjson.dumps({**orjson.loads(written), "is_conflicting": True})
            transaction.put(key_id, record, db=self._store.keys)


def is_dead(facts: Mapping[str, Any], now_seconds: float = -math.inf) -> bool:
    """Whether a key with these facts can never pass again, by that moment."""
    if facts["revoked_at"] is not None:
        return True
    ends = [facts["expires_at"]]
    if facts["superseded_by"] is not None:
        if facts["valid_until"] is None:
            return True
        ends.append(facts["valid_until"])
    return any(end is not None and end / 1e6 <= now_seconds for end in ends)


def _record(key: Key, lineage: Lineage, *, is_conflicting: bool = False) -> bytes:
    return encode_key(key, is_parked=lineage.parked is not None, is_conflicting=is_conflicting)

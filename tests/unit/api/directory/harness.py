"""A node's store as its follower writes it and a worker reads it, and what the log alone would say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from events.keys import KeyEvent
from events.lifecycle import Folded
from events.lineage import Applied, Lineage, apply
from events.log import Record
from services.api.directory.key_directory import KeyDirectory
from services.api.directory.key_facts import KeyFacts
from services.api.directory.key_store import KeyStore
from services.api.directory.store_writer import StoreWriter
from tests.builders import lifecycle_record
from tests.fakes import snapshot_keys
from tests.unit.api.workers import known_key, store_in

#: Of the node, among those that builders name: `p1` and `p2`, but not `p3` and `retired`.
OWN_PEPPERS = frozenset({"p1", "p2"})


@dataclass(frozen=True, slots=True)
class StoreHarness:
    store: KeyStore
    writer: StoreWriter
    directory: KeyDirectory

    def applies(self, *events: KeyEvent) -> list[Folded]:
        """The follower reads these events."""
        return self.reads([lifecycle_record(event) for event in events])

    def reads(self, records: Iterable[Record]) -> list[Folded]:
        return self.writer.apply(list(records), self.store.positions())

    def loads(self, *lineages: Lineage) -> None:
        """The follower takes these lineages from a snapshot, each oldest key first."""
        for lineage in lineages:
            if lineage.keys:
                self.writer.load(snapshot_keys(lineage))
            else:
                self.writer.put(lineage)

    def find(self, fingerprint: str) -> KeyFacts | None:
        return self.directory.find(bytes.fromhex(fingerprint))

    def facts(self, key_id: str) -> KeyFacts:
        return known_key(self.directory, key_id)

    @property
    def keys(self) -> int:
        return self.store.counts()[0]

    @property
    def parked(self) -> int:
        return self.store.counts()[1]

    @property
    def unverifiable(self) -> int:
        return self.store.counts()[2]


def a_store(folder: Path, pepper_ids: frozenset[str] = OWN_PEPPERS) -> StoreHarness:
    """That of the node in the folder; it is closed when the test ends."""
    store = store_in(folder)
    return StoreHarness(store, StoreWriter(store, pepper_ids), KeyDirectory(store))


def history(*events: KeyEvent) -> Lineage:
    """What the log says of a lineage whose events all take effect."""
    lineage: Lineage | None = None
    for event in events:
        outcome = apply(lineage, event)
        assert isinstance(outcome, Applied)
        lineage = outcome.lineage
    assert lineage is not None
    return lineage

"""The local state store of a node: every key in one memory-mapped file that one process writes and all read.

A state store as Kafka Streams has it, over LMDB. What the log says and the offsets up to which it is included
are written in one transaction, so that they never disagree. It is not synced to the disk: a process may be
killed at any point of a write, the machine may not. `StoreIdentity` therefore names the start of the machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import orjson

from events.log import Mark
from services.api.directory.stored_facts import VERSION
from services.api.errors import StoreUnavailable

T = TypeVar("T")

FOLDER = "keys"
FIRST_MAP_BYTES = 64 * 1024 * 1024
MOST_READERS = 1024
#: Kept open for the next request, so that beginning to read makes nothing new.
SPARE_READS = 4

_IDENTITY = b"identity"
_FILLED = b"filled"
_POSITIONS = b"positions"
_MARKS = b"marks"
_OWN_PEPPERS = b"own peppers"
_DECLARED_PEPPERS = b"declared peppers"


@dataclass(frozen=True, slots=True)
class StoreIdentity:
    """What a store was filled from, and during which start of the machine."""

    topic: str
    cluster_id: str | None
    boot_id: str
    version: int = VERSION


class KeyStore:
    """The databases of the store. `transaction` arguments are LMDB's own."""

    def __init__(self, folder: Path, *, readonly: bool) -> None:
        """Raises `StoreUnavailable` where there is none to read, or no room for one."""
        self._path = folder / FOLDER
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.environment = lmdb.open(
                str(self._path),
                map_size=0 if readonly else FIRST_MAP_BYTES,
                readonly=readonly,
                mode=0o600,
                max_dbs=8,
                max_readers=MOST_READERS,
                max_spare_txns=SPARE_READS,
                sync=False,
                metasync=False,
                readahead=False,
            )
            self._open_databases()
        except (lmdb.Error, OSError) as error:
            raise StoreUnavailable(f"{self._path}: {error}") from error

    def _open_databases(self) -> None:
        environment = self.environment
        self._meta = environment.open_db(b"meta")
        #: key_id -> record.
        self.keys = environment.open_db(b"keys")
        #: lineage_id -> record.
        self.lineages = environment.open_db(b"lineages")
        #: Fingerprint under one of the node's own peppers -> key_id.
        self.fingerprints = environment.open_db(b"fingerprints")
        #: Visible prefix -> the ids of the keys that have it and that no fingerprint finds.
        self.unverifiable = environment.open_db(b"unverifiable", dupsort=True, dupfixed=True)
        #: The lineages that are parked.
        self.parked = environment.open_db(b"parked")
        #: key_id -> what bcrypt has told of it, until the log says the same.
        self.learnt = environment.open_db(b"learnt")

    def close(self) -> None:
        self.environment.close()

    def begin(self) -> lmdb.Transaction[bytes]:
        """A snapshot to read from, which the caller aborts when done."""
        try:
            return self.environment.begin()
        except lmdb.MapResizedError:
            # The writer has made room; nothing of this process is being read just now.
            self.environment.set_mapsize(0)
            return self.environment.begin()

    def read(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """What the work makes of one snapshot."""
        transaction = self.begin()
        try:
            return work(transaction)
        finally:
            transaction.abort()

    def write(self, work: Callable[[lmdb.Transaction[bytes]], T]) -> T:
        """Do it in one transaction, again where there is too little room, which grows by itself.

        Raises `StoreUnavailable` where the disk is full; nothing of the work is kept then.
        """
        while True:
            try:
                with self.environment.begin(write=True) as transaction:
                    return work(transaction)
            except lmdb.MapFullError:
                self.environment.set_mapsize(2 * self.environment.info()["map_size"])
            except (lmdb.Error, OSError) as error:
                if not _is_of_the_disk(error):
                    raise
                raise StoreUnavailable(f"{self._path}: {error}") from error

    def clear(self) -> None:
        """Empty it; what it is to be filled from stays."""

        def write(transaction: lmdb.Transaction[bytes]) -> None:
            for database in (
                self.keys,
                self.lineages,
                self.fingerprints,
                self.unverifiable,
                self.parked,
                self.learnt,
            ):
                transaction.drop(database, delete=False)

        self.write(write)

    def identity(self) -> StoreIdentity | None:
        """What the store was filled from; None where it is not full: it was cut off in the middle."""

        def read(transaction: lmdb.Transaction[bytes]) -> StoreIdentity | None:
            written = transaction.get(_IDENTITY, db=self._meta)
            is_filled = transaction.get(_FILLED, db=self._meta) is not None
            if written is None or not is_filled:
                return None
            facts = orjson.loads(written)
            # A store of another version may have other facts here.
            return StoreIdentity(**facts) if facts.get("version") == VERSION else None

        return self.read(read)

    def begin_to_fill(self, identity: StoreIdentity, own_peppers: frozenset[str]) -> None:
        """From here on it is to be filled from that, to its end: see `filled`."""

        def write(transaction: lmdb.Transaction[bytes]) -> None:
            transaction.put(_IDENTITY, orjson.dumps(asdict(identity)), db=self._meta)
            self.put_own_peppers(transaction, own_peppers)

        self.write(write)

    def filled(self) -> None:
        self.write(lambda transaction: transaction.put(_FILLED, b"1", db=self._meta))

    def positions(self, transaction: lmdb.Transaction[bytes] | None = None) -> Mapping[int, int]:
        """By partition the offset after the last record that the store includes."""
        if transaction is None:
            return self.read(self.positions)
        written = transaction.get(_POSITIONS, db=self._meta)
        return {} if written is None else {int(name): at for name, at in orjson.loads(written).items()}

    def put_positions(self, transaction: lmdb.Transaction[bytes], positions: Mapping[int, int]) -> None:
        written = orjson.dumps({str(partition): offset for partition, offset in positions.items()})
        transaction.put(_POSITIONS, written, db=self._meta)

    def marks(self) -> Sequence[Mark]:
        """What stood in the log where the store was made from it: the last record of each partition."""

        def read(transaction: lmdb.Transaction[bytes]) -> Sequence[Mark]:
            return [Mark(*mark) for mark in self._marks(transaction).values()]

        return self.read(read)

    def put_marks(self, transaction: lmdb.Transaction[bytes], marks: Iterable[Mark]) -> None:
        """Of each partition the last one stays."""
        written = self._marks(transaction) | {str(mark.partition): list(mark) for mark in marks}
        transaction.put(_MARKS, orjson.dumps(written), db=self._meta)

    def _marks(self, transaction: lmdb.Transaction[bytes]) -> dict[str, list[Any]]:
        written = transaction.get(_MARKS, db=self._meta)
        return {} if written is None else orjson.loads(written)

    def own_peppers(self) -> frozenset[str] | None:
        """The peppers that its fingerprints were kept for."""
        return self.read(lambda transaction: self._names(transaction, _OWN_PEPPERS))

    def put_own_peppers(self, transaction: lmdb.Transaction[bytes], peppers: frozenset[str]) -> None:
        transaction.put(_OWN_PEPPERS, orjson.dumps(sorted(peppers)), db=self._meta)

    def declared_peppers(self) -> frozenset[str]:
        """The peppers that any node was ever started with, as far as this node has heard."""
        return self.read(lambda transaction: self._names(transaction, _DECLARED_PEPPERS)) or frozenset()

    def put_declared_peppers(self, peppers: frozenset[str]) -> None:
        written = orjson.dumps(sorted(peppers))
        self.write(lambda transaction: transaction.put(_DECLARED_PEPPERS, written, db=self._meta))

    def counts(self) -> tuple[int, int, int]:
        """How many keys there are, how many lineages are parked, how many keys no fingerprint finds."""

        def read(transaction: lmdb.Transaction[bytes]) -> tuple[int, int, int]:
            keys, parked, unverifiable = (
                transaction.stat(database)["entries"]
                for database in (self.keys, self.parked, self.unverifiable)
            )
            return keys, parked, unverifiable

        return self.read(read)

    def _names(self, transaction: lmdb.Transaction[bytes], which: bytes) -> frozenset[str] | None:
        written = transaction.get(which, db=self._meta)
        return None if written is None else frozenset(orjson.loads(written))


def _is_of_the_disk(error: Exception) -> bool:
    """Whether it says that the disk is full. A page that was written in part is an error without a name."""
    return isinstance(error, OSError | lmdb.DiskError) or type(error) is lmdb.Error


def remove_store(folder: Path) -> None:
    """Remove what can't be believed. Nobody may have it open."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)

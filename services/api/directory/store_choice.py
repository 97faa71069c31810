"""The store that a node answers from: the one that is there if it may be believed, else a new one."""

from __future__ import annotations

import logging
from pathlib import Path

from events.errors import LogUnavailable, WrongLog
from events.log import LogReader
from events.log_identity import LogIdentity
from events.waiting import wait_for
from services.api.directory.freshness import Freshness
from services.api.directory.key_store import KeyStore, StoreIdentity, remove_store
from services.api.directory.store_writer import StoreWriter
from services.api.errors import ReadModelUnavailable, StoreUnavailable
from services.api.ports import SnapshotReadModels

logger = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StoreChoice:
    """Opens the store of a folder, and fills it anew where it can't be believed.

    Without `may_fill` workers have the store open: it is this one, or the node ends.
    """

    def __init__(
        self,
        folder: Path,
        topic: str,
        pepper_ids: frozenset[str],
        freshness: Freshness,
        read_models: SnapshotReadModels,
        *,
        may_fill: bool,
    ) -> None:
        self._folder = folder
        self._topic = topic
        self._pepper_ids = pepper_ids
        self._freshness = freshness
        self._read_models = read_models
        self._may_fill = may_fill

    def stored(self) -> KeyStore | None:
        """The store that is there, if it was filled by this version, since the machine was started.

        It finds keys by the peppers that the node has now. Raises `WrongLog`, `StoreUnavailable`.
        """
        try:
            store = KeyStore(self._folder, readonly=False)
        except StoreUnavailable as error:
            if not self._may_fill:
                raise
            logger.warning("the store can't be opened and is filled anew: %s", error)
            remove_store(self._folder)
            return None
        identity = store.identity()
        if identity is not None and (identity.topic, identity.boot_id) == (self._topic, _boot_id()):
            StoreWriter(store, self._pepper_ids).use_own_peppers()
            return store
        store.close()
        if not self._may_fill:
            raise WrongLog("the store is not the one that the workers answer from: start the node again")
        remove_store(self._folder)
        return None

    async def fits(self, store: KeyStore, log: LogIdentity, reader: LogReader) -> bool:
        """Whether the store was made from this very log, and from what stands there now."""
        filled_from = store.identity()
        assert filled_from is not None
        if filled_from.cluster_id != log.cluster_id:
            return False
        ends = await wait_for("where the log ends", reader.end_offsets, (LogUnavailable,))
        if any(offset > ends.get(partition, 0) for partition, offset in store.positions().items()):
            return False

        async def lost() -> bool:
            return bool(await reader.lost(store.marks()))

        # A log that has lost its tail may have grown beyond the store's offsets again.
        return not await wait_for("what stands in the log", lost, (LogUnavailable,))

    async def filled(self, log: LogIdentity) -> KeyStore:
        """A store that stands where the snapshot in Postgres does, or at the beginning of the log."""
        self._freshness.forget()
        remove_store(self._folder)
        store = KeyStore(self._folder, readonly=False)
        store.begin_to_fill(StoreIdentity(self._topic, log.cluster_id, _boot_id()), self._pepper_ids)
        writer = StoreWriter(store, self._pepper_ids)
        try:
            writer.set_positions(await self._read_models.fill(writer, log))
        except ReadModelUnavailable as error:
            logger.warning("no snapshot (%s): replaying the whole log", error)
            store.clear()
            writer.set_positions({})
        store.filled()
        return store


def _boot_id() -> str:
    """Of this start of the machine."""
    return BOOT_ID.read_text("ascii").strip()

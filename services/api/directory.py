"""Every key this worker knows, by fingerprint and by id: the memory that validation answers from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from events.keys import is_bcrypt_hash
from events.lineage import Key, Lineage
from services.api.compact_keys import CompactKeys, StoredKey, lineage_of, sequence_of, stored_keys
from services.api.known_key import KnownKey

#: Of a fingerprint: 120 bits, which nobody can aim at without the pepper. With Python's own 33 bytes they
#: fill 48 of memory; all 32 bytes would take 32 MB more for a million keys.
ENOUGH_BYTES = 15


class KeyDirectory:
    """All lineages, and their keys by fingerprint and by id.

    Every key is kept as few bytes; a `KnownKey` is made of it when somebody asks, and stays. A lineage is
    put together from its keys: each names the one that has superseded it.

    Keys whose pepper is not among `pepper_ids` can't be found by fingerprint. They are kept by what is
    visible of them, until bcrypt has recognised one and its fingerprint is remembered.
    """

    def __init__(self, pepper_ids: frozenset[str]) -> None:
        self._pepper_ids = pepper_ids
        self.clear()

    def clear(self) -> None:
        """Nothing is known."""
        self._compact = CompactKeys()
        self._packed: dict[str, bytes] = {}
        self._key_ids: dict[bytes, str] = {}
        self._parked: dict[str, str] = {}
        #: Those that can't be put together from keys of their own: without a key, or with another's.
        self._odd_lineages: dict[str, Lineage] = {}
        self._disputed: set[str] = set()
        self._unverifiable: dict[str, list[str]] = {}
        self.unverifiable_count = 0
        self._known: dict[str, KnownKey] = {}
        self._found: dict[bytes, KnownKey] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def __contains__(self, key_id: str) -> bool:
        return key_id in self._packed

    @property
    def parked_count(self) -> int:
        return len(self._parked)

    def find(self, fingerprint: bytes) -> KnownKey | None:
        """The key whose secret has this fingerprint."""
        known = self._found.get(fingerprint)
        if known is None and (key_id := self._key_ids.get(fingerprint[:ENOUGH_BYTES])) is not None:
            known = self._found[fingerprint] = self._awake(key_id)
        return known

    def key(self, key_id: str) -> Key:
        """All that is known of a key that is `in` the directory."""
        return self._compact.unpack(key_id, self._packed[key_id])

    def lineage(self, lineage_id: str) -> Lineage | None:
        if (odd := self._odd_lineages.get(lineage_id)) is not None:
            return odd
        if (packed := self._packed.get(lineage_id)) is None:
            return None
        keys = tuple(self._keys_from(lineage_id))
        if keys[0].lineage_id != lineage_id:
            return None
        return Lineage(lineage_id, sequence_of(packed), keys, self._parked.get(lineage_id))

    def lineage_of(self, key_id: str) -> Lineage | None:
        """The lineage that a key belongs to."""
        packed = self._packed.get(key_id)
        return self.lineage(lineage_of(key_id, packed)) if packed else None

    def unverifiable(self, key_prefix: str) -> list[KnownKey]:
        """The keys that look like this and that only bcrypt can verify."""
        return [self._awake(key_id) for key_id in self._unverifiable.get(key_prefix, ())]

    def load(self, keys: Iterable[StoredKey]) -> None:
        """Learn keys from a snapshot, those of a lineage oldest first."""
        packed_keys, odd_lineages = self._packed, self._odd_lineages
        for stored in keys:
            lineage_id, _, parked, key_id = stored[:4]
            if key_id in packed_keys or lineage_id in odd_lineages:
                self._load_odd(stored)
            else:
                self._add(key_id, stored[6], stored[9], self._compact.pack(stored))
                if parked is not None:
                    self._parked[lineage_id] = parked

    def put(self, lineage: Lineage) -> None:
        """This is what is known of the lineage now."""
        if lineage.parked is None:
            self._parked.pop(lineage.lineage_id, None)
        else:
            self._parked[lineage.lineage_id] = lineage.parked
        is_odd = not lineage.keys
        for key, stored in zip(lineage.keys, stored_keys(lineage), strict=True):
            packed = self._packed.get(key.key_id)
            if packed is None:
                self._add(key.key_id, key.key_prefix, key.fingerprint, self._compact.pack(stored))
            elif lineage_of(key.key_id, packed) == key.lineage_id:
                self._packed[key.key_id] = self._compact.pack(stored)
                if (known := self._known.get(key.key_id)) is not None:
                    known.know(key, is_parked=_is_closed(key, is_parked=lineage.parked is not None))
            else:
                self._dispute(key.key_id)
                is_odd = True
        if is_odd:
            self._odd_lineages[lineage.lineage_id] = lineage
        else:
            self._odd_lineages.pop(lineage.lineage_id, None)

    def remember(self, fingerprint: bytes, known: KnownKey) -> None:
        """bcrypt has recognised this key: from now on its fingerprint of today finds it."""
        key = self.key(known.key_id)
        self._key_ids[fingerprint[:ENOUGH_BYTES]] = key.key_id
        look_alikes = self._unverifiable.get(key.key_prefix, [])
        if key.key_id in look_alikes:
            look_alikes.remove(key.key_id)
            self.unverifiable_count -= 1

    def _add(self, key_id: str, key_prefix: str, fingerprint: bytes, packed: bytes) -> None:
        self._packed[key_id] = packed
        short = fingerprint[:ENOUGH_BYTES]
        if (other := self._key_ids.get(short)) is not None:
            self._dispute(other)
            self._dispute(key_id)
        elif self._compact.pepper_id(packed) in self._pepper_ids:
            self._key_ids[short] = key_id
        else:
            self._unverifiable.setdefault(key_prefix, []).append(key_id)
            self.unverifiable_count += 1

    def _load_odd(self, stored: StoredKey) -> None:
        lineage_id, sequence, parked, key_id = stored[:4]
        before = self.lineage(lineage_id) or Lineage(lineage_id)
        key = self._compact.unpack(key_id, self._compact.pack(stored))
        self.put(before._replace(sequence=sequence, keys=(*before.keys, key), parked=parked))

    def _dispute(self, key_id: str) -> None:
        self._disputed.add(key_id)
        if (known := self._known.get(key_id)) is not None:
            known.dispute()

    def _awake(self, key_id: str) -> KnownKey:
        """The key ready for use. There is never a second one of it, so that all hold the newest facts."""
        if (known := self._known.get(key_id)) is None:
            key = self.key(key_id)
            is_closed = _is_closed(key, is_parked=key.lineage_id in self._parked)
            known = self._known[key_id] = KnownKey(key, is_parked=is_closed)
            if key_id in self._disputed:
                known.dispute()
        return known

    def _keys_from(self, first_id: str) -> Iterator[Key]:
        """A key, the one that has superseded it, and so on, of those that the same lineage has."""
        next_id: str | None = first_id
        lineage_id = None
        while next_id is not None and (packed := self._packed.get(next_id)) is not None:
            key = self._compact.unpack(next_id, packed)
            lineage_id = lineage_id or key.lineage_id
            if key.lineage_id != lineage_id:
                return
            yield key
            next_id = key.superseded_by


def _is_closed(key: Key, *, is_parked: bool) -> bool:
    """Refused whatever its lineage says. No event has a hash that bcrypt refuses; a row that an older reader
    made of one may.
    """
    return is_parked or not is_bcrypt_hash(key.bcrypt_hash)

"""What is done with a lineage's count beside admitting: told, acknowledged, and raised by what others say."""

from __future__ import annotations

from services.api.limits.errors import NoRoomForCounts
from services.api.limits.slot import (
    DUE,
    HIGH,
    KEY,
    KEY_HIGH,
    KEY_LOW,
    KEY_NEXT,
    KEY_USED_MS,
    KEYS,
    LOW,
    OTHERS,
    OWN,
    PUBLISHED,
    REPORTED,
    UNPUBLISHED,
    USED_MS,
    WRITTEN,
    Slot,
    text_of,
)
from services.api.limits.window_table import WindowTable


def count_of(table: WindowTable, slot: Slot) -> tuple[int, dict[str, int]]:
    """What this node has admitted of the lineage, and when each of its keys was last (ms since 1970)."""
    with table.locked(slot):
        return slot.numbers[OWN], _key_times(table, slot)


def acknowledge(table: WindowTable, slot: Slot, count: int) -> bool:
    """The log has so much of the lineage's count. True: more is due already."""
    numbers = slot.numbers
    with table.locked(slot):
        numbers[PUBLISHED] = max(numbers[PUBLISHED], count)
        if slot.is_worth_publishing():
            slot.state[0] = DUE
            return True
        slot.state[0] = UNPUBLISHED if numbers[OWN] > numbers[PUBLISHED] else WRITTEN
        return False


def raise_own(table: WindowTable, slot: Slot, count: int) -> None:
    """The log has so much from this very node: what the table lost counts again."""
    numbers = slot.numbers
    if numbers[PUBLISHED] >= count:
        return
    with table.locked(slot):
        numbers[OWN] = max(numbers[OWN], count)
        numbers[PUBLISHED] = max(numbers[PUBLISHED], count)


def raise_others(table: WindowTable, slot: Slot, others: int, reported: int) -> None:
    """So much was counted elsewhere; less than was known before says nothing new."""
    numbers = slot.numbers
    with table.locked(slot):
        numbers[OTHERS] = max(numbers[OTHERS], others)
        numbers[REPORTED] = max(numbers[REPORTED], reported)
        if slot.state[0] != DUE and slot.is_worth_publishing():
            slot.state[0] = DUE
            table.tell_by_scan()


def keep_key_time(table: WindowTable, slot: Slot) -> None:
    """Keep when the lineage's last key was admitted: another is about to be the last one.

    For whoever has locked the slot. Killed in here, it may lose this one time, and no count.
    """
    numbers = slot.numbers
    if not numbers[USED_MS]:
        return
    try:
        key = table.find_or_add(KEY, (numbers[KEY_HIGH], numbers[KEY_LOW]))
    except NoRoomForCounts:
        return  # a time is worth less than the request that is being counted
    is_new = not key.numbers[KEY_USED_MS]
    key.numbers[KEY_USED_MS] = numbers[USED_MS]
    if is_new:
        key.numbers[KEY_NEXT] = numbers[KEYS]
        numbers[KEYS] = key.place


def _key_times(table: WindowTable, slot: Slot) -> dict[str, int]:
    numbers, times = slot.numbers, dict[str, int]()
    place = numbers[KEYS]
    # After a power failure a place may hold something else, or lead back: then the list ends there.
    while (key := table.at(KEY, place)) is not None:
        key_id = text_of((key.numbers[HIGH], key.numbers[LOW]))
        if key_id in times:
            break
        times[key_id] = key.numbers[KEY_USED_MS]
        place = key.numbers[KEY_NEXT]
    if numbers[USED_MS]:
        times[text_of((numbers[KEY_HIGH], numbers[KEY_LOW]))] = numbers[USED_MS]
    return times

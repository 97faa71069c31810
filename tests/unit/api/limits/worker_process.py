"""A worker in a process of its own, that does what is written to its standard input, a line each.

admit LINEAGE_ID LIMIT TIMES    ask so often, and say how often it passed
later SECONDS                   so much time has gone by
each FIRST LAST LIMIT           ask once for each of these lineages
flood LINEAGE_ID LIMIT          say `passed` for every request that passes, until one does not
hold LINEAGE_ID                 take the lock of its stripe, say so, and keep it
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from services.api.limits.due import DueSignal
from services.api.limits.locks import STRIPES
from services.api.limits.rate_limits import RateLimits
from services.api.limits.slot import mark_of
from services.api.limits.window_tables import WindowTables

BEGIN = 1_800_000_000.0


class Key:
    """What limits a request; the lineage has one key."""

    def __init__(self, lineage_id: str, limit: int) -> None:
        self.key_id = self.lineage_id = lineage_id
        self.rate_limit_per_hour = limit


def numbered(number: int) -> str:
    """The lineage of that number."""
    return f"00000000-0000-7000-8000-{number:012x}"


def main(folder: Path, first_slots: int) -> None:
    tables = WindowTables(folder, first_slots=first_slots)
    limits = RateLimits(tables, DueSignal(folder))
    now = BEGIN
    say("ready")
    for line in sys.stdin:
        command, *words = line.split()
        if command == "admit":
            key = Key(words[0], int(words[1]))
            say(sum(limits.admit(key, now) for _ in range(int(words[2]))))
        elif command == "each":
            first, last, limit = map(int, words)
            say(sum(limits.admit(Key(numbered(one), limit), now) for one in range(first, last)))
        elif command == "flood":
            key = Key(words[0], int(words[1]))
            while limits.admit(key, now):
                say("passed")
            say("refused")
        elif command == "later":
            now += float(words[0])
        elif command == "hold":
            with tables.locks.stripe(mark_of(words[0])[1] % STRIPES):
                say("held")
                time.sleep(60)


def say(what: object) -> None:
    print(what, flush=True)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

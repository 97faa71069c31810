"""The Faust app: what nodes have counted, in a table of one-hour windows that outlives its processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import faust
from faust.types import TP, EventT, StreamT

from events.clock import Clock
from events.errors import UnreadableRecord
from events.keeper.metrics import MetricsOfProjection
from events.keeper.settings import KeeperSettings
from events.settings import KafkaSettings
from events.totals import HOUR_SECONDS, hour_number
from services.projector.rate_windows_counts import (
    HOURS_KEPT,
    Window,
    WindowKey,
    counter_in,
    merge,
    oldest_hour,
)
from services.projector.rate_windows_unwritten import Unwritten

#: The exit code of a process that could not handle a counter: start me again.
FAULT = 70
DAY_SECONDS = 24 * 3600

_FAUSTS_OWN = ("cleanup.policy", "retention.ms", "retention.bytes")

logger = logging.getLogger(__name__)


def create_app(
    settings: KeeperSettings,
    unwritten: Unwritten,
    metrics: MetricsOfProjection,
    clock: Clock,
    folder: Path,
    end: Callable[[], None] | None = None,
) -> faust.App:
    """The app, not started; its agent is `agents["counters"]`. What changes goes to `unwritten`.

    `folder` exists. `end` is called when a counter cannot be handled. By default it ends the process on the
    spot: the counter is not acknowledged then, so the next process handles it.
    """
    app = faust.App(
        settings.group_id("windows"),
        broker=";".join(f"kafka://{server}" for server in settings.bootstrap_servers.split(",")),
        broker_credentials=credentials(settings),
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=settings.session_timeout_seconds / 5,
        broker_request_timeout=settings.session_timeout_seconds + 60,
        # Heartbeats say that we live: to wait for Postgres for hours is no reason to leave the group.
        broker_max_poll_interval=DAY_SECONDS,
        broker_commit_interval=1.0,
        processing_guarantee="at_least_once",
        store="memory://",
        table_standby_replicas=0,
        datadir=folder,
        topic_partitions=settings.rate_counters.partitions,
        topic_replication_factor=settings.replication_factor,
        topic_disable_leader=True,
        autodiscover=False,
        web_enabled=False,
        logging_config=None,
    )
    windows = _windows(app, settings)

    async def recovered() -> None:
        # Partitions have come, and Postgres may lack some of what their former owner has counted.
        unwritten.add_all(all_windows(app, clock), {})

    async def counters(stream: StreamT[bytes]) -> None:
        stream.enable_acks = False  # only what Postgres has is done
        async for event in stream.events():
            # Whatever is raised out of here would be lost: Faust goes on after it.
            try:
                unwritten.add(event, _count(event, windows, metrics, oldest_hour(clock)))
            except Exception:
                logger.critical("cannot go on after %s", _place(event), exc_info=True)
                (end or end_process)()
                raise
            await unwritten.room()

    windows.on_recover(recovered)
    topic = app.topic(settings.rate_counters.name, key_serializer="raw", value_serializer="raw")
    app.agent(topic, name="counters")(counters)
    return app


def credentials(kafka: KafkaSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """The settings' TLS and SASL as Faust takes them; None where connections are plain."""
    options: Mapping[str, Any] = kafka.client_options()
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=options.get("ssl_context"),
        )
    return faust.SSLCredentials(options["ssl_context"]) if "ssl_context" in options else None


def all_windows(app: faust.App, clock: Clock) -> Iterator[tuple[WindowKey, Window]]:
    """Every window of the table that is kept. Drops the others: Faust forgets to drop those it recovered."""
    oldest = oldest_hour(clock)
    table: Any = app.tables["windows"]
    for key, window in list(table.data.items()):
        lineage_id, (start, _) = key
        if (hour := hour_number(start)) >= oldest:
            yield (lineage_id, hour), window
        else:
            table.data.pop(key, None)  # not of the changelog: that forgets by itself


def included_offsets(app: faust.App, topic: str, unwritten: Unwritten) -> Mapping[int, int]:
    """By assigned partition an offset; the table includes every counter before it."""
    consumer: Any = app.consumer
    partitions = [place.partition for place in consumer.assignment() if place.topic == topic]
    return {
        partition: max(
            consumer._committed_offset[TP(topic, partition)] or 0, unwritten.included.get(partition, 0)
        )
        for partition in partitions
    }


def end_process(exit_code: int = FAULT) -> None:
    """On the spot, whatever else is going on; what was logged is kept."""
    logging.shutdown()
    os._exit(exit_code)


def _windows(app: faust.App, settings: KeeperSettings) -> Any:
    topic = settings.rate_counters
    # Faust knows what the table's own topic keeps and for how long; the rest is as with our topics.
    agreed = {name: value for name, value in topic.configuration.items() if name not in _FAUSTS_OWN}
    table = app.Table("windows", default=dict, partitions=topic.partitions, extra_topic_configs=agreed)
    return table.tumbling(timedelta(seconds=HOUR_SECONDS), expires=timedelta(hours=HOURS_KEPT))


def _count(
    event: EventT[bytes], windows: Any, metrics: MetricsOfProjection, oldest: int
) -> tuple[WindowKey, Window] | None:
    """Put the counter into its window. Returns the window if that has changed it."""
    try:
        counter = counter_in(event.key, event.value)
    except UnreadableRecord as error:
        logger.warning("skipped %s: %s", _place(event), error)
        metrics.dead_letter("unreadable")
        return None
    if counter.hour < oldest:
        return None
    hour = windows.relative_to(float(counter.hour * HOUR_SECONDS))
    before = hour[counter.lineage_id].value(event)
    after = merge(before, counter)
    if after is before:  # each write of the table costs 0.4 ms and memory until the hour expires
        return None
    hour[counter.lineage_id] = after
    return (counter.lineage_id, counter.hour), after


def _place(event: EventT[bytes]) -> str:
    return f"{event.message.topic}/{event.message.partition}@{event.message.offset}"

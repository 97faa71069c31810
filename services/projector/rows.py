"""Lineages and their history as rows, and back: the order of columns is that of `queries.sql`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from events.lifecycle import Folded
from events.lineage import Key, KeySettings, Lineage
from events.log import Record

Row = tuple[Any, ...]

_LINEAGE_ID = re.compile(rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def lineage_row(lineage: Lineage) -> Row:
    return (lineage.lineage_id, lineage.sequence, lineage.parked)


def key_rows(lineage: Lineage) -> list[Row]:
    return [_key_row(lineage.lineage_id, position, key) for position, key in enumerate(lineage.keys)]


def event_row(record: Record, folded: Folded) -> Row:
    """A record in the audit trail."""
    place = (record.topic, record.partition, record.offset)
    event = folded.event
    if event is None:
        return (*place, lineage_id_of(record), *(None,) * 7, folded.description)
    return (
        *place,
        event.partitionkey,
        event.subject,
        event.id,
        event.type,
        event.sequence,
        event.time,
        event.actor,
        event.correlationid,
        folded.description,
    )


def lineage_id_of(record: Record) -> str | None:
    """The lineage that the record key names; None where it cannot be the id of one."""
    key = record.key
    return key.decode() if key is not None and _LINEAGE_ID.fullmatch(key) else None


def lineages_from_rows(lineages: Iterable[Row], keys: Iterable[Row]) -> Mapping[str, Lineage]:
    """Lineages by id. `keys` come in the order of their positions."""
    keys_of: dict[str, list[Key]] = {}
    for row in keys:
        keys_of.setdefault(row[0], []).append(_key(row))
    return {
        lineage_id: Lineage(lineage_id, sequence, tuple(keys_of.get(lineage_id, ())), parked)
        for lineage_id, sequence, parked in lineages
    }


def _key_row(lineage_id: str, position: int, key: Key) -> Row:
    settings = key.settings
    return (
        lineage_id,
        position,
        key.key_id,
        settings.name,
        settings.user_id,
        settings.service_id,
        settings.environment,
        list(settings.scopes),
        list(settings.allowed_ips),
        settings.rate_limit_per_hour,
        settings.monthly_prediction_limit,
        settings.billing_plan,
        settings.lifetime_days,
        key.key_prefix,
        key.bcrypt_hash,
        key.fingerprint,
        key.pepper_id,
        key.created_at,
        key.expires_at,
        key.revoked_at,
        key.superseded_by,
        key.valid_until,
    )


def _key(row: Sequence[Any]) -> Key:
    lineage_id, _, key_id, name, user_id, service_id, environment, scopes, allowed_ips, *rest = row
    rate_limit_per_hour, monthly_prediction_limit, billing_plan, lifetime_days, *secret = rest
    return Key(
        key_id,
        lineage_id,
        KeySettings(
            name=name,
            user_id=user_id,
            service_id=service_id,
            environment=environment,
            scopes=tuple(scopes),
            allowed_ips=tuple(allowed_ips),
            rate_limit_per_hour=rate_limit_per_hour,
            monthly_prediction_limit=monthly_prediction_limit,
            billing_plan=billing_plan,
            lifetime_days=lifetime_days,
        ),
        *secret,
    )

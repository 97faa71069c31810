-- What follows for the projector's rows when an operator accepts that the log has lost records.

-- name: events_from
-- The audit trail of a partition from an offset on.
SELECT record_offset, event_id, type, lineage_id::text, key_id::text, sequence, time, actor, correlationid,
       outcome
FROM projector.key_event
WHERE topic = %(topic)s AND partition = %(partition)s AND record_offset >= %(first_lost)s
ORDER BY record_offset;

-- name: forget_lineages
-- Whatever follows from a partition of keys.lifecycle: it is folded anew.
WITH events AS (
    DELETE FROM projector.key_event WHERE topic = %(topic)s AND partition = %(partition)s RETURNING lineage_id
), keys AS (
    DELETE FROM projector.key WHERE lineage_id IN (SELECT lineage_id FROM events)
)
DELETE FROM projector.lineage WHERE lineage_id IN (SELECT lineage_id FROM events);

-- name: fold_anew
-- From the partition's first record.
UPDATE projector.projection_offset SET next_offset = 0
WHERE projection = 'keys' AND topic = %(topic)s AND partition = %(partition)s;

-- name: forget_published
-- Nobody knows which rows usage.hourly has still.
DELETE FROM projector.usage_published;

-- name: publish_again
-- Every row waits to be sent, until usage.hourly, read anew, is seen to have it.
INSERT INTO projector.usage_unpublished (key_id, hour, revision)
SELECT key_id, hour, revision FROM projector.usage_hour ORDER BY key_id, hour
ON CONFLICT (key_id, hour) DO UPDATE SET revision = excluded.revision, taken_until = NULL;

-- name: read_published_anew
-- All of usage.hourly.
UPDATE projector.projection_offset SET next_offset = 0, owner_epoch = pg_current_xact_id()::text::bigint
WHERE projection = 'published' AND topic = %(topic)s;

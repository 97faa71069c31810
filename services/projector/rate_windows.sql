-- What the windows process writes. All is merged by maximum, so it may be written twice, late, or by two
-- processes at once.

-- name: look
-- Whether there is where to write.
SELECT FROM projector.rate_window LIMIT 0;

-- name: hold_schema
-- Nobody drops the schema until the transaction ends.
LOCK TABLE projector.rate_window IN ROW EXCLUSIVE MODE;

-- name: schema_made
-- Which making of the schema this is, and in which version; asked once it is held.
SELECT 'projector.rate_window'::regclass::oid::bigint, version FROM projector.schema_version;

-- name: write_windows
-- What nodes have counted, sorted as the table is.
INSERT INTO projector.rate_window (hour, lineage_id, node_id, kind, count)
SELECT * FROM unnest(
    %(hours)s::bigint[], %(lineage_ids)s::uuid[], %(node_ids)s::text[], %(kinds)s::text[], %(counts)s::bigint[]
)
ON CONFLICT (hour, lineage_id, node_id) DO UPDATE SET count = excluded.count
WHERE rate_window.count < excluded.count;

-- name: write_activity
-- When keys were last admitted (ms since 1970), sorted by key.
INSERT INTO projector.key_activity (key_id, last_used_at)
SELECT key_id, 'epoch'::timestamptz + at * interval '1 millisecond'
FROM unnest(%(key_ids)s::uuid[], %(moments)s::bigint[]) AS used (key_id, at)
ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
WHERE key_activity.last_used_at < excluded.last_used_at;

-- name: write_offsets
-- Up to where the rows include every counter: where a stretch follows without a gap on what they include
-- already, to its end. A lower offset than before is as true as the higher one.
INSERT INTO projector.projection_offset (projection, topic, partition, next_offset, owner_epoch)
SELECT 'windows', %(topic)s, stretch.partition, stretch.following, 0
FROM unnest(%(partitions)s::integer[], %(firsts)s::bigint[], %(followings)s::bigint[])
    AS stretch (partition, first, following)
LEFT JOIN projector.projection_offset AS known
    ON known.projection = 'windows' AND known.topic = %(topic)s AND known.partition = stretch.partition
WHERE stretch.first <= coalesce(known.next_offset, 0)
ON CONFLICT (projection, topic, partition) DO UPDATE SET next_offset = excluded.next_offset
RETURNING partition;

-- name: delete_hours
-- Hours that have been over for three hours.
DELETE FROM projector.rate_window WHERE hour < %(oldest_hour)s;

-- name: write_marks
-- The last counter of each partition that the rows include: see log_mark.
INSERT INTO projector.log_mark (topic, partition, second, record_offset, appended_ms, digest)
SELECT topic, partition, appended_ms / 1000, record_offset, appended_ms, digest
FROM unnest(%(topics)s::text[], %(partitions)s::integer[], %(offsets)s::bigint[], %(moments)s::bigint[],
            %(digests)s::bigint[])
    AS last (topic, partition, record_offset, appended_ms, digest)
ON CONFLICT (topic, partition, second) DO UPDATE
SET record_offset = excluded.record_offset, appended_ms = excluded.appended_ms, digest = excluded.digest,
    is_confirmed = false;

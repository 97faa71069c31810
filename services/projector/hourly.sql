-- usage.hourly: what it last said, and what it has to be told.

-- name: lock_unpublished
-- Hold these rows, in the order in which everybody takes them.
SELECT FROM projector.usage_unpublished
JOIN unnest(%(key_ids)s::uuid[], %(hours)s::timestamptz[]) AS seen(key_id, hour) USING (key_id, hour)
ORDER BY usage_unpublished.key_id, usage_unpublished.hour
FOR UPDATE OF usage_unpublished;

-- name: see_published
-- The topic's last word about these rows: those that it has right are done with, those that are ahead of it are
-- to be sent again.
WITH seen AS (
    SELECT key_id, hour, revision
    FROM unnest(%(key_ids)s::uuid[], %(hours)s::timestamptz[], %(revisions)s::bigint[])
        AS seen(key_id, hour, revision)
), kept AS (
    INSERT INTO projector.usage_published (key_id, hour, revision)
    SELECT key_id, hour, revision FROM seen ORDER BY key_id, hour
    ON CONFLICT (key_id, hour) DO UPDATE SET revision = excluded.revision
), settled AS (
    DELETE FROM projector.usage_unpublished AS waiting USING seen
    WHERE waiting.key_id = seen.key_id AND waiting.hour = seen.hour AND waiting.revision <= seen.revision
)
INSERT INTO projector.usage_unpublished AS waiting (key_id, hour, revision)
SELECT key_id, hour, usage_hour.revision
FROM seen JOIN projector.usage_hour USING (key_id, hour)
WHERE usage_hour.revision > seen.revision
ORDER BY key_id, hour
ON CONFLICT (key_id, hour) DO UPDATE SET revision = greatest(waiting.revision, excluded.revision);

-- name: hold_unpublished
-- Rows that wait for somebody to send them. Those that somebody else holds are left to them.
SELECT key_id::text, hour FROM projector.usage_unpublished
WHERE taken_until IS NULL OR taken_until < now()
ORDER BY last_taken_at NULLS FIRST, key_id, hour
LIMIT %(rows)s
FOR UPDATE SKIP LOCKED;

-- name: take_unpublished
-- Of the rows held: forget those that the topic has, take the others for a while, and tell their totals. In a
-- statement of its own, so that it sees what was published up to the moment of the hold.
WITH held AS (
    SELECT key_id, hour, coalesce(published.revision, 0) AS published_revision
    FROM unnest(%(key_ids)s::uuid[], %(hours)s::timestamptz[]) AS held(key_id, hour)
    LEFT JOIN projector.usage_published AS published USING (key_id, hour)
), settled AS (
    DELETE FROM projector.usage_unpublished AS waiting USING held
    WHERE waiting.key_id = held.key_id AND waiting.hour = held.hour AND revision <= published_revision
), taken AS (
    UPDATE projector.usage_unpublished AS waiting SET taken_until = now() + %(taken_for)s, last_taken_at = now()
    FROM held
    WHERE waiting.key_id = held.key_id AND waiting.hour = held.hour AND revision > published_revision
    RETURNING waiting.key_id, waiting.hour
)
SELECT usage_hour.key_id::text, usage_hour.lineage_id::text, issued.service_id, usage_hour.hour,
       usage_hour.revision, requests, errors, predictions, compute_us, response_time_us
FROM taken
JOIN projector.usage_hour USING (key_id, hour)
JOIN projector.key AS issued ON issued.key_id = usage_hour.key_id AND issued.lineage_id = usage_hour.lineage_id
ORDER BY usage_hour.key_id, usage_hour.hour;

-- name: published_positions
-- How far the topic has been read back.
SELECT partition, next_offset FROM projector.projection_offset
WHERE projection = 'published' AND topic = %(topic)s;

-- name: usage_positions
-- Which schema this is, since a rebuild makes all tables anew, and how far each partition of keys.usage is applied.
SELECT 'projector.usage_unpublished'::regclass::oid::bigint, partition, next_offset
FROM (SELECT) AS always LEFT JOIN projector.positions ON topic = %(topic)s;

-- name: unpublished_after
-- The next rows that wait until the topic is seen to have them, in the order of their keys.
SELECT key_id::text, hour, revision FROM projector.usage_unpublished
WHERE %(key_id)s::uuid IS NULL OR (key_id, hour) > (%(key_id)s::uuid, %(hour)s::timestamptz)
ORDER BY key_id, hour
LIMIT %(rows)s;

-- name: still_unpublished
-- Those of these rows of which the topic was not seen to have that revision, or a higher one.
SELECT key_id::text, hour, waiting.revision
FROM unnest(%(key_ids)s::uuid[], %(hours)s::timestamptz[], %(revisions)s::bigint[])
    AS waiting(key_id, hour, revision)
LEFT JOIN projector.usage_published AS published USING (key_id, hour)
WHERE coalesce(published.revision, 0) < waiting.revision
ORDER BY key_id, hour;

-- name: count_unpublished
-- How many rows wait until the topic is seen to have them.
SELECT count(*) FROM projector.usage_unpublished;

-- name: all_published
-- What the topic last said about every row.
SELECT key_id::text, hour, revision FROM projector.usage_published;

-- name: all_unpublished
-- Which rows wait until the topic is seen to have them.
SELECT key_id::text, hour FROM projector.usage_unpublished;

-- name: all_totals
-- What the topic has to say about every row.
SELECT usage_hour.key_id::text, usage_hour.hour, usage_hour.lineage_id::text, issued.service_id, revision,
       requests, errors, predictions, compute_us, response_time_us
FROM projector.usage_hour
JOIN projector.key AS issued ON issued.key_id = usage_hour.key_id AND issued.lineage_id = usage_hour.lineage_id;

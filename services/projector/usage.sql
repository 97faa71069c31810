-- Uses: who has been counted, and what they come to.

-- name: find_lineages
-- The lineage of each of these keys; no row for those that nobody has created.
SELECT DISTINCT ON (key_id) key_id::text, lineage_id::text
FROM projector.key
WHERE key_id = ANY(%(key_ids)s::uuid[])
ORDER BY key_id, lineage_id;

-- name: missing_days
-- Which of these days have no place for their identities yet. Asked of the catalogue's rows: by name Postgres
-- would remember for the rest of the transaction that there was none.
SELECT unnest(%(days)s::date[]) AS day
EXCEPT
SELECT to_date(right(relname, 8), 'YYYYMMDD')
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'projector.usage_identity'::regclass
ORDER BY day;

-- name: lock_days
-- One transaction at a time makes days.
SELECT pg_advisory_xact_lock(hashtextextended('hokusai-auth projector.usage_identity', 0));

-- name: create_day
-- A place for the identities of a day, for itself at first.
CREATE TABLE {name} (LIKE projector.usage_identity INCLUDING ALL);

-- name: attach_day
-- Make it the day's place. The lock that this takes lets others insert.
ALTER TABLE projector.usage_identity ATTACH PARTITION {name} FOR VALUES FROM ({first}) TO ({end});

-- name: newest_append
-- The newest record of all that are applied, by the broker's time.
SELECT max(appended_at) FROM projector.usage_progress;

-- name: past_days
-- Days that ended more than 36 days before the lowest time that the partitions have got to. A partition whose
-- end is reached has got to `newest`, which was read before the ends were: what comes there is appended later.
WITH reached AS (
    SELECT min(CASE WHEN next_offset >= ends_at THEN %(newest)s ELSE appended_at END) AS appended_at
    FROM unnest(%(partitions)s::integer[], %(ends)s::bigint[]) AS log(partition, ends_at)
    LEFT JOIN projector.usage_progress USING (partition)
    LEFT JOIN LATERAL (
        SELECT coalesce(max(next_offset), 0) AS next_offset FROM projector.positions
        WHERE topic = %(topic)s AND positions.partition = log.partition
    ) AS position ON true
    HAVING bool_and(next_offset >= ends_at OR appended_at IS NOT NULL)
), days AS (
    SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = 'projector.usage_identity'::regclass
)
SELECT day FROM days CROSS JOIN reached
WHERE (day + 1)::timestamp AT TIME ZONE 'UTC' + interval '36 days' < appended_at
ORDER BY day;

-- name: be_patient_for_a_moment
-- Who waits for a table makes all others wait behind it.
SET LOCAL lock_timeout = '500ms';

-- name: drop_day
-- Forget the identities of a day.
DROP TABLE IF EXISTS {name};

-- name: create_batch
-- The uses of one batch; empty again after each transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS usage_batch (
    day              date        NOT NULL,
    key_id           uuid        NOT NULL,
    event_id         text        NOT NULL,
    is_first         boolean     NOT NULL,
    lineage_id       uuid        NOT NULL,
    hour             timestamptz NOT NULL,
    month            date        NOT NULL,
    endpoint         text        NOT NULL,
    service_id       text        NOT NULL,
    is_error         boolean     NOT NULL,
    predictions      bigint      NOT NULL,
    compute_us       bigint      NOT NULL,
    response_time_us bigint      NOT NULL,
    used_at          timestamptz NOT NULL
) ON COMMIT DELETE ROWS;

-- name: copy_batch
-- Write the uses of one batch: one for each identity and day.
COPY usage_batch (
    day, key_id, event_id, is_first, lineage_id, hour, month, endpoint, service_id, is_error, predictions,
    compute_us, response_time_us, used_at
) FROM STDIN;

-- name: roll_up
-- Count what was not counted before, by hour, by month and by day. All rows come sorted, so that transactions
-- that meet wait for each other in one direction only. `neighbour`, one probe of an index for each event, must
-- not become a join: it would read the whole table.
WITH fresh AS (
    INSERT INTO projector.usage_identity (day, key_id, event_id)
    SELECT day, key_id, event_id FROM usage_batch ORDER BY day, key_id, event_id
    ON CONFLICT DO NOTHING
    RETURNING day, key_id, event_id
), counted AS MATERIALIZED (
    SELECT usage_batch.*
    FROM usage_batch
    JOIN fresh USING (day, key_id, event_id)
    LEFT JOIN LATERAL (
        SELECT true AS is_counted
        FROM projector.usage_identity AS identity
        WHERE identity.day IN (usage_batch.day - 1, usage_batch.day + 1)
          AND identity.key_id = usage_batch.key_id AND identity.event_id = usage_batch.event_id
        LIMIT 1
    ) AS neighbour ON true
    WHERE is_first AND is_counted IS NULL
), hours AS (
    INSERT INTO projector.usage_hour AS summed
        (key_id, hour, lineage_id, requests, errors, predictions, compute_us, response_time_us)
    SELECT key_id, hour, lineage_id, count(*), count(*) FILTER (WHERE is_error), sum(predictions),
           sum(compute_us), sum(response_time_us)
    FROM counted GROUP BY key_id, hour, lineage_id ORDER BY key_id, hour
    ON CONFLICT (key_id, hour) DO UPDATE SET
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
    RETURNING key_id, hour, requests
), months AS (
    INSERT INTO projector.usage_endpoint_month AS summed
        (key_id, month, endpoint, lineage_id, requests, errors, predictions, compute_us, response_time_us)
    SELECT key_id, month, endpoint, lineage_id, count(*), count(*) FILTER (WHERE is_error), sum(predictions),
           sum(compute_us), sum(response_time_us)
    FROM counted GROUP BY key_id, month, endpoint, lineage_id ORDER BY key_id, month, endpoint
    ON CONFLICT (key_id, month, endpoint) DO UPDATE SET
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
), days AS (
    INSERT INTO projector.usage_service_day AS summed
        (day, service_id, partition, requests, errors, predictions, compute_us, response_time_us)
    SELECT day, service_id, %(partition)s, count(*), count(*) FILTER (WHERE is_error), sum(predictions),
           sum(compute_us), sum(response_time_us)
    FROM counted GROUP BY day, service_id ORDER BY day, service_id
    ON CONFLICT (day, service_id, partition) DO UPDATE SET
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
), last AS (
    INSERT INTO projector.usage_last AS known (key_id, last_used_at)
    SELECT key_id, max(used_at) FROM counted GROUP BY key_id ORDER BY key_id
    ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
    WHERE known.last_used_at < excluded.last_used_at
), progress AS (
    INSERT INTO projector.usage_progress AS known (partition, appended_at)
    VALUES (%(partition)s, %(appended_at)s)
    ON CONFLICT (partition) DO UPDATE SET appended_at = excluded.appended_at
    WHERE known.appended_at < excluded.appended_at
)
INSERT INTO projector.usage_unpublished (key_id, hour, revision)
SELECT key_id, hour, requests FROM hours ORDER BY key_id, hour
ON CONFLICT (key_id, hour) DO UPDATE SET revision = excluded.revision, taken_until = NULL;

-- name: all_hours
-- Every sum of an hour.
SELECT key_id::text, hour, lineage_id::text, requests, errors, predictions, compute_us, response_time_us
FROM projector.usage_hour;

-- name: all_months
-- Every sum of a month.
SELECT key_id::text, month, endpoint, lineage_id::text, requests, errors, predictions, compute_us,
       response_time_us
FROM projector.usage_endpoint_month;

-- name: all_days
-- Every sum of a day.
SELECT day, service_id, partition, requests, errors, predictions, compute_us, response_time_us
FROM projector.usage_service_day;

-- name: all_last_uses
-- When each key was last used.
SELECT key_id::text, last_used_at FROM projector.usage_last;

-- name: all_progress
-- The newest record of each partition, by the broker's time.
SELECT partition, appended_at FROM projector.usage_progress;

-- name: all_filled
-- Which topics the rows have passed to where they ended when the schema was made.
SELECT topic, is_filled FROM projector.filled;

-- Uses: who has been counted, and what they come to.

-- name: find_lineages
-- The lineage of each of these keys; no row for those that nobody has created.
SELECT DISTINCT ON (key_id) key_id::text, lineage_id::text
FROM projector.key
WHERE key_id = ANY(%(key_ids)s::uuid[])
ORDER BY key_id, lineage_id;

-- name: lock_homes
-- One transaction at a time judges the uses of a partition's keys. In this order, so that nobody waits in a circle.
SELECT pg_advisory_xact_lock(hashtext('hokusai-auth projector.usage'), home)
FROM unnest(%(homes)s::integer[]) AS locked(home);

-- name: periods
-- Which periods have a table. Asked of the catalogue's rows: by name Postgres would remember for the rest of the
-- transaction that there was none.
SELECT substring(relname FROM '[0-9]+$')::integer AS period
FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
WHERE inhparent = 'projector.usage_identity'::regclass
ORDER BY period;

-- name: lock_periods
-- One transaction at a time makes tables of periods.
SELECT pg_advisory_xact_lock(hashtextextended('hokusai-auth projector.usage_identity', 0));

-- name: create_period
-- A place for the identities of a period. A child, no partition: making or dropping one locks nobody out.
CREATE TABLE {name} (LIKE projector.usage_identity INCLUDING ALL) INHERITS (projector.usage_identity);

-- name: find_remembered
-- What is remembered of these identities. OFFSET 0: one probe of an index for each, never a join, which would
-- read whole tables.
SELECT replace(identity::text, '-', ''), period, partition, record_offset, content, facts
FROM unnest(%(identities)s::uuid[]) AS asked(wanted)
CROSS JOIN LATERAL ({tables} OFFSET 0) AS remembered;

-- name: remembered_in_period
-- A part of it.
SELECT identity, period, partition, record_offset, content, facts FROM {name} WHERE identity = wanted

-- name: copy_identities
-- Remember identities, sorted.
COPY {name} (identity, period, partition, record_offset, content, facts) FROM STDIN;

-- name: forget_facts
-- A use that counts no longer.
UPDATE {name} SET facts = NULL WHERE identity = %(identity)s::uuid AND partition = %(partition)s;

-- name: newest_append
-- The newest record of all that are applied, by the broker's time.
SELECT max(appended_at) FROM projector.usage_progress;

-- name: reached_by_all
-- The lowest time that the partitions have got to, in ms since 1970. A partition whose end is reached has got to
-- `newest`, which was read before the ends were: what comes there is appended later.
SELECT floor(extract(epoch FROM min(CASE WHEN next_offset >= ends_at THEN %(newest)s ELSE appended_at END)) * 1000)::bigint
FROM unnest(%(partitions)s::integer[], %(ends)s::bigint[]) AS log(partition, ends_at)
LEFT JOIN projector.usage_progress USING (partition)
LEFT JOIN LATERAL (
    SELECT coalesce(max(next_offset), 0) AS next_offset FROM projector.positions
    WHERE topic = %(topic)s AND positions.partition = log.partition
) AS position ON true
HAVING bool_and(next_offset >= ends_at OR appended_at IS NOT NULL);

-- name: be_patient_for_a_moment
-- Who waits for a table makes all others wait behind it.
SET LOCAL lock_timeout = '500ms';

-- name: drop_period
-- Forget the identities of a period.
DROP TABLE IF EXISTS {name};

-- name: create_batch
-- What a batch changes; empty again after each transaction. `revisions`: what is added to the hour's revision.
CREATE TEMPORARY TABLE IF NOT EXISTS usage_batch (
    revisions        bigint      NOT NULL,
    requests         bigint      NOT NULL,
    key_id           uuid        NOT NULL,
    home             integer     NOT NULL,
    lineage_id       uuid        NOT NULL,
    used_at          timestamptz NOT NULL,
    endpoint         text        NOT NULL,
    service_id       text        NOT NULL,
    errors           bigint      NOT NULL,
    predictions      bigint      NOT NULL,
    compute_us       bigint      NOT NULL,
    response_time_us bigint      NOT NULL
) ON COMMIT DELETE ROWS;

-- name: copy_batch
-- Write what a batch changes: a row for each use that is counted, passed over or withdrawn.
COPY usage_batch (
    revisions, requests, key_id, home, lineage_id, used_at, endpoint, service_id, errors, predictions,
    compute_us, response_time_us
) FROM STDIN;

-- name: roll_up
-- Add it to the sums, by hour, by month and by day, all in UTC. All rows come sorted, so that transactions that
-- meet wait for each other in one direction only.
WITH hours AS (
    INSERT INTO projector.usage_hour AS summed
        (key_id, hour, lineage_id, revision, requests, errors, predictions, compute_us, response_time_us)
    SELECT key_id, date_trunc('hour', used_at, 'UTC') AS hour, lineage_id, sum(revisions), sum(requests),
           sum(errors), sum(predictions), sum(compute_us), sum(response_time_us)
    FROM usage_batch GROUP BY 1, 2, 3 ORDER BY 1, 2
    ON CONFLICT (key_id, hour) DO UPDATE SET
        revision = summed.revision + excluded.revision,
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
    RETURNING key_id, hour, revision
), months AS (
    INSERT INTO projector.usage_endpoint_month AS summed
        (key_id, month, endpoint, lineage_id, requests, errors, predictions, compute_us, response_time_us)
    SELECT key_id, date_trunc('month', used_at AT TIME ZONE 'UTC')::date AS month, endpoint, lineage_id,
           sum(requests), sum(errors), sum(predictions), sum(compute_us), sum(response_time_us)
    FROM usage_batch WHERE requests <> 0 GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3
    ON CONFLICT (key_id, month, endpoint) DO UPDATE SET
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
), days AS (
    INSERT INTO projector.usage_service_day AS summed
        (day, service_id, home, requests, errors, predictions, compute_us, response_time_us)
    SELECT (used_at AT TIME ZONE 'UTC')::date AS day, service_id, home, sum(requests), sum(errors),
           sum(predictions), sum(compute_us), sum(response_time_us)
    FROM usage_batch WHERE requests <> 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, service_id, home) DO UPDATE SET
        requests = summed.requests + excluded.requests,
        errors = summed.errors + excluded.errors,
        predictions = summed.predictions + excluded.predictions,
        compute_us = summed.compute_us + excluded.compute_us,
        response_time_us = summed.response_time_us + excluded.response_time_us
), last AS (
    INSERT INTO projector.usage_last AS known (key_id, last_used_at)
    SELECT key_id, max(used_at) FROM usage_batch GROUP BY key_id ORDER BY key_id
    ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at
    WHERE known.last_used_at < excluded.last_used_at
)
INSERT INTO projector.usage_unpublished (key_id, hour, revision)
SELECT key_id, hour, revision FROM hours ORDER BY key_id, hour
ON CONFLICT (key_id, hour) DO UPDATE SET revision = excluded.revision, taken_until = NULL;

-- name: note_progress
-- How far a partition is, by the broker's time.
INSERT INTO projector.usage_progress AS known (partition, appended_at)
VALUES (%(partition)s, %(appended_at)s)
ON CONFLICT (partition) DO UPDATE SET appended_at = excluded.appended_at
WHERE known.appended_at < excluded.appended_at;

-- name: clear_months
-- Nothing is left of these, for uses were withdrawn.
DELETE FROM projector.usage_endpoint_month AS summed USING usage_batch
WHERE usage_batch.requests < 0 AND summed.requests = 0
  AND summed.key_id = usage_batch.key_id
  AND summed.month = date_trunc('month', used_at AT TIME ZONE 'UTC')::date
  AND summed.endpoint = usage_batch.endpoint;

-- name: clear_days
-- Nor of these.
DELETE FROM projector.usage_service_day AS summed USING usage_batch
WHERE usage_batch.requests < 0 AND summed.requests = 0
  AND summed.day = (used_at AT TIME ZONE 'UTC')::date AND summed.service_id = usage_batch.service_id
  AND summed.home = usage_batch.home;

-- name: all_hours
-- Every sum of an hour.
SELECT key_id::text, hour, lineage_id::text, revision, requests, errors, predictions, compute_us,
       response_time_us
FROM projector.usage_hour;

-- name: all_months
-- Every sum of a month.
SELECT key_id::text, month, endpoint, lineage_id::text, requests, errors, predictions, compute_us,
       response_time_us
FROM projector.usage_endpoint_month;

-- name: all_days
-- Every sum of a day.
SELECT day, service_id, home, requests, errors, predictions, compute_us, response_time_us
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

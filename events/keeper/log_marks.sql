-- What stood in the log where the rows of a schema stem from, and what was found to be lost since. The tables
-- stand in the schema of the service, which is the first of the connection's search path.

-- name: marks_to_compare
-- What has to stand in the log still, of these topics, in one partition or all.
SELECT topic, partition, record_offset, appended_ms, digest FROM open_marks
WHERE topic = ANY(%(topics)s) AND (%(partition)s::integer IS NULL OR partition = %(partition)s);

-- name: trail
-- Every mark of a partition before an offset.
SELECT topic, partition, record_offset, appended_ms, digest FROM log_mark
WHERE topic = %(topic)s AND partition = %(partition)s AND record_offset < %(before)s
ORDER BY record_offset;

-- name: applied
-- Up to where partitions are applied.
SELECT topic, partition, max(next_offset) FROM projection_offset
WHERE topic = ANY(%(topics)s) AND (%(partition)s::integer IS NULL OR partition = %(partition)s)
GROUP BY topic, partition;

-- name: confirm
-- These were compared and agree. Rows that a batch has in hand are confirmed another time: to wait for one
-- batch would hold up others.
UPDATE log_mark SET is_confirmed = true
FROM (
    SELECT topic, partition, second
    FROM log_mark
    JOIN unnest(%(topics)s::text[], %(partitions)s::integer[], %(offsets)s::bigint[], %(digests)s::bigint[])
        AS agreed (topic, partition, record_offset, digest)
        USING (topic, partition, record_offset, digest)
    WHERE NOT is_confirmed
    FOR UPDATE OF log_mark SKIP LOCKED
) AS free
WHERE (log_mark.topic, log_mark.partition, log_mark.second) = (free.topic, free.partition, free.second);

-- name: thin_out
-- Of the confirmed marks of a partition: all of its last minute, then the last one of each minute of its last
-- hour, of each hour of its last day, and of each day. They tell where the log is other than it was.
DELETE FROM log_mark USING (
    SELECT topic, partition, second
    FROM log_mark
    JOIN (
        SELECT topic, partition, second,
               row_number() OVER (PARTITION BY topic, partition, span, second / span ORDER BY second DESC) AS nth
        FROM (
            SELECT topic, partition, second,
                   CASE WHEN newest - second < 60 THEN 1 WHEN newest - second < 3600 THEN 60
                        WHEN newest - second < 86400 THEN 3600 ELSE 86400 END AS span
            FROM (
                SELECT topic, partition, second, max(second) OVER (PARTITION BY topic, partition) AS newest
                FROM log_mark WHERE is_confirmed AND topic = ANY(%(topics)s)
            ) AS confirmed
        ) AS spanned
    ) AS numbered USING (topic, partition, second)
    WHERE nth > 1 AND is_confirmed
    FOR UPDATE OF log_mark SKIP LOCKED
) AS superfluous
WHERE (log_mark.topic, log_mark.partition, log_mark.second)
    = (superfluous.topic, superfluous.partition, superfluous.second);

-- name: refuse
-- Note that a partition is not what it was. It stays refused until an operator has said what is to be done.
INSERT INTO log_refusal (topic, partition, first_lost, applied_to, why)
VALUES (%(topic)s, %(partition)s, %(first_lost)s, %(applied_to)s, %(why)s)
ON CONFLICT (topic, partition) DO NOTHING;

-- name: refusals
-- Partitions of these topics that are refused.
SELECT topic, partition, first_lost, applied_to, why FROM log_refusal
WHERE topic = ANY(%(topics)s)
ORDER BY topic, partition;

-- name: note_loss
-- The audit trail of what was given up, by whom and why.
INSERT INTO log_loss (topic, partition, first_lost, applied_to, why, refused_at, actor, reason, lost)
SELECT topic, partition, first_lost, applied_to, why, refused_at, %(actor)s, %(reason)s, %(lost)s
FROM log_refusal WHERE topic = %(topic)s AND partition = %(partition)s;

-- name: forget_marks
-- What stood there does not stand there any more.
DELETE FROM log_mark
WHERE topic = %(topic)s AND partition = %(partition)s AND record_offset >= %(first_lost)s;

-- name: read_again
-- Go on with what stands there now, from the first offset at which it may be something else. Under a new epoch,
-- so that whoever has a batch in hand does not write it.
UPDATE projection_offset
SET next_offset = least(next_offset, %(first_lost)s), owner_epoch = pg_current_xact_id()::text::bigint
WHERE topic = %(topic)s AND partition = %(partition)s;

-- name: lower_goals
-- The schema is filled with less.
UPDATE fill_goal SET goal = least(goal, %(first_lost)s)
WHERE topic = %(topic)s AND partition = %(partition)s;

-- name: lift_refusal
-- The partition may be read again.
DELETE FROM log_refusal WHERE topic = %(topic)s AND partition = %(partition)s;

-- name: losses
-- What was given up, the latest last.
SELECT topic, partition, first_lost, applied_to, accepted_at, actor, reason FROM log_loss ORDER BY accepted_at;

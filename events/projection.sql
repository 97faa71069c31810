-- Whom a partition belongs to, and how far it is applied. `projection_offset` stands in the schema of the
-- service, which is the first of the connection's search path.

-- name: claim
-- Take a partition over from whoever owns it. The transaction's own number is the new owner's epoch: no
-- other claim ever has the same, not even after the schema was dropped and made anew.
INSERT INTO projection_offset (projection, topic, partition, next_offset, owner_epoch)
VALUES (%(projection)s, %(topic)s, %(partition)s, 0, pg_current_xact_id()::text::bigint)
ON CONFLICT (projection, topic, partition) DO UPDATE SET owner_epoch = excluded.owner_epoch
RETURNING owner_epoch, next_offset;

-- name: wait_briefly
-- For a row that somebody has locked, until the end of this transaction.
SET LOCAL lock_timeout = '500ms';

-- name: end_silent_owner
-- End the session that has the partition in hand, if it waits for its client and its statement, or its pause,
-- has taken two seconds. No timeout ends a COPY whose rows don't come. A living owner that is only slow is ended
-- too: its batch is undone, and the partition is not its own any more. Other users' sessions are not ours.
SELECT pg_terminate_backend(pid)
FROM projection_offset
JOIN pg_locks ON locktype = 'transactionid' AND transactionid = projection_offset.xmax AND granted
JOIN pg_stat_activity USING (pid)
WHERE projection = %(projection)s AND topic = %(topic)s AND partition = %(partition)s
  AND usename = current_user AND wait_event_type = 'Client'
  AND state_change < clock_timestamp() - interval '2 seconds';

-- name: advance
-- Pass a batch, if it is still ours and its topic is still what it was, and note what its last record was (none:
-- the record's columns are null). It comes first in the batch's transaction, so that the row stays locked until
-- the batch is committed and a stale owner finds out before it does any work. One mark is kept for each second
-- of the log: a broker that has lost records was away for longer.
WITH advanced AS (
    UPDATE projection_offset
    SET next_offset = %(next_offset)s
    WHERE projection = %(projection)s AND topic = %(topic)s AND partition = %(partition)s
      AND owner_epoch = %(owner_epoch)s AND next_offset = %(began_at)s
      AND NOT EXISTS (SELECT FROM log_refusal WHERE topic = %(topic)s)
    RETURNING topic, partition
), marked AS (
    INSERT INTO log_mark (topic, partition, second, record_offset, appended_ms, digest)
    SELECT topic, partition, last.appended_ms / 1000, last.record_offset, last.appended_ms, last.digest
    FROM advanced
    CROSS JOIN (
        SELECT %(record_offset)s::bigint AS record_offset, %(appended_ms)s::bigint AS appended_ms,
               %(digest)s::bigint AS digest
    ) AS last
    WHERE last.record_offset IS NOT NULL
    ON CONFLICT (topic, partition, second) DO UPDATE
    SET record_offset = excluded.record_offset, appended_ms = excluded.appended_ms, digest = excluded.digest,
        is_confirmed = false
)
SELECT FROM advanced;

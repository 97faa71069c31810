-- Uses that were refused because nobody had created their key, until one of their identity counts.

-- name: refused_originals
-- Those of one partition that replays claim to be, for this transaction alone.
SELECT record_offset, appended_ms, digest, key_id::text, event_id
FROM projector.usage_refused
WHERE partition = %(partition)s AND record_offset = ANY(%(offsets)s::bigint[])
ORDER BY record_offset, key_id, event_id
FOR UPDATE;

-- name: keys_with_refused
-- Which of these keys have refused uses: nearly always none.
SELECT key_id::text
FROM unnest(%(key_ids)s::uuid[]) AS asked(key_id)
WHERE EXISTS (SELECT FROM projector.usage_refused AS refused WHERE refused.key_id = asked.key_id);

-- name: settle
-- Forget the refused uses of these identities: they count now. Sorted, as everybody locks them.
WITH settled AS (
    SELECT partition, record_offset, key_id, event_id
    FROM projector.usage_refused
    JOIN unnest(%(key_ids)s::uuid[], %(event_ids)s::text[]) AS counted(key_id, event_id)
        USING (key_id, event_id)
    ORDER BY partition, record_offset, key_id, event_id
    FOR UPDATE OF usage_refused
)
DELETE FROM projector.usage_refused AS refused USING settled
WHERE refused.partition = settled.partition AND refused.record_offset = settled.record_offset
  AND refused.key_id = settled.key_id AND refused.event_id = settled.event_id;

-- name: refuse
-- Remember a use that was refused.
INSERT INTO projector.usage_refused (partition, record_offset, appended_ms, key_id, event_id, digest)
VALUES (%(partition)s, %(record_offset)s, %(appended_ms)s, %(key_id)s, %(event_id)s, %(digest)s)
ON CONFLICT DO NOTHING;

-- name: forget_refused
-- Forget those of a partition whose dead letters are gone.
DELETE FROM projector.usage_refused WHERE partition = %(partition)s AND appended_ms < %(oldest_ms)s;

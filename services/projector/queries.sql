-- name: count_parked
-- How many lineages are closed.
SELECT count(*) FROM projector.lineage WHERE parked IS NOT NULL;

-- name: load_lineages
-- These lineages, as they are; unknown ones have no row.
SELECT lineage_id::text, sequence, parked
FROM projector.lineage
WHERE lineage_id = ANY(%(lineage_ids)s::uuid[]);

-- name: load_keys
-- The keys of these lineages, oldest first.
SELECT lineage_id::text, position, key_id::text, name, user_id, service_id, environment, scopes, allowed_ips,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, lifetime_days, key_prefix, bcrypt_hash,
       fingerprint, pepper_id, created_at, expires_at, revoked_at, superseded_by::text, valid_until
FROM projector.key
WHERE lineage_id = ANY(%(lineage_ids)s::uuid[])
ORDER BY lineage_id, position;

-- name: clear_lineages
-- Make room for these lineages and their keys as they are now.
WITH cleared AS (DELETE FROM projector.lineage WHERE lineage_id = ANY(%(lineage_ids)s::uuid[]))
DELETE FROM projector.key WHERE lineage_id = ANY(%(lineage_ids)s::uuid[]);

-- name: copy_lineages
-- Write lineages, sorted.
COPY projector.lineage (lineage_id, sequence, parked) FROM STDIN;

-- name: copy_keys
-- Write keys, sorted by lineage and position.
COPY projector.key (
    lineage_id, position, key_id, name, user_id, service_id, environment, scopes, allowed_ips,
    rate_limit_per_hour, monthly_prediction_limit, billing_plan, lifetime_days, key_prefix, bcrypt_hash,
    fingerprint, pepper_id, created_at, expires_at, revoked_at, superseded_by, valid_until
) FROM STDIN;

-- name: copy_events
-- Add to the audit trail.
COPY projector.key_event (
    topic, partition, record_offset, lineage_id, key_id, event_id, type, sequence, time, actor, correlationid,
    outcome
) FROM STDIN;

-- name: positions
-- Up to where the rows follow from the log.
SELECT partition, next_offset FROM projector.positions WHERE topic = %(topic)s ORDER BY partition;

-- name: all_lineages
-- Every lineage.
SELECT lineage_id::text, sequence, parked FROM projector.lineage;

-- name: all_keys
-- Every key.
SELECT lineage_id::text, position, key_id::text, name, user_id, service_id, environment, scopes, allowed_ips,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, lifetime_days, key_prefix, bcrypt_hash,
       fingerprint, pepper_id, created_at, expires_at, revoked_at, superseded_by::text, valid_until
FROM projector.key;

-- name: all_events
-- The audit trail.
SELECT topic, partition, record_offset, lineage_id::text, key_id::text, event_id, type, sequence, time, actor,
       correlationid, outcome
FROM projector.key_event;

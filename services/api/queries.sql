-- name: identity
-- The log that the read models were built from.
SELECT cluster_id, lifecycle_topic FROM projector.identity;

-- name: positions
-- The next offset that the projection of a topic will read, for every partition it has begun.
SELECT partition, next_offset FROM projector.positions WHERE topic = %(topic)s;

-- name: marks
-- What stood in a topic where the read models were made from it.
SELECT topic, partition, record_offset, appended_ms, digest FROM projector.open_marks WHERE topic = %(topic)s;

-- name: refusals
-- Partitions of a topic that were found to have lost records.
SELECT topic, partition, first_lost, applied_to, why FROM projector.refusals
WHERE topic = %(topic)s ORDER BY partition;

-- name: take_your_time
-- For this transaction: a snapshot of a million keys is no question that somebody waits for, and its cursors
-- are read to their end, so that whole tables are read rather than rows in the order of an index.
SELECT set_config('statement_timeout', '5min', true), set_config('cursor_tuple_fraction', '1', true),
       set_config('work_mem', '64MB', true);

-- name: snapshot_keyless
-- Lineages that have no key. Only those that were parked before their first one: the others begin with it.
SELECT lineage_id::text, sequence, parked FROM projector.lineages
WHERE parked IS NOT NULL
  AND NOT EXISTS (SELECT FROM projector.keys WHERE keys.lineage_id = lineages.lineage_id);

-- name: snapshot_keys
-- Every key, in any order: the columns of `SnapshotKey`. The record is what `encode_key` writes.
SELECT key_id::text, lineage_id::text, sequence, parked, superseded_by IS NULL,
       (extract(epoch FROM revoked_at) * 1000000)::bigint, key_prefix, fingerprint, pepper_id,
       convert_to(json_build_object(
           'key_id', key_id, 'lineage_id', lineage_id, 'key_prefix', key_prefix,
           'bcrypt_hash', bcrypt_hash, 'fingerprint', encode(fingerprint, 'hex'), 'pepper_id', pepper_id,
           'created_at', (extract(epoch FROM created_at) * 1000000)::bigint,
           'expires_at', (extract(epoch FROM expires_at) * 1000000)::bigint,
           'revoked_at', (extract(epoch FROM revoked_at) * 1000000)::bigint,
           'superseded_by', superseded_by,
           'valid_until', (extract(epoch FROM valid_until) * 1000000)::bigint,
           'name', name, 'user_id', user_id, 'service_id', service_id, 'environment', environment,
           'scopes', scopes, 'allowed_ips', allowed_ips, 'rate_limit_per_hour', rate_limit_per_hour,
           'monthly_prediction_limit', monthly_prediction_limit, 'billing_plan', billing_plan,
           'lifetime_days', lifetime_days, 'is_parked', parked IS NOT NULL
       )::text, 'UTF8')
FROM projector.keys;

-- name: list_keys
-- Keys as the admin sees them, oldest first, from after a cursor on: as the JSON that is answered, so that
-- nothing is done for each of them on the way. `generation`: of the schema; another one was filled anew.
WITH found AS (
    SELECT * FROM projector.keys
    WHERE (%(services)s::text[] IS NULL OR service_id = ANY(%(services)s::text[]))
      AND (NOT %(active_only)s
           OR parked IS NULL AND revoked_at IS NULL
               AND (superseded_by IS NULL OR valid_until > %(now)s)
               AND (expires_at IS NULL OR expires_at > %(now)s))
      AND (%(after_time)s::timestamptz IS NULL
           OR (created_at, key_id) > (%(after_time)s::timestamptz, %(after_key)s::uuid))
    ORDER BY created_at, key_id
    LIMIT %(limit)s + 1
), listed AS (
    SELECT *, row_number() OVER (ORDER BY created_at, key_id) AS number FROM found
)
SELECT coalesce(string_agg(row_to_json(shown)::text, ',' ORDER BY number) FILTER (WHERE number <= %(limit)s), '')
           AS keys,
       count(*) > %(limit)s AS has_more,
       max(listed.created_at) FILTER (WHERE number = %(limit)s) AS last_time,
       max(listed.key_id::text) FILTER (WHERE number = %(limit)s) AS last_key,
       'projector.keys'::regclass::oid::bigint AS generation
FROM listed, LATERAL (
    SELECT listed.key_id AS id, listed.key_id, name, key_prefix, user_id, service_id, scopes, environment,
           parked IS NULL AND revoked_at IS NULL
               AND (superseded_by IS NULL OR coalesce(valid_until > %(now)s, false)) AS is_active,
           rate_limit_per_hour, monthly_prediction_limit, billing_plan,
           to_char(listed.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS created_at,
           to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS expires_at,
           to_char(last_used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS last_used_at,
           allowed_ips
) AS shown;

-- name: get_key
-- One key as the admin sees it.
SELECT key_id::text, name, key_prefix, user_id, service_id, scopes, environment,
       parked IS NULL AND revoked_at IS NULL
           AND (superseded_by IS NULL OR coalesce(valid_until > %(now)s, false)) AS is_active,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, created_at, expires_at,
       last_used_at, allowed_ips
FROM projector.keys
WHERE key_id = %(key_id)s::uuid;

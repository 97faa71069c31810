-- name: identity
-- The log that the read models were built from.
SELECT cluster_id, lifecycle_topic FROM projector.identity;

-- name: positions
-- The next offset that the projection of a topic will read, for every partition it has begun.
SELECT partition, next_offset FROM projector.positions WHERE topic = %(topic)s;

-- name: snapshot_lineages
-- Every lineage with where its history stands.
SELECT lineage_id::text, sequence, parked FROM projector.lineages ORDER BY lineage_id;

-- name: snapshot_keys
-- Every key of every lineage, in the order that rotation strung them together.
SELECT key_id::text, lineage_id::text, name, user_id, service_id, environment, scopes, allowed_ips,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, lifetime_days, key_prefix,
       bcrypt_hash, fingerprint, pepper_id, created_at, expires_at, revoked_at,
       superseded_by::text, valid_until
FROM projector.keys
ORDER BY lineage_id, position;

-- name: list_keys
-- Keys as the admin sees them, oldest first, from after a cursor on.
SELECT key_id::text, name, key_prefix, user_id, service_id, scopes, environment,
       parked IS NULL AND revoked_at IS NULL
           AND (superseded_by IS NULL OR coalesce(valid_until > %(now)s, false)) AS is_active,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, created_at, expires_at,
       last_used_at, allowed_ips
FROM projector.keys
WHERE (%(services)s::text[] IS NULL OR service_id = ANY(%(services)s::text[]))
  AND (NOT %(active_only)s
       OR parked IS NULL AND revoked_at IS NULL
           AND (superseded_by IS NULL OR valid_until > %(now)s)
           AND (expires_at IS NULL OR expires_at > %(now)s))
  AND (%(after_time)s::timestamptz IS NULL
       OR (created_at, key_id) > (%(after_time)s::timestamptz, %(after_key)s::uuid))
ORDER BY created_at, key_id
LIMIT %(limit)s;

-- name: get_key
-- One key as the admin sees it.
SELECT key_id::text, name, key_prefix, user_id, service_id, scopes, environment,
       parked IS NULL AND revoked_at IS NULL
           AND (superseded_by IS NULL OR coalesce(valid_until > %(now)s, false)) AS is_active,
       rate_limit_per_hour, monthly_prediction_limit, billing_plan, created_at, expires_at,
       last_used_at, allowed_ips
FROM projector.keys
WHERE key_id = %(key_id)s::uuid;

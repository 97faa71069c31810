-- What the windows process has made of `ratelimit.counters`.

-- name: windows_positions
-- The next offset that it will read, for every partition it has begun.
SELECT partition, next_offset FROM projector.positions WHERE topic = %(topic)s;

-- name: windows_of_hour
-- All nodes' counts of one hour.
SELECT lineage_id::text, node_id, kind, count FROM projector.rate_windows WHERE hour = %(hour)s;

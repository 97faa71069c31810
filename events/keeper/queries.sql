-- What every keeper of a schema asks; the schema stands first in the connection's search path.

-- name: lock_schema
-- One process at a time looks at a schema and makes it; until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('hokusai-auth schema ' || %(schema)s, 0));

-- name: has_schema_version
-- Whether the schema is there, in any version.
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: schema_version
-- The version that the schema was made in. Nobody drops the schema before this transaction ends.
SELECT version FROM schema_version;

-- name: remember_schema_version
-- The version that the schema is made in.
INSERT INTO schema_version (version) VALUES (%(version)s);

-- name: create_common
-- What every such schema has. `log_identity`: whose log the rows were made from. `projection_offset`: how far
-- each partition is applied, and which claim may apply more of it (see events/projection.sql). `fill_goal`:
-- what the log held when the schema was made, so that readers can tell a picture from half of one.
CREATE TABLE schema_version (version integer NOT NULL);
CREATE TABLE log_identity (
    cluster_id      text    NOT NULL,
    lifecycle_topic text    NOT NULL,
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
CREATE TABLE projection_offset (
    projection  text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    owner_epoch bigint  NOT NULL,
    PRIMARY KEY (projection, topic, partition)
) WITH (fillfactor = 10);  -- every batch updates a row: leave room for that beside it
CREATE TABLE fill_goal (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    goal      bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE VIEW positions AS SELECT topic, partition, next_offset FROM projection_offset;
CREATE VIEW identity AS SELECT cluster_id, lifecycle_topic FROM log_identity;
CREATE VIEW filled AS
    SELECT topic, bool_and(goal = 0 OR coalesce(next_offset >= goal, false)) AS is_filled
    FROM fill_goal LEFT JOIN positions USING (topic, partition) GROUP BY topic;

-- name: known_log
-- Whose log the rows were made from; no row while nothing was made yet, or by a version that did not know.
SELECT known->>'cluster_id', known->>'lifecycle_topic'
FROM (SELECT to_jsonb(log_identity) AS known FROM log_identity) AS any_version
WHERE known ? 'lifecycle_topic';

-- name: remember_log
-- Whose log the rows will be made from, unless that is settled.
INSERT INTO log_identity (cluster_id, lifecycle_topic) VALUES (%(cluster_id)s, %(lifecycle_topic)s)
ON CONFLICT DO NOTHING;

-- name: has_goals
-- Whether it is settled from where on the schema counts as filled.
SELECT EXISTS (SELECT FROM fill_goal);

-- name: set_goal
-- From where on a partition counts as filled, unless that is settled.
INSERT INTO fill_goal (topic, partition, goal) VALUES (%(topic)s, %(partition)s, %(goal)s)
ON CONFLICT DO NOTHING;

-- name: what_may_be_read
-- Whether this role may look into the schema; no row where there is none.
SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %(schema)s;

-- name: all_positions
-- Up to where the rows follow from each partition of the log.
SELECT topic, partition, next_offset FROM positions;
